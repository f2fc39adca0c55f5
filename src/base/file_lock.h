#pragma once

#include <filesystem>
#include <functional>

namespace fledge::base {

/// Holds a file locked against other programs that lock it alike, as long as the object lives. The system frees the
/// lock of a program that ends, however it ends; the empty file stays.
class FileLock {
 public:
  /// Creates the file where it is not there. While somebody else holds the lock, calls `wait` again and again, which
  /// sleeps a little and may throw. Throws Error naming the path where the file cannot be made or locked.
  FileLock(const std::filesystem::path& path, const std::function<void()>& wait);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace fledge::base
