#pragma once

namespace fledge::cli {

/// The whole program: parses the command line, runs the verb and turns every error into one sentence on standard error.
/// Returns the exit code: 0 good, 1 failure, 2 wrong usage, 130 interrupted.
int run(int argument_count, const char* const* arguments);

}  // namespace fledge::cli
