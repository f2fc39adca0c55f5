#include "train/data/wheel.h"

#include <vector>

#include "base/error.h"
#include "train/data/run_program.h"

namespace fledge::train {
namespace {

namespace filesystem = std::filesystem;

/// The last line of what a program said.
std::string complaint(const std::string& output) {
  const size_t end = output.find_last_not_of(" \n\r");
  if (end == std::string::npos) return "it said nothing";
  const size_t begin = output.rfind('\n', end);
  return output.substr(begin == std::string::npos ? 0 : begin + 1,
                       end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

/// `form` is pip's option that decides between wheels and source archives, and what it is for; `ending` is the file's.
filesystem::path download(const std::string& name, const std::string& package, const std::string& version,
                          const std::vector<std::string>& form, const char* ending, const filesystem::path& folder) {
  const std::string requirement = package + "==" + version;
  std::string reason;
  for (const std::vector<std::string>& program :
       {std::vector<std::string>{"python3", "-m", "pip"}, {"pip3"}, {"pip"}}) {
    std::vector<std::string> command = program;
    for (const char* word : {"--disable-pip-version-check", "download", "--no-deps", "-d", "."}) {
      command.emplace_back(word);
    }
    command.insert(command.end(), form.begin(), form.end());
    command.push_back(requirement);
    ProgramResult result;
    try {
      result = run_program(command, folder);
    } catch (const base::Interrupted&) {
      throw;
    } catch (const base::Error& error) {
      if (reason.empty()) reason = error.what();
      continue;
    }
    if (result.exit_code != 0) {
      reason = complaint(result.output);
      if (reason.find("No module named pip") != std::string::npos) continue;
      break;
    }
    for (const auto& entry : filesystem::directory_iterator(folder)) {
      if (entry.path().extension() == ending) return entry.path();
    }
    reason = fmt::format("it left no {} file", ending);
  }
  throw base::Error("{}: pip could not download {} ({}); check the network, and that pip is installed", name,
                    requirement, reason);
}

}  // namespace

filesystem::path download_wheel(const std::string& name, const std::string& package, const std::string& version,
                                const filesystem::path& folder) {
  return download(name, package, version, {"--only-binary", ":all:"}, ".whl", folder);
}

filesystem::path download_source_archive(const std::string& name, const std::string& package,
                                         const std::string& version, const filesystem::path& folder) {
  // What it needs to be built, of which pip asks it, may come as wheels.
  return download(name, package, version, {"--no-binary", package}, ".gz", folder);
}

}  // namespace fledge::train
