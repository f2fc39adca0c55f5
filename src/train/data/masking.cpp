#include "train/data/masking.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "nn/text/tokenizer_parts.h"
#include "nn/text/word_piece_model.h"

namespace fledge::train {
namespace {

constexpr std::string_view kWordMark = "\u2581";
constexpr double kBecomesMask = 0.8, kBecomesRandom = 0.9;

bool begins_inside_word(std::string_view bytes) {
  const auto first = static_cast<unsigned char>(bytes[0]);
  return first >= 0x80 || (first >= '0' && first <= '9') || ((first | 0x20) >= 'a' && (first | 0x20) <= 'z');
}

}  // namespace

std::vector<bool> continuing_tokens(const nn::Tokenizer& tokenizer) {
  const auto* word_piece = dynamic_cast<const nn::WordPieceModel*>(tokenizer.parts().model.get());
  const bool on_bytes = !tokenizer.parts().decoding;
  std::vector<bool> continues(static_cast<size_t>(tokenizer.vocabulary_size()));
  for (int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
    const std::string_view bytes = tokenizer.token_bytes(id);
    if (bytes.empty() || tokenizer.is_special(id)) continue;
    if (word_piece != nullptr) {
      continues[static_cast<size_t>(id)] = bytes.starts_with(word_piece->options().continuing_prefix);
    } else {
      continues[static_cast<size_t>(id)] = on_bytes ? begins_inside_word(bytes) : !bytes.starts_with(kWordMark);
    }
  }
  return continues;
}

Masking::Masking(const nn::Tokenizer& tokenizer, const MaskingOptions& options)
    : options_(options), continues_word_(continuing_tokens(tokenizer)) {
  const auto mask = tokenizer.mask_token();
  if (!mask) {
    throw base::Error(
        "the tokenizer has no mask_token in its tokenizer_config.json, and masked tokens need one: train one with "
        "`fledge tokenizer train --kind wordpiece` or unigram");
  }
  mask_ = *mask;
  for (int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
    if (!tokenizer.is_special(id)) drawable_.push_back(id);
  }
  if (drawable_.empty()) throw base::Error("the tokenizer has special tokens alone, so there is nothing to predict");
}

int64_t Masking::most_chosen(int64_t tokens) const {
  return std::max<int64_t>(1, std::llround(options_.probability * static_cast<double>(tokens)));
}

std::vector<Masking::Candidate> Masking::candidates(const nn::EncoderRow& row, const base::Random& random,
                                                    uint64_t sample) const {
  std::vector<Candidate> result;
  for (size_t place = 0; place < row.ids.size(); ++place) {
    if (!row.ordinary[place]) continue;
    const auto here = static_cast<int32_t>(place);
    const bool goes_on = options_.whole_words && !result.empty() && result.back().end == here &&
                         row.starts[place] < here && continues_word_[static_cast<size_t>(row.ids[place])];
    if (goes_on) {
      ++result.back().end;
      continue;
    }
    const auto words = random.block(place, sample);
    result.push_back({uint64_t{words[0]} << 32 | words[1], here, here + 1});
  }
  std::ranges::sort(result, [](const Candidate& a, const Candidate& b) {
    return a.key != b.key ? a.key < b.key : a.begin < b.begin;
  });
  return result;
}

void Masking::apply(nn::EncoderRow& row, Stream stream, uint64_t sample, int64_t first_place,
                    std::vector<int32_t>& places, std::vector<int32_t>& targets) const {
  const base::Random random(options_.seed, static_cast<uint64_t>(stream));
  const auto ordinary = std::ranges::count(row.ordinary, true);
  if (ordinary == 0) return;
  int64_t wanted = std::min(most_chosen(ordinary), static_cast<int64_t>(ordinary));
  std::vector<int32_t> chosen;
  const std::vector<Candidate> order = candidates(row, random, sample);
  for (const Candidate& candidate : order) {
    // A word that is longer than what is still wanted is passed over; a row without a shorter one takes its first.
    const int32_t length = candidate.end - candidate.begin;
    if (length > wanted) continue;
    for (int32_t place = candidate.begin; place < candidate.end; ++place) chosen.push_back(place);
    wanted -= length;
    if (wanted == 0) break;
  }
  if (chosen.empty()) chosen.push_back(order.front().begin);
  std::ranges::sort(chosen);
  const base::Random changes(options_.seed, static_cast<uint64_t>(stream) ^ uint64_t{0x6368616e6765} << 8);
  for (const int32_t place : chosen) {
    int32_t& id = row.ids[static_cast<size_t>(place)];
    places.push_back(static_cast<int32_t>(first_place) + place);
    targets.push_back(id);
    const auto words = changes.block(static_cast<uint64_t>(place), sample);
    const double fate = static_cast<double>(words[0]) * 0x1p-32;
    if (fate < kBecomesMask) {
      id = mask_;
    } else if (fate < kBecomesRandom) {
      id = drawable_[static_cast<size_t>(uint64_t{words[1]} * drawable_.size() >> 32)];
    }
  }
}

}  // namespace fledge::train
