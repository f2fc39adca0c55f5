#include "train/data/shard.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <set>

namespace fledge::train {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are read in place, in the machine's byte order");

constexpr std::string_view kMagic = "FLEDGESH";
constexpr uint32_t kVersion = 1;
constexpr size_t kNameBytes = 32;
constexpr size_t kAlignment = 8;
constexpr uint32_t kMaximumColumns = 1024;

struct Header {
  char magic[8];
  uint32_t version, columns;
  uint64_t bytes;
  uint32_t checksum, zero;
};
static_assert(sizeof(Header) == 32);

struct Entry {
  char name[kNameBytes];
  char dtype[8];
  uint64_t elements, elements_offset, rows, rows_offset;
  uint32_t checksum, zero;
};
static_assert(sizeof(Entry) == 80);

uint32_t crc(uint32_t seed, const void* data, size_t size) {
  return static_cast<uint32_t>(crc32_z(seed, static_cast<const Bytef*>(data), size));
}

/// CRC-32 of a header, with its own checksum field zero, and of the table behind it.
uint32_t table_checksum(Header header, std::span<const std::byte> table) {
  header.checksum = 0;
  return crc(crc(0, &header, sizeof(header)), table.data(), table.size());
}

size_t aligned(size_t offset) {
  return (offset + kAlignment - 1) / kAlignment * kAlignment;
}

void write_aligned(base::AtomicFile& file, std::string_view bytes) {
  file.write(bytes);
  file.write(std::string_view("\0\0\0\0\0\0\0", aligned(bytes.size()) - bytes.size()));
}

template <typename T>
std::string_view bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

std::string_view padded_text(const char* text, size_t capacity) {
  return {text, strnlen(text, capacity)};
}

bool is_column_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytes &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 127; });
}

}  // namespace

tensor::DType dtype_named(std::string_view name, std::string_view origin) {
  using tensor::DType;
  for (const DType dtype :
       {DType::f64, DType::f32, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u16, DType::u8})
    if (tensor::name_of(dtype) == name) return dtype;
  throw base::Error("{}: a column has an element type that this version does not know", origin);
}

ShardWriter::ShardWriter(std::vector<ColumnSpec> columns) {
  std::set<std::string> names;
  for (ColumnSpec& spec : columns) {
    if (!is_column_name(spec.name))
      throw base::Error("a shard column's name must have 1 to {} printable ASCII characters", kNameBytes);
    if (!names.insert(spec.name).second) throw base::Error("two shard columns are named \"{}\"", spec.name);
    const bool ragged = spec.ragged;
    columns_.push_back({std::move(spec), {}, {}});
    if (ragged) columns_.back().row_offsets.push_back(0);
  }
}

void ShardWriter::end_row(size_t column) {
  if (!columns_[column].spec.ragged) throw base::Error("shard column \"{}\" has no rows", columns_[column].spec.name);
  columns_[column].row_offsets.push_back(elements(column));
}

int64_t ShardWriter::elements(size_t column) const {
  return static_cast<int64_t>(columns_[column].elements.size() / tensor::size_of(columns_[column].spec.dtype));
}

size_t ShardWriter::bytes() const {
  size_t total = 0;
  for (const Column& column : columns_) total += column.elements.size() + column.row_offsets.size() * sizeof(int64_t);
  return total;
}

ShardWriter::Written ShardWriter::write(const base::filesystem::path& path) {
  size_t offset = sizeof(Header) + columns_.size() * sizeof(Entry);
  std::vector<Entry> table;
  for (Column& column : columns_) {
    const auto rows = bytes_of(std::span<const int64_t>(column.row_offsets));
    Entry entry{};
    std::memcpy(entry.name, column.spec.name.data(), column.spec.name.size());
    const auto dtype = tensor::name_of(column.spec.dtype);
    std::memcpy(entry.dtype, dtype.data(), dtype.size());
    if (column.spec.ragged) {
      if (column.row_offsets.back() * static_cast<int64_t>(tensor::size_of(column.spec.dtype)) !=
          static_cast<int64_t>(column.elements.size()))
        throw base::Error("{}: the last row of column \"{}\" was not ended", path.string(), column.spec.name);
      entry.rows = column.row_offsets.size() - 1;
      entry.rows_offset = offset;
      offset += aligned(rows.size());
    }
    entry.elements = column.elements.size() / tensor::size_of(column.spec.dtype);
    entry.elements_offset = offset;
    offset += aligned(column.elements.size());
    entry.checksum = crc(crc(0, rows.data(), rows.size()), column.elements.data(), column.elements.size());
    table.push_back(entry);
  }
  Header header{{}, kVersion, static_cast<uint32_t>(columns_.size()), offset, 0, 0};
  std::memcpy(header.magic, kMagic.data(), kMagic.size());
  header.checksum = table_checksum(header, std::as_bytes(std::span(table)));

  base::AtomicFile file(path);
  file.write(bytes_of(std::span<const Header>(&header, 1)));
  file.write(bytes_of(std::span<const Entry>(table)));
  for (Column& column : columns_) {
    write_aligned(file, bytes_of(std::span<const int64_t>(column.row_offsets)));
    write_aligned(file, column.elements);
    column.elements.clear();
    if (column.spec.ragged) column.row_offsets.resize(1);
  }
  file.commit();
  return {static_cast<int64_t>(offset), header.checksum};
}

Shard Shard::open(const base::filesystem::path& path) {
  auto file = std::make_shared<const base::MappedFile>(path);
  Shard shard(file->bytes(), path.string());
  shard.file_ = std::move(file);
  return shard;
}

Shard::Shard(std::span<const std::byte> bytes, std::string origin) : origin_(std::move(origin)), bytes_(bytes) {
  Header header;
  if (bytes.size() < sizeof(header))
    throw base::Error("{}: not a shard, or cut short: it has {} bytes and a shard's header alone has {}", origin_,
                      bytes.size(), sizeof(header));
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::string_view(header.magic, sizeof(header.magic)) != kMagic)
    throw base::Error("{}: not a shard: it does not start with \"{}\"", origin_, kMagic);
  if (header.version != kVersion)
    throw base::Error("{}: a shard of format version {}, and this program reads version {}: prepare the data again",
                      origin_, header.version, kVersion);
  if (header.bytes != bytes.size())
    throw base::Error("{}: the file has {} bytes and its header says {}: it was cut short or changed", origin_,
                      bytes.size(), header.bytes);
  if (header.columns > kMaximumColumns || header.columns * sizeof(Entry) > bytes.size() - sizeof(header))
    throw base::Error("{}: the header says {} columns, more than the file can hold", origin_, header.columns);
  const auto table = bytes.subspan(sizeof(header), header.columns * sizeof(Entry));
  checksum_ = header.checksum;
  if (table_checksum(header, table) != header.checksum)
    throw base::Error("{}: the checksum of its table is wrong: the file is damaged", origin_);
  std::set<std::string> names;
  for (uint32_t index = 0; index < header.columns; ++index) {
    columns_.push_back(parse_column(table.subspan(index * sizeof(Entry), sizeof(Entry))));
    if (!names.insert(columns_.back().spec.name).second)
      throw base::Error("{}: two columns have the same name", origin_);
  }
}

Shard::Column Shard::parse_column(std::span<const std::byte> bytes) const {
  Entry entry;
  std::memcpy(&entry, bytes.data(), sizeof(entry));
  Column column;
  column.spec.name = padded_text(entry.name, sizeof(entry.name));
  if (!is_column_name(column.spec.name)) throw base::Error("{}: a column has no printable name", origin_);
  column.spec.dtype = dtype_named(padded_text(entry.dtype, sizeof(entry.dtype)), origin_);
  column.spec.ragged = entry.rows_offset != 0;
  column.checksum = entry.checksum;
  // An array must lie inside the file; division keeps the product from overflowing.
  const auto array = [&](uint64_t offset, uint64_t count, size_t element) {
    if (offset % kAlignment != 0 || offset < sizeof(Header) || offset > bytes_.size() ||
        count > (bytes_.size() - offset) / element)
      throw base::Error("{}: column \"{}\" points outside the file", origin_, column.spec.name);
    return bytes_.subspan(offset, count * element);
  };
  column.bytes = array(entry.elements_offset, entry.elements, tensor::size_of(column.spec.dtype));
  column.elements = static_cast<int64_t>(entry.elements);
  if (column.spec.ragged) {
    if (entry.rows >= bytes_.size())
      throw base::Error("{}: column \"{}\" has too many rows", origin_, column.spec.name);
    const auto rows = array(entry.rows_offset, entry.rows + 1, sizeof(int64_t));
    column.row_offsets = {reinterpret_cast<const int64_t*>(rows.data()), entry.rows + 1};
    check_row_offsets(column);
  }
  return column;
}

void Shard::check_row_offsets(const Column& column) const {
  const auto& offsets = column.row_offsets;
  if (offsets.front() != 0 || offsets.back() != column.elements || !std::is_sorted(offsets.begin(), offsets.end()))
    throw base::Error("{}: the row offsets of column \"{}\" do not rise from 0 to its {} elements", origin_,
                      column.spec.name, column.elements);
}

const Shard::Column& Shard::column(std::string_view name) const {
  for (const Column& candidate : columns_)
    if (candidate.spec.name == name) return candidate;
  throw base::Error("{}: the column \"{}\" is missing", origin_, name);
}

void Shard::require_dtype(const Column& column, tensor::DType expected) const {
  if (column.spec.dtype != expected)
    throw base::Error("{}: column \"{}\" holds {} where {} was expected", origin_, column.spec.name,
                      tensor::name_of(column.spec.dtype), tensor::name_of(expected));
}

void Shard::require_row(const Column& column, int64_t index) const {
  const int64_t rows = column.spec.ragged ? static_cast<int64_t>(column.row_offsets.size()) - 1 : 0;
  if (index < 0 || index >= rows)
    throw base::Error("{}: column \"{}\" has {} rows; there is no row {}", origin_, column.spec.name, rows, index);
}

void Shard::verify_checksums() const {
  for (const Column& column : columns_) {
    const auto rows = std::as_bytes(column.row_offsets);
    if (crc(crc(0, rows.data(), rows.size()), column.bytes.data(), column.bytes.size()) != column.checksum)
      throw base::Error("{}: the checksum of column \"{}\" is wrong: the file is damaged; prepare the data again",
                        origin_, column.spec.name);
  }
}

}  // namespace fledge::train
