#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::train {

/// A file within a zip archive.
struct ZipEntry {
  std::string name;
  int64_t bytes = 0;         ///< unpacked
  int64_t packed_bytes = 0;  ///< in the archive
  int64_t header = 0;        ///< where its local header begins
  int method = 0;            ///< 0: stored, 8: deflate
  uint32_t checksum = 0;     ///< CRC-32
};

/// Reads zip archives (APPNOTE 6.3, without encryption, several disks and ZIP64): wheels are such. The bytes must
/// outlive the reader and may come from anyone: everything that they say is checked. Throws Error naming `origin`.
class ZipReader {
 public:
  ZipReader(std::span<const std::byte> bytes, std::string origin);

  const std::vector<ZipEntry>& entries() const { return entries_; }
  /// Throws Error where the archive has no such file.
  const ZipEntry& find(std::string_view name) const;
  /// Hands the unpacked content over piece by piece; size and checksum are checked behind the last one.
  void extract(const ZipEntry& entry, const std::function<void(std::string_view)>& receive) const;
  /// Into a file, which appears whole or not at all.
  void extract_to(const ZipEntry& entry, const std::filesystem::path& path) const;

 private:
  std::span<const std::byte> slice(int64_t offset, int64_t count) const;
  uint32_t number(int64_t offset, int bytes) const;
  int64_t find_end() const;
  void read_directory();
  std::span<const std::byte> packed(const ZipEntry& entry) const;
  void inflate(const ZipEntry& entry, const std::function<void(std::string_view)>& receive) const;

  std::span<const std::byte> bytes_;
  std::string origin_;
  std::vector<ZipEntry> entries_;
};

}  // namespace fledge::train
