#include "train/data/augmentation.h"

#include <algorithm>

#include "base/random.h"
#include "nn/text/character_class.h"
#include "nn/text/utf8.h"

namespace fledge::train {
namespace {

constexpr uint64_t kReplacementStream = 0x6175676d656e74;  // "augment"
constexpr double kUnit = 0x1p-32;

/// What a character is to a word.
enum class Role : uint8_t { letter, digit, apostrophe, outside };

Role role_of(char32_t character) {
  if (character == U'\'' || character == U'\u2019') return Role::apostrophe;
  const nn::CharacterClass kind = nn::character_classes()[character];
  if (kind == nn::CharacterClass::kLetter) return Role::letter;
  if (kind == nn::CharacterClass::kNumber) return Role::digit;
  return (nn::character_properties()[character] & nn::kMark) != 0 ? Role::letter : Role::outside;
}

}  // namespace

std::vector<TextWord> words_of(std::string_view text) {
  std::vector<TextWord> words;
  bool open = false, letters_alone = true, behind_apostrophe = false;
  size_t begin = 0, end = 0;
  const auto close = [&] {
    if (open && letters_alone) words.push_back({begin, end});
    open = behind_apostrophe = false;
    letters_alone = true;
  };
  for (size_t at = 0; at < text.size();) {
    size_t length = nn::utf8_length(text, at);
    const Role role = length == 0 ? Role::outside : role_of(nn::decode_utf8(text.data() + at, length));
    length = std::max<size_t>(length, 1);
    if (role == Role::outside || (role == Role::apostrophe && (!open || behind_apostrophe))) {
      close();
    } else if (role == Role::apostrophe) {
      behind_apostrophe = true;  // it is inside the word where another letter follows
    } else {
      if (!open) begin = at;
      letters_alone = letters_alone && role == Role::letter && !behind_apostrophe;
      open = true;
      behind_apostrophe = false;
      end = at + length;
    }
    at += length;
  }
  close();
  return words;
}

std::vector<std::string> variants_of(const ReplaceableText& text, const AugmentationOptions& options,
                                     uint64_t text_number) {
  const base::Random random(options.seed, kReplacementStream);
  std::vector<std::string> variants;
  for (int64_t variant = 0; variant < options.variants; ++variant) {
    std::string result;
    size_t copied = 0;
    for (size_t number = 0; number < text.words.size(); ++number) {
      const std::vector<std::string>& candidates = text.candidates[number];
      if (candidates.empty()) continue;
      const auto drawn = random.block(static_cast<uint64_t>(variant) << 32 | number, text_number);
      if (static_cast<double>(drawn[0]) * kUnit >= options.probability) continue;
      result.append(text.text, copied, text.words[number].begin - copied);
      result += candidates[static_cast<size_t>(uint64_t{drawn[1]} * candidates.size() >> 32)];
      copied = text.words[number].end;
    }
    variants.push_back(result.append(text.text, copied));
  }
  return variants;
}

}  // namespace fledge::train
