#include "nn/text/bpe_trainer.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "nn/text/bpe_model.h"
#include "nn/text/byte_alphabet.h"
#include "nn/text/guarded_parallel.h"
#include "nn/text/merge_learner.h"
#include "nn/text/normalization.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

// A text is counted in parts of this size, which threads take in turn, and progress is told after some of them.
constexpr size_t kPartBytes = 256 * 1024;
constexpr size_t kPartsPerReport = 32;

std::vector<AddedToken> special_tokens(const BpeTrainingOptions& options) {
  std::vector<AddedToken> tokens;
  for (const std::string& content : options.special_tokens) {
    AddedToken token;
    token.id = static_cast<int32_t>(tokens.size());
    token.content = content;
    token.special = true;
    tokens.push_back(token);
  }
  return tokens;
}

bool is_visible_ascii(char c) {
  return c > ' ' && c < 0x7F;
}

/// End of a part of `text` that begins at `begin`: at kPartBytes or as soon after it as the text may be cut.
size_t end_of_part(std::string_view text, size_t begin, bool cut_at_any_line, bool cut_between_visible) {
  size_t at = std::min(text.size(), begin + kPartBytes);
  while (at < text.size()) {
    const size_t line_end = text.find('\n', at);
    if (line_end == std::string_view::npos) break;
    at = line_end + 1;
    if (cut_at_any_line) return at;
    const bool visible_around =
        line_end > begin && at < text.size() && is_visible_ascii(text[line_end - 1]) && is_visible_ascii(text[at]);
    if (cut_between_visible && visible_around) return at;
  }
  return text.size();
}

/// The growing vocabulary: names in the byte alphabet, as Hugging Face's trainer keeps them, so that two tokens of the
/// same name are one.
class GrowingVocabulary {
 public:
  explicit GrowingVocabulary(const std::vector<AddedToken>& special) {
    for (const AddedToken& token : special) add(token.content);
    // The alphabet in the order of its characters, not of the bytes.
    std::array<std::pair<char32_t, int>, 256> letters;
    for (int byte = 0; byte < 256; ++byte) letters[byte] = {byte_alphabet()[byte], byte};
    std::sort(letters.begin(), letters.end());
    for (const auto& [character, byte] : letters) {
      const char letter = static_cast<char>(byte);
      byte_ids_[byte] = add(to_byte_alphabet({&letter, 1}));
    }
  }

  int32_t add(const std::string& name) {
    const auto [entry, is_new] = ids_.emplace(name, static_cast<int32_t>(names_.size()));
    if (is_new) names_.push_back(name);
    return entry->second;
  }

  int32_t size() const { return static_cast<int32_t>(names_.size()); }
  int32_t byte_id(uint8_t byte) const { return byte_ids_[byte]; }
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::vector<std::string> names_;
  std::unordered_map<std::string, int32_t> ids_;
  std::array<int32_t, 256> byte_ids_{};
};

/// A pair that was merged twice counts where it was merged last. Ranks are renumbered without holes.
std::vector<BpeMerge> without_repetitions(std::vector<BpeMerge> merges) {
  std::set<std::pair<int32_t, int32_t>> seen;
  std::vector<BpeMerge> kept;
  for (auto merge = merges.rbegin(); merge != merges.rend(); ++merge) {
    if (seen.emplace(merge->left, merge->right).second) kept.push_back(*merge);
  }
  std::reverse(kept.begin(), kept.end());
  for (size_t rank = 0; rank < kept.size(); ++rank) kept[rank].rank = static_cast<uint32_t>(rank);
  return kept;
}

Tokenizer make_tokenizer(const BpeTrainingOptions& options, const std::vector<std::string>& names,
                         std::vector<BpeMerge> merges) {
  TokenizerParts parts;
  parts.added_tokens = special_tokens(options);
  std::vector<std::string> tokens;
  for (size_t id = 0; id < names.size(); ++id) {
    const bool is_special = id < parts.added_tokens.size();
    if (is_special) parts.literal_tokens.insert(static_cast<int32_t>(id));
    tokens.push_back(is_special ? names[id] : from_byte_alphabet(names[id]).value());
  }
  parts.model = std::make_unique<BpeModel>(tokens, without_repetitions(std::move(merges)), false);
  parts.pre_tokenizer = make_scanner(options.pattern);
  parts.pre_tokenizer_section = pre_tokenizer_section(options.pattern);
  parts.normalize_to_nfc = options.normalize_to_nfc;
  if (options.normalize_to_nfc) parts.normalizer = {{"type", "NFC"}};
  parts.decoder = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  return Tokenizer(std::move(parts));
}

}  // namespace

BpeTrainer::BpeTrainer(BpeTrainingOptions options)
    : options_(std::move(options)),
      pre_tokenizer_(make_scanner(options_.pattern)),
      special_matcher_(special_tokens(options_)),
      counters_(static_cast<size_t>(base::thread_count())) {
  std::set<std::string> names;
  for (const std::string& token : options_.special_tokens) {
    if (token.empty() || !names.insert(token).second || valid_utf8_end(token, 0) != token.size()) {
      throw base::UsageError("the special token \"{}\" is empty, repeated or not UTF-8", token);
    }
  }
  const int64_t least = 256 + static_cast<int64_t>(options_.special_tokens.size());
  if (options_.vocabulary_size < least) {
    throw base::UsageError("a vocabulary of {} tokens is too small: the bytes and the special tokens are {}",
                           options_.vocabulary_size, least);
  }
}

void BpeTrainer::count_document(std::string_view text, PieceCounter& counter) const {
  std::string normalized;
  if (options_.normalize_to_nfc && !is_surely_nfc(text)) text = normalized = to_nfc(text);
  counter.set_readable_end(text.data() + text.size());
  for (size_t position = 0; position < text.size();) {
    const size_t valid_end = valid_utf8_end(text, position);
    if (valid_end > position) pre_tokenizer_->split(text.substr(position, valid_end - position), counter);
    position = invalid_utf8_end(text, valid_end);
    const std::string_view invalid = text.substr(valid_end, position - valid_end);
    if (!invalid.empty()) counter.take({&invalid, 1});
  }
}

void BpeTrainer::count_part(std::string_view text, Unit unit, PieceCounter& counter) const {
  const auto count = [&](std::string_view document) {
    special_matcher_.split(
        document, true, [&](std::string_view plain) { count_document(plain, counter); }, [](const AddedToken&) {});
  };
  if (unit == Unit::kText) return count(text);
  while (!text.empty()) {
    const size_t line_end = std::min(text.find('\n'), text.size() - 1) + 1;
    count(text.substr(0, line_end));
    text.remove_prefix(line_end);
  }
}

void BpeTrainer::add_text(std::string_view text, Unit unit) {
  // Special tokens hold no line feed as a rule; one that does could be cut in two, so such a text stays whole.
  const bool special_is_safe = std::none_of(options_.special_tokens.begin(), options_.special_tokens.end(),
                                            [](const std::string& token) { return token.find('\n') != token.npos; });
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end =
        end_of_part(text, begin, unit == Unit::kLine, special_is_safe && pre_tokenizer_->breaks_after_lines());
    parts.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  for (size_t first = 0; first < parts.size(); first += kPartsPerReport) {
    const size_t count = std::min(kPartsPerReport, parts.size() - first);
    guarded_parallel(static_cast<int64_t>(count), [&](int64_t item) {
      count_part(parts[first + static_cast<size_t>(item)], unit,
                 counters_[static_cast<size_t>(omp_get_thread_num()) % counters_.size()]);
    });
    if (options_.progress) {
      const std::string_view last = parts[first + count - 1];
      options_.progress({BpeTrainingProgress::Phase::kCounting, last.data() + last.size() - text.data(),
                         static_cast<int64_t>(text.size())});
    }
  }
}

void BpeTrainer::add_file(const std::filesystem::path& path, Unit unit) {
  add_text(base::MappedFile(path).text(), unit);
}

PieceCounter& BpeTrainer::gather_counts() {
  for (size_t i = 1; i < counters_.size(); ++i) {
    counters_[0].add(counters_[i]);
    counters_[i] = PieceCounter();
  }
  return counters_[0];
}

Tokenizer BpeTrainer::train() {
  const PieceCounter& counts = gather_counts();
  if (counts.distinct() == 0) throw base::Error("BPE training: the input holds no text");
  GrowingVocabulary vocabulary(special_tokens(options_));
  MergeLearner learner;
  std::vector<int32_t> tokens;
  counts.for_each([&](std::string_view piece, int64_t count) {
    tokens.clear();
    for (const char byte : piece) tokens.push_back(vocabulary.byte_id(static_cast<uint8_t>(byte)));
    learner.add_piece(tokens, count);
  });
  std::vector<BpeMerge> merges;
  const int64_t report_every = std::max(1, options_.vocabulary_size / 100);
  learner.run(options_.min_frequency, [&](int32_t left, int32_t right, int32_t& id) {
    if (vocabulary.size() >= options_.vocabulary_size) return false;
    const auto& names = vocabulary.names();
    id = vocabulary.add(names[static_cast<size_t>(left)] + names[static_cast<size_t>(right)]);
    merges.push_back({left, right, id, static_cast<uint32_t>(merges.size())});
    if (options_.progress && static_cast<int64_t>(merges.size()) % report_every == 0) {
      options_.progress({BpeTrainingProgress::Phase::kMerging, vocabulary.size(), options_.vocabulary_size});
    }
    return true;
  });
  return make_tokenizer(options_, vocabulary.names(), std::move(merges));
}

}  // namespace fledge::nn
