#pragma once

#include <string>
#include <string_view>

namespace fledge::train {

/// Text in Windows-1252 (a superset of Latin-1) as UTF-8.
std::string utf8_from_windows_1252(std::string_view text);

/// The text with every byte that is not part of valid UTF-8 read as Windows-1252, the usual origin of such bytes.
std::string repair_utf8(std::string_view text);

}  // namespace fledge::train
