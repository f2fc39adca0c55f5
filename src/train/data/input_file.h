#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace fledge::train {

inline constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

/// A plain file read from its beginning to its end, unpacked where it is compressed by gzip.
class InputFile {
 public:
  /// Throws Error naming the path where it cannot be opened or is not a plain file.
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// Appends the next bytes; false at the end. Throws Error where they cannot be read.
  bool append_to(std::string& text);
  /// Bytes of the file on disk consumed so far.
  int64_t offset() const;

 private:
  std::filesystem::path path_;
  struct Handle;
  std::unique_ptr<Handle> handle_;
};

}  // namespace fledge::train
