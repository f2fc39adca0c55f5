#pragma once

#include <string>
#include <string_view>

namespace fledge::nn {

/// Whether a quick look shows that `text` is in Unicode normalization form C already. False tells nothing.
bool is_surely_nfc(std::string_view text);

/// `text` in Unicode normalization form C (Unicode Standard Annex 15). Bytes that are not valid UTF-8 stay as they are,
/// and the text on either side of them is normalized on its own.
std::string to_nfc(std::string_view text);

}  // namespace fledge::nn
