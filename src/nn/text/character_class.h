#pragma once

#include <cstdint>

namespace fledge::nn {

/// The classes of characters that split patterns speak of: \p{L}, \p{N}, \s (the property White_Space), and the rest.
enum class CharacterClass : uint8_t { kOther, kLetter, kNumber, kSpace };

/// The class of every code point, 0x110000 entries, filled on first use. Unicode 14, as PCRE2 10.42.
const CharacterClass* character_classes();

}  // namespace fledge::nn
