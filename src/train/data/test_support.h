#pragma once
// Helpers that the tests of the data pipeline share.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "train/data/prepare.h"

namespace fledge::train {

/// A folder that is removed with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "fledge-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw base::Error("{}: no temporary folder", name);
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// The message of the Error that `action` throws, or "" where it throws none.
template <typename Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const base::Error& error) {
    return error.what();
  }
  return "";
}

/// One token per byte and 256 for the end of a text.
inline DocumentTokenizer byte_tokenizer() {
  return {{"bytes", 257, 256}, [](std::string_view text, std::vector<int32_t>& ids) {
            for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
          }};
}

/// All tokens of a split.
inline std::vector<int32_t> all_tokens(const TokenSplit& split) {
  std::vector<int32_t> ids(static_cast<size_t>(split.tokens()));
  split.read(0, ids);
  return ids;
}

/// The bytes behind the tokens of byte_tokenizer(), with '|' for the end of a text.
inline std::string text_of(const TokenSplit& split) {
  std::string text;
  for (const int32_t id : all_tokens(split)) text += id == 256 ? '|' : static_cast<char>(id);
  return text;
}

}  // namespace fledge::train
