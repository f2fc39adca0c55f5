#include "nn/text/bpe_trainer.h"

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "nn/text/bpe_model.h"
#include "nn/text/byte_alphabet.h"
#include "nn/text/merge_learner.h"
#include "nn/text/tokenizer_parts.h"

namespace fledge::nn {
namespace {

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

TextReading text_reading(const BpeTrainingOptions& options) {
  TextReading reading;
  reading.pre_tokenizer = make_scanner(options.pattern);
  reading.normalize_to_nfc = options.normalize_to_nfc;
  reading.keeps_invalid_bytes = true;
  return reading;
}

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
  parts.added_tokens = make_special_tokens(options.special_tokens);
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
    : TokenizerTrainer(text_reading(options), options.special_tokens, options.progress), options_(std::move(options)) {
  const int64_t least = 256 + static_cast<int64_t>(options_.special_tokens.size());
  if (options_.vocabulary_size < least) {
    throw base::UsageError("a vocabulary of {} tokens is too small: the bytes and the special tokens are {}",
                           options_.vocabulary_size, least);
  }
}

Tokenizer BpeTrainer::train() {
  const PieceCounter& counts = gather_counts("BPE");
  GrowingVocabulary vocabulary(make_special_tokens(options_.special_tokens));
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
      options_.progress({TokenizerTrainingProgress::Phase::kMerging, vocabulary.size(), options_.vocabulary_size});
    }
    return true;
  });
  return make_tokenizer(options_, vocabulary.names(), std::move(merges));
}

}  // namespace fledge::nn
