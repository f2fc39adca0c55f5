#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/tensor.h"

namespace fledge::tensor {

/// Block-quantized weights, byte for byte as GGUF files hold them. A row is cut into blocks, each with its own scale.
///
/// | type | elements | bytes | value of element i |
/// |---|---|---|---|
/// | q8_0 | 32 | 34 | d * q, q in -128..127 |
/// | q4_0 | 32 | 18 | d * (q - 8), q in 0..15 |
/// | q4_1 | 32 | 20 | d * q + m, q in 0..15 |
/// | q4_k | 256 | 144 | d * s * q - dmin * m; 6-bit s and m for each 32 elements, q in 0..15 |
/// | q6_k | 256 | 210 | d * s * (q - 32); 8-bit s for each 16 elements, q in 0..63 |
/// | q5_0 | 32 | 22 | d * (q - 16), q in 0..31; products use it as q8_0, which holds the same values |
///
/// d, m (of q4_1) and dmin are f16.
enum class BlockType : uint8_t { q8_0, q4_0, q4_1, q4_k, q6_k, q5_0 };

/// "q8_0", "q4_k", ...
std::string_view name_of(BlockType type);
/// The type of that name in small letters; none for another name.
std::optional<BlockType> block_type_named(std::string_view name);

/// Elements of one block: 32 or 256.
int64_t block_elements(BlockType type);
/// Bytes of one block.
size_t block_bytes(BlockType type);
/// Bytes of a row; throws Error where `columns` is not a multiple of the block.
size_t row_bytes(BlockType type, int64_t columns);

/// out[0, count) from blocks; `count` is a multiple of the block. The same bits as ggml's reference functions.
void dequantize_row(BlockType type, const std::byte* blocks, float* out, int64_t count);

/// blocks from values[0, count); `count` is a multiple of the block. q8_0, q4_0, q4_1 and q5_0: the same bytes as
/// ggml's reference functions. q4_k and q6_k: a search for the scales with the least weighted square error. Throws
/// Error at a value that is not finite or too large for a scale in f16.
void quantize_row(BlockType type, const float* values, std::byte* blocks, int64_t count);

/// A weight of a linear layer, [out, in]: row r gives output r.
struct BlockMatrix {
  BlockType type = BlockType::q8_0;
  int64_t rows = 0, columns = 0;
  Tensor bytes;  ///< u8 [rows * row_bytes(type, columns)], row after row

  explicit operator bool() const { return static_cast<bool>(bytes); }
};

/// Throws Error "WHAT: ..." where the extents, the bytes and the type do not fit each other.
void require_valid(const BlockMatrix& matrix, std::string_view what);

/// A matrix [R, C] (f32, contiguous) in blocks; rows are shared among threads. On the meta device sizes alone.
BlockMatrix quantize(const Tensor& values, BlockType type, Arena& arena);

/// out[r] = row ids[r] of the matrix. ids [R] i32, out [R, columns] f32 or bf16, contiguous. An id outside [0, rows)
/// throws Error naming the id and its place, before anything is written.
void dequantize_rows(const BlockMatrix& matrix, const Tensor& ids, Tensor& out);

/// Columns [first, first + P) of the matrix: out [rows, P] f32 or bf16, contiguous. `first` and P are multiples of the
/// block.
void dequantize_columns(const BlockMatrix& matrix, int64_t first, Tensor& out);

/// The whole matrix: out [rows, columns] f32 or bf16, contiguous.
void dequantize(const BlockMatrix& matrix, Tensor& out);

}  // namespace fledge::tensor
