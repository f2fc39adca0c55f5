#include "tensor/block_format.h"

#include <array>
#include <cmath>
#include <limits>

#include "base/parallel.h"
#include "tensor/check.h"
#include "tensor/cpu/block_rows.h"
#include "tensor/cpu/elementwise.h"
#include "tensor/cpu_features.h"

namespace fledge::tensor {
namespace {

struct Format {
  std::string_view name;
  int64_t elements;
  size_t bytes;
  float largest;  ///< magnitude of a value whose scale still fits in f16
  void (*dequantize)(const std::byte* block, float* out);
  void (*quantize)(const float* values, std::byte* block);
};

// The largest number of f16 is 65504, which no minimum and no scale may exceed.
constexpr std::array<Format, 6> kFormats = {{
    {"q8_0", 32, 34, 65504.0f * 127, cpu::dequantize_q8_0, cpu::quantize_q8_0},
    {"q4_0", 32, 18, 65504.0f * 8, cpu::dequantize_q4_0, cpu::quantize_q4_0},
    {"q4_1", 32, 20, 65504.0f, cpu::dequantize_q4_1, cpu::quantize_q4_1},
    {"q4_k", 256, 144, 65504.0f * 32, cpu::dequantize_q4_k, cpu::quantize_q4_k},
    {"q6_k", 256, 210, 65504.0f * 32, cpu::dequantize_q6_k, cpu::quantize_q6_k},
    {"q5_0", 32, 22, 65504.0f * 16, cpu::dequantize_q5_0, cpu::quantize_q5_0},
}};

const Format& format_of(BlockType type) {
  return kFormats[static_cast<size_t>(type)];
}

void require_blocks(BlockType type, int64_t count) {
  if (count < 0 || count % block_elements(type) != 0) {
    throw base::Error("{} blocks hold {} elements each, but a row has {}; choose a type with smaller blocks",
                      name_of(type), block_elements(type), count);
  }
}

/// Columns [first, first + out's width) of one row to a row of `out`.
void write_row(const BlockMatrix& matrix, int64_t row, const Tensor& out, int64_t out_row, int64_t first = 0) {
  const Format& format = format_of(matrix.type);
  const size_t stride = static_cast<size_t>(matrix.columns / format.elements) * format.bytes;
  const std::byte* block = matrix.bytes.raw() + static_cast<size_t>(row) * stride +
                           static_cast<size_t>(first / format.elements) * format.bytes;
  const int64_t width = out.dim(1);
  std::array<float, 256> values;
  for (int64_t column = 0; column < width; column += format.elements, block += format.bytes) {
    if (out.dtype() == DType::f32) {
      format.dequantize(block, out.data<float>() + out_row * width + column);
    } else {
      format.dequantize(block, values.data());
      cpu::convert(values.data(), DType::f32, out.data<bf16>() + out_row * width + column, DType::bf16,
                   format.elements);
    }
  }
}

constexpr int64_t kGrainElements = 16384;

}  // namespace

std::string_view name_of(BlockType type) {
  return format_of(type).name;
}

std::optional<BlockType> block_type_named(std::string_view name) {
  for (size_t index = 0; index < kFormats.size(); ++index) {
    if (kFormats[index].name == name) return static_cast<BlockType>(index);
  }
  return std::nullopt;
}

int64_t block_elements(BlockType type) {
  return format_of(type).elements;
}

size_t block_bytes(BlockType type) {
  return format_of(type).bytes;
}

size_t row_bytes(BlockType type, int64_t columns) {
  require_blocks(type, columns);
  return static_cast<size_t>(columns / block_elements(type)) * block_bytes(type);
}

void dequantize_row(BlockType type, const std::byte* blocks, float* out, int64_t count) {
  require_blocks(type, count);
  const Format& format = format_of(type);
  for (int64_t i = 0; i < count; i += format.elements, blocks += format.bytes) format.dequantize(blocks, out + i);
}

void quantize_row(BlockType type, const float* values, std::byte* blocks, int64_t count) {
  require_blocks(type, count);
  const Format& format = format_of(type);
  for (int64_t i = 0; i < count; ++i) {
    if (!(std::fabs(values[i]) <= format.largest)) {
      throw base::Error("value {} of a row is {}, which {} cannot hold", i, values[i], format.name);
    }
  }
  for (int64_t i = 0; i < count; i += format.elements, blocks += format.bytes) format.quantize(values + i, blocks);
}

void require_valid(const BlockMatrix& matrix, std::string_view what) {
  if (matrix.rows < 0) throw base::Error("{}: got {} rows", what, matrix.rows);
  const size_t stride = row_bytes(matrix.type, matrix.columns);
  if (stride > 0 && static_cast<uint64_t>(matrix.rows) > std::numeric_limits<int64_t>::max() / stride) {
    throw base::Error("{}: {} rows of {} columns are more than memory can hold", what, matrix.rows, matrix.columns);
  }
  require(matrix.bytes, Shape{matrix.rows * static_cast<int64_t>(stride)}, {DType::u8}, what);
}

BlockMatrix quantize(const Tensor& values, BlockType type, Arena& arena) {
  require_matrix(values, "[quantize] matrix");
  require(values, values.shape(), {DType::f32}, "[quantize] matrix");
  BlockMatrix matrix{type, values.dim(0), values.dim(1), {}};
  const size_t stride = row_bytes(type, matrix.columns);
  matrix.bytes = Tensor::empty({matrix.rows * static_cast<int64_t>(stride)}, DType::u8, arena);
  if (is_meta(values) || is_meta(matrix.bytes)) return matrix;
  const auto* data = values.data<float>();
  for (int64_t i = 0; i < values.elements(); ++i) {
    if (!(std::fabs(data[i]) <= format_of(type).largest)) {
      throw base::Error("[quantize] row {}, column {} is {}, which {} cannot hold", i / matrix.columns,
                        i % matrix.columns, data[i], name_of(type));
    }
  }
  base::parallel_for(matrix.rows, std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, matrix.columns)),
                     [&](int64_t first, int64_t last) {
                       for (int64_t row = first; row < last; ++row) {
                         quantize_row(type, data + row * matrix.columns,
                                      matrix.bytes.raw() + static_cast<size_t>(row) * stride, matrix.columns);
                       }
                     });
  return matrix;
}

void dequantize_rows(const BlockMatrix& matrix, const Tensor& ids, Tensor& out) {
  require_valid(matrix, "[dequantize_rows] matrix");
  require(ids, Shape{ids.elements()}, {DType::i32}, "[dequantize_rows] ids");
  require(out, Shape{ids.elements(), matrix.columns}, {DType::f32, DType::bf16}, "[dequantize_rows] output");
  if (is_meta(out) || is_meta(ids) || is_meta(matrix.bytes)) return;
  instruction_set();
  const auto* rows = ids.data<int32_t>();
  for (int64_t place = 0; place < ids.elements(); ++place) {
    if (rows[place] < 0 || rows[place] >= matrix.rows) {
      throw base::Error("[dequantize_rows] id {} at place {} is outside of the table's {} rows", rows[place], place,
                        matrix.rows);
    }
  }
  base::parallel_for(ids.elements(), std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, matrix.columns)),
                     [&](int64_t first, int64_t last) {
                       for (int64_t place = first; place < last; ++place) write_row(matrix, rows[place], out, place);
                     });
}

void dequantize_columns(const BlockMatrix& matrix, int64_t first, Tensor& out) {
  require_valid(matrix, "[dequantize_columns] matrix");
  require_matrix(out, "[dequantize_columns] output");
  require(out, Shape{matrix.rows, out.dim(1)}, {DType::f32, DType::bf16}, "[dequantize_columns] output");
  const int64_t unit = block_elements(matrix.type), count = out.dim(1);
  if (first < 0 || first % unit != 0 || count % unit != 0 || first + count > matrix.columns) {
    throw base::Error("[dequantize_columns] columns {} to {} of {} do not fall together with blocks of {}", first,
                      first + count, matrix.columns, unit);
  }
  if (is_meta(out) || is_meta(matrix.bytes)) return;
  instruction_set();
  base::parallel_for(matrix.rows, std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, count)),
                     [&](int64_t begin, int64_t end) {
                       for (int64_t row = begin; row < end; ++row) write_row(matrix, row, out, row, first);
                     });
}

void dequantize(const BlockMatrix& matrix, Tensor& out) {
  require_valid(matrix, "[dequantize] matrix");
  require(out, Shape{matrix.rows, matrix.columns}, {DType::f32, DType::bf16}, "[dequantize] output");
  if (is_meta(out) || is_meta(matrix.bytes)) return;
  instruction_set();
  base::parallel_for(matrix.rows, std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, matrix.columns)),
                     [&](int64_t first, int64_t last) {
                       for (int64_t row = first; row < last; ++row) write_row(matrix, row, out, row);
                     });
}

}  // namespace fledge::tensor
