#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "tensor/dtype.h"

namespace fledge::train {

// A shard is one file of named, typed columns. All numbers are little-endian; every array starts at a multiple of 8.
//
//   header  32 bytes   "FLEDGESH", u32 version = 1, u32 column count, u64 file size, u32 CRC-32 of header and table
//                      (computed with this field zero), u32 zero
//   table   80 bytes   per column: name (32, zero-padded), dtype name (8, zero-padded), u64 element count, u64 offset
//   of
//                      the elements, u64 row count, u64 offset of the row offsets (0: the column is flat), u32 CRC-32
//                      of the row offsets and the elements, u32 zero
//   arrays             per column: the row offsets (i64, row count + 1, first 0, last the element count) where it is
//                      ragged, then the elements
//
// The table holds the checksum of every array, so the CRC in the header stands for the whole file.

/// What a column is: its name (1 to 32 bytes), its element type, and whether its elements are grouped into rows of
/// different lengths.
struct ColumnSpec {
  std::string name;
  tensor::DType dtype = tensor::DType::i32;
  bool ragged = false;
};

/// The DType with that name ("u16"). Throws Error naming `origin`.
tensor::DType dtype_named(std::string_view name, std::string_view origin);

/// Collects the columns of one shard in memory and writes them as one file.
class ShardWriter {
 public:
  /// Throws Error for a name that is empty, too long or used twice.
  explicit ShardWriter(std::vector<ColumnSpec> columns);

  /// Adds elements to the end of a column (of its open row, where it is ragged). T must be the column's type.
  template <typename T>
  void append(size_t column, std::span<const T> elements) {
    if (tensor::DTypeOf<T>::value != columns_[column].spec.dtype)
      throw base::Error("shard column \"{}\" holds {}, not {}", columns_[column].spec.name,
                        tensor::name_of(columns_[column].spec.dtype), tensor::name_of(tensor::DTypeOf<T>::value));
    const auto* bytes = reinterpret_cast<const char*>(elements.data());
    columns_[column].elements.append(bytes, elements.size_bytes());
  }
  /// Ends the open row of a ragged column.
  void end_row(size_t column);

  /// Elements in a column so far.
  int64_t elements(size_t column) const;
  /// Bytes of all elements and row offsets so far.
  size_t bytes() const;

  struct Written {
    int64_t bytes = 0;
    uint32_t checksum = 0;
  };
  /// Writes the file atomically and empties the columns for the next shard.
  Written write(const base::filesystem::path& path);

 private:
  struct Column {
    ColumnSpec spec;
    std::string elements;
    std::vector<int64_t> row_offsets;
  };
  std::vector<Column> columns_;
};

/// A shard that was opened: views into the mapped file. Opening checks everything but the elements themselves; their
/// checksums are read by verify_checksums() alone, because that reads the whole file.
class Shard {
 public:
  struct Column {
    ColumnSpec spec;
    int64_t elements = 0;
    std::span<const std::byte> bytes;
    std::span<const int64_t> row_offsets;  ///< empty where the column is flat
    uint32_t checksum = 0;
  };

  /// Maps the file. Throws Error naming it where it is cut short, not a shard, of another version, or lies about
  /// its arrays.
  static Shard open(const base::filesystem::path& path);
  /// Reads a shard from memory that starts at a multiple of 8 and outlives the object; `origin` names it in errors.
  Shard(std::span<const std::byte> bytes, std::string origin);

  const std::string& origin() const { return origin_; }
  const std::vector<Column>& columns() const { return columns_; }
  /// CRC-32 of header and table, which stands for the whole content.
  uint32_t checksum() const { return checksum_; }
  /// Throws Error where there is no such column.
  const Column& column(std::string_view name) const;

  /// All elements of a column. Throws Error where the column is absent or of another type.
  template <typename T>
  std::span<const T> elements(std::string_view name) const {
    const Column& found = column(name);
    require_dtype(found, tensor::DTypeOf<T>::value);
    return {reinterpret_cast<const T*>(found.bytes.data()), static_cast<size_t>(found.elements)};
  }
  /// One row of a ragged column. Throws Error where there is no such row.
  template <typename T>
  std::span<const T> row(std::string_view name, int64_t index) const {
    const Column& found = column(name);
    require_row(found, index);
    const int64_t first = found.row_offsets[static_cast<size_t>(index)];
    const int64_t last = found.row_offsets[static_cast<size_t>(index) + 1];
    return elements<T>(name).subspan(static_cast<size_t>(first), static_cast<size_t>(last - first));
  }

  /// Reads every byte. Throws Error naming the column whose content changed.
  void verify_checksums() const;

 private:
  void require_dtype(const Column& column, tensor::DType expected) const;
  void require_row(const Column& column, int64_t index) const;
  Column parse_column(std::span<const std::byte> entry) const;
  void check_row_offsets(const Column& column) const;

  std::string origin_;
  std::shared_ptr<const base::MappedFile> file_;
  std::span<const std::byte> bytes_;
  uint32_t checksum_ = 0;
  std::vector<Column> columns_;
};

}  // namespace fledge::train
