#pragma once

#include <string>
#include <string_view>

namespace fledge::nn {

/// Whether a quick look shows that `text` is in Unicode normalization form C already. False tells nothing.
bool is_surely_nfc(std::string_view text);

/// The four normalization forms of Unicode Standard Annex 15.
enum class NormalForm { kC, kD, kKc, kKd };

/// `text` in a normalization form. Bytes that are not valid UTF-8 stay as they are, and the text on either side of them
/// is normalized on its own.
std::string to_normal_form(std::string_view text, NormalForm form);

/// `text` in Unicode normalization form C.
std::string to_nfc(std::string_view text);

}  // namespace fledge::nn
