#pragma once

#include <cstdint>
#include <string>

namespace fledge::nn {

/// The classes of characters that split patterns speak of: \p{L}, \p{N}, \s (the property White_Space), and the rest.
enum class CharacterClass : uint8_t { kOther, kLetter, kNumber, kSpace };

/// The class of every code point, 0x110000 entries, filled on first use. Unicode 14, as PCRE2 10.42.
const CharacterClass* character_classes();

/// Properties beside the class, as bits; what BERT's tokenizer and Hugging Face's normalizers ask for.
enum CharacterProperty : uint8_t {
  kWhiteSpace = 1,      ///< the property White_Space
  kPunctuation = 2,     ///< general category P, and all ASCII that is neither letter, digit, space nor control
  kControl = 4,         ///< general categories Cc, Cf and Co, without tab, line feed and carriage return
  kNonspacingMark = 8,  ///< general category Mn
  kMark = 16,           ///< general category M
  kCjkIdeograph = 32,   ///< the blocks that BERT reads character by character
};

/// The properties of every code point, 0x110000 entries, filled on first use.
const uint8_t* character_properties();

/// The lower-case form of one character, as UTF-8, appended to `text`.
void append_lower_case(std::string& text, char32_t c);

}  // namespace fledge::nn
