#pragma once

#include <span>

#include "tensor/block_format.h"
#include "tensor/matmul.h"

namespace fledge::tensor {

/// A block-quantized weight laid out once for the machine's kernel. It needs about as many bytes as the blocks (q5_0,
/// used as q8_0: half as many again).
struct QuantizedMatrix {
  BlockType type = BlockType::q8_0;  ///< that of the kernel: never q5_0
  int64_t depth = 0;                 ///< K, columns of the BlockMatrix
  int64_t columns = 0;               ///< N, rows of the BlockMatrix
  Tensor bytes;                      ///< u8

  explicit operator bool() const { return static_cast<bool>(bytes); }
};

/// Bytes of the packed form of a weight with `rows` outputs and `columns` inputs.
size_t packed_bytes(BlockType type, int64_t rows, int64_t columns);

/// Packs a weight. Throws Error where the matrix does not fit its type. On the meta device sizes alone.
QuantizedMatrix pack(const BlockMatrix& matrix, Arena& arena);

/// out[M, N] = a[M, K] * w^T, then the epilogue. a and out: f32 or bf16, elements of a row together.
///
/// The activations are rounded to int8 on the way, with one scale for each 32 of a row (each 256 where w is q4_k or
/// q6_k), as llama.cpp does; sums within a block are exact, scales and sums of blocks are f32. Each row of the result
/// is the same whatever M, its place among the rows, and the number of threads. A row with a number that is not finite
/// gives results that are not.
void matmul(const Tensor& a, const QuantizedMatrix& w, Tensor& out, const Epilogue& epilogue = {});

/// One of several products with the same left operand.
struct QuantizedProduct {
  const QuantizedMatrix* weight = nullptr;
  Tensor out;  ///< [M, N]
  Epilogue epilogue = {};
};

/// The same for several weights of the same K at once (query, key and value; gate and up): the activations are
/// quantized once and the threads are called once.
void matmul_group(const Tensor& a, std::span<const QuantizedProduct> products);

}  // namespace fledge::tensor
