#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace fledge::base {

namespace filesystem = std::filesystem;

/// A file mapped read-only into memory for as long as the object lives. Movable, not copyable.
class MappedFile {
 public:
  /// Throws Error when the file cannot be opened or mapped. An empty file maps to an empty span.
  explicit MappedFile(const filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const filesystem::path& path() const { return path_; }

 private:
  filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// Writes all the bytes to an open descriptor, on after signals (Ctrl+C) too. False where that fails; errno says why.
bool write_all(int descriptor, std::string_view bytes);

/// The whole file as a string. Throws Error naming the path.
std::string read_file(const filesystem::path& path);

/// Writes a file so that a reader, or a machine that loses power, sees the old content or the new one and nothing else:
/// a temporary file beside it, fsync, rename, fsync of the folder. Throws Error (full disk, read-only folder, ...); the
/// old file then stays.
class AtomicFile {
 public:
  explicit AtomicFile(filesystem::path path);
  ~AtomicFile();  ///< Without commit() the temporary file is removed and nothing changes.
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void commit();

 private:
  void flush();
  filesystem::path path_, temporary_;
  int descriptor_ = -1;
  std::string buffer_;
};

/// AtomicFile in one call.
void write_file(const filesystem::path& path, std::string_view text);

/// Creates the folder and its parents; throws Error naming it where that fails.
void create_folder(const filesystem::path& path);

/// fsync of a folder, so that a rename in it survives a loss of power.
void sync_folder(const filesystem::path& path);

/// Fills `folder` atomically: `fill` writes into a fresh temporary folder beside it, whose files are then synced and
/// which takes the name of `folder` by rename, replacing an older one. A crash leaves the old folder or the new one.
void write_folder(const filesystem::path& folder, const std::function<void(const filesystem::path&)>& fill);

}  // namespace fledge::base
