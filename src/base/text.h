#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fledge::base {

/// `text` without the spaces, tabs and line ends around it.
std::string_view trimmed(std::string_view text);
/// Runs of characters that are no white space (of the C locale).
int64_t count_words(std::string_view text);

/// `text` for HTML and XML: & < > " as entities.
std::string escaped_markup(std::string_view text);

}  // namespace fledge::base
