#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace fledge::cli {

/// Turns what CLI11 found wrong with the command line into one sentence: which flag or word, what was expected, and the
/// nearest right one.
std::string usage_sentence(const CLI::App& root, const CLI::ParseError& error);

}  // namespace fledge::cli
