#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fledge::nn {

// GPT-2's files write a token's bytes as printable characters: the 188 printable Latin-1 bytes stand for themselves,
// the others for U+0100 and following, in rising order (Radford et al., "Language Models are Unsupervised Multitask
// Learners", 2019, encoder.py).

/// The character of each byte.
const std::array<char32_t, 256>& byte_alphabet();

/// Bytes written in the alphabet, as UTF-8.
std::string to_byte_alphabet(std::string_view bytes);

/// The bytes that `text` stands for; nothing where it holds a character that stands for no byte or is not UTF-8.
std::optional<std::string> from_byte_alphabet(std::string_view text);

}  // namespace fledge::nn
