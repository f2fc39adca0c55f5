#include "nn/text/unigram_trainer.h"

#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "nn/text/tokenizer_parts.h"
#include "nn/text/unigram_learner.h"
#include "nn/text/unigram_model.h"
#include "nn/text/unigram_seed.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

using base::Json;

constexpr const char* kUnknown = "<unk>";
constexpr const char* kOrigin = "the Unigram trainer";

Json normalizer_section(const UnigramTrainingOptions& options) {
  Json steps = {{{"type", "Nmt"}}, {{"type", "NFKC"}}};
  if (options.lowercase) steps.push_back({{"type", "Lowercase"}});
  steps.push_back({{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}});
  steps.push_back({{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}});
  return {{"type", "Sequence"}, {"normalizers", std::move(steps)}};
}

TextReading text_reading(const UnigramTrainingOptions& options) {
  TextReading reading;
  reading.pre_tokenizer = make_metaspace_splitter({});
  reading.normalizer = parse_normalizer(normalizer_section(options), kOrigin);
  reading.cuts_at_lines = true;
  return reading;
}

std::vector<std::string> all_special(const UnigramTrainingOptions& options) {
  std::vector<std::string> tokens = {kUnknown};
  tokens.insert(tokens.end(), options.special_tokens.begin(), options.special_tokens.end());
  return tokens;
}

/// The words that candidates are looked for in, by their bytes: pieces of the text, cut where a character is none of
/// the alphabet, and where they get too long.
std::map<std::string, int64_t> learnable_words(const PieceCounter& counts, const std::vector<char32_t>& alphabet) {
  const std::unordered_set<char32_t> known(alphabet.begin(), alphabet.end());
  std::map<std::string, int64_t> words;
  std::string word;
  counts.for_each([&](std::string_view piece, int64_t count) {
    const auto finish = [&] {
      if (!word.empty()) words[word] += count;
      word.clear();
    };
    for (size_t at = 0, length = 0; at < piece.size(); at += length) {
      const bool is_known = known.contains(decode_utf8(&piece[at], length));
      if (!is_known || word.size() + length > UnigramLearner::kLongestWord) finish();
      if (is_known) word += piece.substr(at, length);
    }
    finish();
  });
  return words;
}

Json post_processor_section(int32_t begin_id, int32_t end_id) {
  const auto special = [](const char* name) { return Json{{"SpecialToken", {{"id", name}, {"type_id", 0}}}}; };
  const auto text = [](const char* name) { return Json{{"Sequence", {{"id", name}, {"type_id", 0}}}}; };
  const auto entry = [](const char* name, int32_t id) { return Json{{"id", name}, {"ids", {id}}, {"tokens", {name}}}; };
  return {{"type", "TemplateProcessing"},
          {"single", {special("<s>"), text("A"), special("</s>")}},
          {"pair", {special("<s>"), text("A"), special("</s>"), text("B"), special("</s>")}},
          {"special_tokens", {{"<s>", entry("<s>", begin_id)}, {"</s>", entry("</s>", end_id)}}}};
}

void set_special_tokens(const UnigramTrainingOptions& options, TokenizerParts& parts) {
  std::vector<std::pair<std::string, std::string>> roles = {{"unk_token", kUnknown}};
  parts.added_tokens = make_special_tokens({kUnknown});
  const auto others = make_special_tokens(options.special_tokens, parts.model->size());
  parts.added_tokens.insert(parts.added_tokens.end(), others.begin(), others.end());
  for (const AddedToken& token : others) {
    if (token.content == "<s>") {
      parts.prefix = {token.id};
      roles.insert(roles.end(), {{"bos_token", "<s>"}, {"cls_token", "<s>"}});
    } else if (token.content == "</s>") {
      parts.suffix = {token.id};
      roles.insert(roles.end(), {{"eos_token", "</s>"}, {"sep_token", "</s>"}});
    } else if (token.content == "<pad>" || token.content == "<mask>") {
      roles.emplace_back(token.content == "<pad>" ? "pad_token" : "mask_token", token.content);
    }
  }
  parts.config = special_token_config(parts.added_tokens, roles);
  if (parts.prefix.empty() || parts.suffix.empty()) {
    parts.prefix.clear();
    parts.suffix.clear();
  } else {
    parts.post_processor = post_processor_section(parts.prefix[0], parts.suffix[0]);
  }
}

Tokenizer make_tokenizer(const UnigramTrainingOptions& options, std::vector<UnigramLearner::Piece> pieces) {
  std::stable_sort(pieces.begin(), pieces.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
  std::vector<std::string> names = {kUnknown};
  std::vector<double> scores = {0.0};
  for (const UnigramLearner::Piece& piece : pieces) {
    names.push_back(piece.text);
    scores.push_back(piece.score);
  }
  TokenizerParts parts;
  parts.normalizer = normalizer_section(options);
  parts.normalization = parse_normalizer(parts.normalizer, kOrigin);
  parts.pre_tokenizer = make_metaspace_splitter({});
  parts.pre_tokenizer_section = {
      {"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "always"}, {"split", true}};
  parts.decoder = parts.pre_tokenizer_section;
  parts.decoding = std::make_unique<Decoder>(parts.decoder, kOrigin);
  UnigramOptions model;
  model.unknown = 0;
  parts.model = std::make_unique<UnigramModel>(names, std::move(scores), std::move(model));
  parts.model_section = {{"type", "Unigram"}, {"unk_id", 0}, {"byte_fallback", false}};
  set_special_tokens(options, parts);
  return Tokenizer(std::move(parts));
}

}  // namespace

UnigramTrainer::UnigramTrainer(UnigramTrainingOptions options)
    : TokenizerTrainer(text_reading(options), all_special(options), options.progress), options_(std::move(options)) {
  const auto check = [](const char* what, double value, double least, double most) {
    if (value >= least && value <= most) return;
    throw base::UsageError("Unigram training: {} is {}, expected {} to {}", what, value, least, most);
  };
  check("the longest piece", static_cast<double>(options_.longest_piece), 1, 60);
  check("the number of candidates", static_cast<double>(options_.seed_size), 1, UnigramLearner::kMostPieces / 2);
  check("the shrinking factor", options_.shrinking_factor, 0.05, 0.95);
}

Tokenizer UnigramTrainer::train() {
  const PieceCounter& counts = gather_counts("Unigram");
  const auto limit = static_cast<size_t>(std::max<int64_t>(1, options_.alphabet_limit));
  const auto texts = learnable_words(counts, frequent_characters(counts, limit));
  std::vector<CountedWord> words;
  for (const auto& [text, count] : texts) words.push_back({text, count});
  UnigramLearner learner(words, seed_pieces(words, options_.longest_piece, static_cast<size_t>(options_.seed_size)));
  const auto characters = std::count_if(learner.pieces().begin(), learner.pieces().end(),
                                        [](const UnigramLearner::Piece& piece) { return piece.is_character; });
  const int64_t room = options_.vocabulary_size - 1 - static_cast<int64_t>(options_.special_tokens.size());
  if (characters > room) {
    throw base::UsageError("a vocabulary of {} tokens is too small: the characters and the special tokens are {}",
                           options_.vocabulary_size, options_.vocabulary_size - room + characters);
  }
  const auto target = static_cast<size_t>(room);
  for (;;) {
    const bool last = learner.size() <= target;
    for (int32_t step = 0; step < options_.improvements; ++step) learner.improve(!last);
    if (options_.progress) {
      options_.progress(
          {TokenizerTrainingProgress::Phase::kPruning, static_cast<int64_t>(learner.size()), options_.vocabulary_size});
    }
    if (last) break;
    const auto shrunk = static_cast<size_t>(options_.shrinking_factor * static_cast<double>(learner.size()));
    learner.prune(std::max(target, shrunk));
  }
  return make_tokenizer(options_, learner.pieces());
}

}  // namespace fledge::nn
