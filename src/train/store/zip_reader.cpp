#include "train/store/zip_reader.h"

#include <zlib.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/file.h"

namespace fledge::train {
namespace {

constexpr uint32_t kEndSignature = 0x06054b50, kEntrySignature = 0x02014b50, kLocalSignature = 0x04034b50;
constexpr int64_t kEndBytes = 22, kEntryBytes = 46, kLocalBytes = 30;
constexpr uint32_t kZip64 = 0xffffffff;

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

uint32_t checksum_of(uint32_t start, std::string_view piece) {
  return static_cast<uint32_t>(crc32_z(start, reinterpret_cast<const Bytef*>(piece.data()), piece.size()));
}

/// A zlib stream that is ended with the object.
class Inflater {
 public:
  Inflater() {
    if (inflateInit2(&stream_, -MAX_WBITS) != Z_OK) throw base::Error("zlib cannot be used");
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  z_stream& stream() { return stream_; }

 private:
  z_stream stream_{};
};

}  // namespace

ZipReader::ZipReader(std::span<const std::byte> bytes, std::string origin) : bytes_(bytes), origin_(std::move(origin)) {
  read_directory();
}

std::span<const std::byte> ZipReader::slice(int64_t offset, int64_t count) const {
  const auto size = static_cast<int64_t>(bytes_.size());
  if (offset < 0 || count < 0 || offset > size || count > size - offset) {
    throw base::Error("{}: the archive is cut short or damaged at byte {}", origin_, offset);
  }
  return bytes_.subspan(static_cast<size_t>(offset), static_cast<size_t>(count));
}

uint32_t ZipReader::number(int64_t offset, int bytes) const {
  const auto part = slice(offset, bytes);
  uint32_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= std::to_integer<uint32_t>(part[static_cast<size_t>(i)]) << (8 * i);
  return value;
}

int64_t ZipReader::find_end() const {
  // Behind the end record stands a comment of at most 64 KiB.
  const auto size = static_cast<int64_t>(bytes_.size());
  for (int64_t at = size - kEndBytes; at >= std::max<int64_t>(0, size - kEndBytes - 65535); --at) {
    if (number(at, 4) == kEndSignature) return at;
  }
  throw base::Error("{}: is no zip archive", origin_);
}

void ZipReader::read_directory() {
  const int64_t end = find_end();
  const uint32_t count = number(end + 10, 2), start = number(end + 16, 4);
  if (number(end + 4, 2) != 0 || count == 0xffff || start == kZip64) {
    throw base::Error("{}: a zip archive of several parts or of the ZIP64 form is not supported", origin_);
  }
  int64_t at = start;
  for (uint32_t index = 0; index < count; ++index) {
    if (number(at, 4) != kEntrySignature) throw base::Error("{}: the archive's directory is damaged", origin_);
    ZipEntry entry;
    const uint32_t flags = number(at + 8, 2), name_bytes = number(at + 28, 2);
    entry.method = static_cast<int>(number(at + 10, 2));
    entry.checksum = number(at + 16, 4);
    entry.packed_bytes = number(at + 20, 4);
    entry.bytes = number(at + 24, 4);
    entry.header = number(at + 42, 4);
    entry.name = as_text(slice(at + kEntryBytes, name_bytes));
    if ((flags & 1) != 0) throw base::Error("{}: {} is encrypted", origin_, entry.name);
    if (entry.packed_bytes == kZip64 || entry.bytes == kZip64) {
      throw base::Error("{}: a zip archive of the ZIP64 form is not supported", origin_);
    }
    at += kEntryBytes + name_bytes + number(at + 30, 2) + number(at + 32, 2);
    entries_.push_back(std::move(entry));
  }
}

const ZipEntry& ZipReader::find(std::string_view name) const {
  const auto found = std::ranges::find(entries_, name, &ZipEntry::name);
  if (found == entries_.end()) throw base::Error("{}: the archive holds no {}", origin_, name);
  return *found;
}

std::span<const std::byte> ZipReader::packed(const ZipEntry& entry) const {
  if (number(entry.header, 4) != kLocalSignature) {
    throw base::Error("{}: the archive is damaged at {}", origin_, entry.name);
  }
  const int64_t begin = entry.header + kLocalBytes + number(entry.header + 26, 2) + number(entry.header + 28, 2);
  return slice(begin, entry.packed_bytes);
}

void ZipReader::inflate(const ZipEntry& entry, const std::function<void(std::string_view)>& receive) const {
  const auto content = packed(entry);
  Inflater inflater;
  z_stream& stream = inflater.stream();
  // zlib does not write to its input. Sizes fit: the archive's own are 32 bits.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  std::string buffer(size_t{1} << 18, '\0');
  int64_t left = entry.bytes;
  int code = Z_OK;
  while (code != Z_STREAM_END) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    code = ::inflate(&stream, Z_NO_FLUSH);
    const size_t made = buffer.size() - stream.avail_out;
    left -= static_cast<int64_t>(made);
    // No more than announced, whatever the packed bytes hold.
    const bool is_stuck = code == Z_OK && made == 0;
    if ((code != Z_OK && code != Z_STREAM_END) || left < 0 || is_stuck) {
      throw base::Error("{}: {} is damaged", origin_, entry.name);
    }
    receive(std::string_view(buffer).substr(0, made));
  }
}

void ZipReader::extract(const ZipEntry& entry, const std::function<void(std::string_view)>& receive) const {
  uint32_t checksum = 0;
  int64_t bytes = 0;
  const auto check_and_receive = [&](std::string_view piece) {
    checksum = checksum_of(checksum, piece);
    bytes += static_cast<int64_t>(piece.size());
    receive(piece);
  };
  if (entry.method == 8) {
    inflate(entry, check_and_receive);
  } else if (entry.method == 0) {
    check_and_receive(as_text(packed(entry)));
  } else {
    throw base::Error("{}: {} is packed by method {}; stored and deflate are supported", origin_, entry.name,
                      entry.method);
  }
  if (bytes != entry.bytes || checksum != entry.checksum) {
    throw base::Error("{}: {} is damaged (its size or its checksum is not the archive's)", origin_, entry.name);
  }
}

void ZipReader::extract_to(const ZipEntry& entry, const std::filesystem::path& path) const {
  base::AtomicFile file(path);
  extract(entry, [&](std::string_view piece) { file.write(piece); });
  file.commit();
}

}  // namespace fledge::train
