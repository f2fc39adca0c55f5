#include "nn/text/word_piece_trainer.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "nn/text/merge_learner.h"
#include "nn/text/tokenizer_parts.h"
#include "nn/text/utf8.h"
#include "nn/text/word_piece_model.h"

namespace fledge::nn {
namespace {

using base::Json;

constexpr std::string_view kPrefix = "##";

Json normalizer_section(const WordPieceTrainingOptions& options) {
  return {{"type", "BertNormalizer"},
          {"clean_text", true},
          {"handle_chinese_chars", true},
          {"strip_accents", nullptr},
          {"lowercase", options.lowercase}};
}

TextReading text_reading(const WordPieceTrainingOptions& options) {
  TextReading reading;
  reading.pre_tokenizer = make_bert_splitter();
  reading.normalizer = parse_normalizer(normalizer_section(options), "the WordPiece trainer");
  reading.cuts_at_lines = true;
  return reading;
}

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Names and ids; a letter has an id where it begins a word, and one where it goes on.
class GrowingVocabulary {
 public:
  GrowingVocabulary(const std::vector<std::string>& special, const std::vector<char32_t>& letters) {
    for (const std::string& name : special) add(name);
    for (const char32_t letter : letters) letters_[letter].first = add(letter_name(letter));
  }

  int32_t add(const std::string& name) {
    const auto [entry, is_new] = ids_.emplace(name, size());
    if (is_new) names_.push_back(name);
    return entry->second;
  }

  /// Gives ids to the letters that are seen behind the first one of a word.
  void add_continuing(const PieceCounter& counts) {
    std::vector<char32_t> found;
    counts.for_each([&](std::string_view word, int64_t) {
      for (size_t at = 0, length = 0; at < word.size(); at += length) {
        const char32_t character = decode_utf8(&word[at], length);
        if (at == 0) continue;
        const auto letter = letters_.find(character);
        if (letter == letters_.end() || letter->second.second != kUnseen) continue;
        letter->second.second = kSeen;
        found.push_back(character);
      }
    });
    std::sort(found.begin(), found.end());
    for (const char32_t letter : found) letters_[letter].second = add(std::string(kPrefix) + letter_name(letter));
  }

  /// The tokens of a word's letters; a character that is no letter is left out.
  void spell(std::string_view word, std::vector<int32_t>& tokens) const {
    tokens.clear();
    for (size_t at = 0, length = 0; at < word.size(); at += length) {
      const auto letter = letters_.find(decode_utf8(&word[at], length));
      if (letter != letters_.end()) tokens.push_back(at == 0 ? letter->second.first : letter->second.second);
    }
  }

  int32_t join(int32_t left, int32_t right) {
    std::string_view end = names_[static_cast<size_t>(right)];
    if (end.starts_with(kPrefix)) end.remove_prefix(kPrefix.size());
    return add(names_[static_cast<size_t>(left)] + std::string(end));
  }

  int32_t size() const { return static_cast<int32_t>(names_.size()); }
  const std::vector<std::string>& names() const { return names_; }

 private:
  static constexpr int32_t kUnseen = -1, kSeen = -2;

  static std::string letter_name(char32_t letter) {
    std::string name;
    append_utf8(name, letter);
    return name;
  }

  struct Letter {
    int32_t first = kUnseen, second = kUnseen;
  };
  std::vector<std::string> names_;
  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_map<char32_t, Letter> letters_;
};

/// [CLS] A [SEP], and [CLS] A [SEP] B [SEP] with the second segment for B.
Json post_processor_section(int32_t begin_id, int32_t end_id) {
  const auto special = [](const char* name, int segment) {
    return Json{{"SpecialToken", {{"id", name}, {"type_id", segment}}}};
  };
  const auto text = [](const char* name, int segment) {
    return Json{{"Sequence", {{"id", name}, {"type_id", segment}}}};
  };
  const auto entry = [](const char* name, int32_t id) { return Json{{"id", name}, {"ids", {id}}, {"tokens", {name}}}; };
  return {{"type", "TemplateProcessing"},
          {"single", {special("[CLS]", 0), text("A", 0), special("[SEP]", 0)}},
          {"pair", {special("[CLS]", 0), text("A", 0), special("[SEP]", 0), text("B", 1), special("[SEP]", 1)}},
          {"special_tokens", {{"[CLS]", entry("[CLS]", begin_id)}, {"[SEP]", entry("[SEP]", end_id)}}}};
}

Json tokenizer_config(const WordPieceTrainingOptions& options, const std::vector<AddedToken>& special) {
  std::vector<std::pair<std::string, std::string>> roles;
  for (const auto& [role, name] : {std::pair{"pad_token", "[PAD]"},
                                   {"unk_token", "[UNK]"},
                                   {"cls_token", "[CLS]"},
                                   {"sep_token", "[SEP]"},
                                   {"mask_token", "[MASK]"}}) {
    if (contains(options.special_tokens, name)) roles.emplace_back(role, name);
  }
  return special_token_config(special, roles);
}

Tokenizer make_tokenizer(const WordPieceTrainingOptions& options, const std::vector<std::string>& names) {
  const auto id_of = [&](std::string_view name) {
    return static_cast<int32_t>(std::find(names.begin(), names.end(), name) - names.begin());
  };
  TokenizerParts parts;
  parts.added_tokens = make_special_tokens(options.special_tokens);
  parts.normalizer = normalizer_section(options);
  parts.normalization = parse_normalizer(parts.normalizer, "the WordPiece trainer");
  parts.pre_tokenizer = make_bert_splitter();
  parts.pre_tokenizer_section = {{"type", "BertPreTokenizer"}};
  parts.decoder = {{"type", "WordPiece"}, {"prefix", std::string(kPrefix)}, {"cleanup", true}};
  parts.decoding = std::make_unique<Decoder>(parts.decoder, "the WordPiece trainer");
  WordPieceOptions model;
  model.unknown = id_of("[UNK]");
  model.continuing_prefix = kPrefix;
  parts.model = std::make_unique<WordPieceModel>(names, model);
  parts.model_section = {{"type", "WordPiece"},
                         {"unk_token", "[UNK]"},
                         {"continuing_subword_prefix", model.continuing_prefix},
                         {"max_input_chars_per_word", model.longest_word}};
  parts.config = tokenizer_config(options, parts.added_tokens);
  if (contains(options.special_tokens, "[CLS]") && contains(options.special_tokens, "[SEP]")) {
    parts.prefix = {id_of("[CLS]")};
    parts.suffix = {id_of("[SEP]")};
    parts.post_processor = post_processor_section(parts.prefix[0], parts.suffix[0]);
  }
  return Tokenizer(std::move(parts));
}

}  // namespace

WordPieceTrainer::WordPieceTrainer(WordPieceTrainingOptions options)
    : TokenizerTrainer(text_reading(options), options.special_tokens, options.progress), options_(std::move(options)) {
  if (!contains(options_.special_tokens, "[UNK]")) {
    throw base::UsageError("a WordPiece vocabulary needs the special token [UNK], for words that it cannot spell");
  }
}

Tokenizer WordPieceTrainer::train() {
  const PieceCounter& counts = gather_counts("WordPiece");
  const auto limit = static_cast<size_t>(std::max<int64_t>(1, options_.alphabet_limit));
  GrowingVocabulary vocabulary(options_.special_tokens, frequent_characters(counts, limit));
  vocabulary.add_continuing(counts);
  if (vocabulary.size() > options_.vocabulary_size) {
    throw base::UsageError("a vocabulary of {} tokens is too small: the letters and the special tokens are {}",
                           options_.vocabulary_size, vocabulary.size());
  }
  MergeLearner learner;
  std::vector<int32_t> tokens;
  counts.for_each([&](std::string_view word, int64_t count) {
    vocabulary.spell(word, tokens);
    learner.add_piece(tokens, count);
  });
  const int64_t report_every = std::max(1, options_.vocabulary_size / 100);
  int64_t merges = 0;
  learner.run(options_.min_frequency, [&](int32_t left, int32_t right, int32_t& id) {
    if (vocabulary.size() >= options_.vocabulary_size) return false;
    id = vocabulary.join(left, right);
    if (options_.progress && ++merges % report_every == 0) {
      options_.progress({TokenizerTrainingProgress::Phase::kMerging, vocabulary.size(), options_.vocabulary_size});
    }
    return true;
  });
  return make_tokenizer(options_, vocabulary.names());
}

}  // namespace fledge::nn
