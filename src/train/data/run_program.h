#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace fledge::train {

struct ProgramResult {
  int exit_code = 0;   ///< 128 + signal where a signal ended it
  std::string output;  ///< the end of what it wrote to standard output and standard error, at most 4096 bytes
};

/// Runs another program and waits for it: found through PATH, arguments handed over as they are (no shell), working in
/// `folder`, reading nothing, with messages in English. Throws Error where the program is not there; Interrupted where
/// the user stopped this program meanwhile (the other one is ended too).
ProgramResult run_program(const std::vector<std::string>& arguments, const std::filesystem::path& folder);

}  // namespace fledge::train
