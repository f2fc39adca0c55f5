#include "nn/text/normalization.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "nn/text/unicode_data.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

// Hangul syllables are computed (The Unicode Standard, section 3.12).
constexpr char32_t kSyllableBase = 0xAC00, kLeadBase = 0x1100, kVowelBase = 0x1161, kTailBase = 0x11A7;
constexpr char32_t kLeads = 19, kVowels = 21, kTails = 28, kSyllables = kLeads * kVowels * kTails;

// Below this code point nothing decomposes canonically that does not compose again, and nothing combines.
constexpr uint8_t kFirstByteOfU0300 = 0xCC;

constexpr size_t kSliceBytes = 16 * 1024;

struct Character {
  char32_t code_point;
  uint8_t combining_class;
};

uint8_t combining_class(char32_t c) {
  const auto* end = kCombiningRanges + kCombiningRanges_count;
  const auto* found = std::lower_bound(
      kCombiningRanges, end, c, [](const CombiningRange& range, char32_t wanted) { return range.last < wanted; });
  return found != end && found->first <= c ? found->combining_class : 0;
}

const Decomposition* decomposition(char32_t c) {
  const auto* end = kDecompositions + kDecompositions_count;
  const auto* found = std::lower_bound(
      kDecompositions, end, c, [](const Decomposition& entry, char32_t wanted) { return entry.code_point < wanted; });
  return found != end && found->code_point == c ? found : nullptr;
}

/// Appends the full canonical decomposition of a character.
void decompose(char32_t c, std::vector<Character>& characters) {
  if (c >= kSyllableBase && c < kSyllableBase + kSyllables) {
    const char32_t index = c - kSyllableBase;
    characters.push_back({kLeadBase + index / (kVowels * kTails), 0});
    characters.push_back({kVowelBase + index / kTails % kVowels, 0});
    if (index % kTails != 0) characters.push_back({kTailBase + index % kTails, 0});
  } else if (const Decomposition* parts = decomposition(c)) {
    decompose(parts->first, characters);
    if (parts->second != 0) decompose(parts->second, characters);
  } else {
    characters.push_back({c, combining_class(c)});
  }
}

/// Appends the full compatibility decomposition of a character.
void decompose_compatibly(char32_t c, std::vector<Character>& characters) {
  constexpr utf8proc_ssize_t kLongest = 32;  // U+FDFA has 18
  utf8proc_int32_t parts[kLongest];
  int boundary = UTF8PROC_BOUNDCLASS_START;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, kLongest, options, &boundary);
  if (count <= 0 || count > kLongest) return decompose(c, characters);
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    const auto part = static_cast<char32_t>(parts[i]);
    characters.push_back({part, combining_class(part)});
  }
}

std::unordered_map<uint64_t, char32_t> make_compositions() {
  std::unordered_map<uint64_t, char32_t> compositions;
  for (size_t i = 0; i < kDecompositions_count; ++i) {
    const Decomposition& entry = kDecompositions[i];
    if (entry.composes) compositions[uint64_t{entry.first} << 32 | entry.second] = entry.code_point;
  }
  return compositions;
}

/// The character that the two compose to, or 0.
char32_t compose(char32_t first, char32_t second) {
  if (first >= kLeadBase && first < kLeadBase + kLeads && second >= kVowelBase && second < kVowelBase + kVowels) {
    return kSyllableBase + ((first - kLeadBase) * kVowels + (second - kVowelBase)) * kTails;
  }
  const bool is_open_syllable =
      first >= kSyllableBase && first < kSyllableBase + kSyllables && (first - kSyllableBase) % kTails == 0;
  if (is_open_syllable && second > kTailBase && second < kTailBase + kTails) return first + (second - kTailBase);
  static const auto compositions = make_compositions();
  const auto found = compositions.find(uint64_t{first} << 32 | second);
  return found == compositions.end() ? 0 : found->second;
}

void order_marks(std::vector<Character>& characters) {
  for (auto at = characters.begin(); at != characters.end();) {
    const auto end = std::find_if(at, characters.end(), [](const Character& c) { return c.combining_class == 0; });
    std::stable_sort(at, end,
                     [](const Character& a, const Character& b) { return a.combining_class < b.combining_class; });
    at = end == characters.end() ? end : end + 1;
  }
}

void compose_all(std::vector<Character>& characters) {
  size_t kept = 0;
  size_t starter = SIZE_MAX;
  uint8_t last_class = 0;  // of the last kept character behind the starter; 0 where the starter is the last one
  for (const Character c : characters) {
    const bool blocked = starter == SIZE_MAX || (kept != starter + 1 && last_class >= c.combining_class);
    if (!blocked) {
      if (const char32_t composite = compose(characters[starter].code_point, c.code_point)) {
        characters[starter].code_point = composite;
        continue;
      }
    }
    if (c.combining_class == 0) starter = kept;
    last_class = c.combining_class;
    characters[kept++] = c;
  }
  characters.resize(kept);
}

void append_normal_form(std::string_view valid, NormalForm form, std::string& result) {
  const bool compatible = form == NormalForm::kKc || form == NormalForm::kKd;
  std::vector<Character> characters;
  characters.reserve(valid.size());
  for (size_t position = 0, length = 0; position < valid.size(); position += length) {
    const char32_t c = decode_utf8(valid.data() + position, length);
    compatible ? decompose_compatibly(c, characters) : decompose(c, characters);
  }
  order_marks(characters);
  if (form == NormalForm::kC || form == NormalForm::kKc) compose_all(characters);
  for (const Character& c : characters) append_utf8(result, c.code_point);
}

}  // namespace

bool is_surely_nfc(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char byte) { return static_cast<uint8_t>(byte) < kFirstByteOfU0300; });
}

std::string to_nfc(std::string_view text) {
  return to_normal_form(text, NormalForm::kC);
}

std::string to_normal_form(std::string_view text, NormalForm form) {
  std::string result;
  result.reserve(text.size());
  for (size_t position = 0; position < text.size();) {
    const size_t valid_end = valid_utf8_end(text, position);
    while (position < valid_end) {
      // An ASCII character never joins what is before it, so that text may be cut there: memory stays small.
      size_t end = std::min(valid_end, position + kSliceBytes);
      while (end < valid_end && static_cast<signed char>(text[end]) < 0) ++end;
      append_normal_form(text.substr(position, end - position), form, result);
      position = end;
    }
    position = invalid_utf8_end(text, valid_end);
    result += text.substr(valid_end, position - valid_end);
  }
  return result;
}

}  // namespace fledge::nn
