#pragma once

#include <string>
#include <string_view>

namespace fledge::nn {

/// Appends the bytes of a base64 text (RFC 4648); false where it is malformed. Padding is not counted: Whisper's ranks
/// have a token of no bytes, written as a lone padding character.
bool append_base64(std::string_view text, std::string& bytes);

/// Bytes as base64 with padding.
std::string to_base64(std::string_view bytes);

}  // namespace fledge::nn
