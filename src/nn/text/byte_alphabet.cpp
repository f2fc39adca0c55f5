#include "nn/text/byte_alphabet.h"

#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

constexpr char32_t kFirstStandIn = 0x100;

bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

std::array<char32_t, 256> make_alphabet() {
  std::array<char32_t, 256> alphabet{};
  char32_t next = kFirstStandIn;
  for (int byte = 0; byte < 256; ++byte) {
    alphabet[static_cast<size_t>(byte)] = stands_for_itself(byte) ? static_cast<char32_t>(byte) : next++;
  }
  return alphabet;
}

constexpr size_t kEndOfAlphabet = 0x100 + 68;

/// The byte of each character, or -1.
std::array<int16_t, kEndOfAlphabet> make_inverse() {
  std::array<int16_t, kEndOfAlphabet> inverse{};
  inverse.fill(-1);
  for (size_t byte = 0; byte < 256; ++byte) inverse[byte_alphabet()[byte]] = static_cast<int16_t>(byte);
  return inverse;
}

}  // namespace

const std::array<char32_t, 256>& byte_alphabet() {
  static const std::array<char32_t, 256> alphabet = make_alphabet();
  return alphabet;
}

std::string to_byte_alphabet(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() + bytes.size() / 4);
  for (const char byte : bytes) append_utf8(text, byte_alphabet()[static_cast<uint8_t>(byte)]);
  return text;
}

std::optional<std::string> from_byte_alphabet(std::string_view text) {
  static const auto inverse = make_inverse();
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t position = 0; position < text.size();) {
    size_t length = utf8_length(text, position);
    if (length == 0) return std::nullopt;
    const char32_t character = decode_utf8(text.data() + position, length);
    if (character >= kEndOfAlphabet || inverse[character] < 0) return std::nullopt;
    bytes += static_cast<char>(inverse[character]);
    position += length;
  }
  return bytes;
}

}  // namespace fledge::nn
