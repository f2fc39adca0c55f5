#pragma once

#include "tensor/block_format.h"
#include "tensor/cpu/quantized_kernel.h"

namespace fledge::tensor::cpu {

/// Activations [M, K] in int8, as weights of one type want them: a scale for each 32 elements, or for each 256 where
/// the weights' blocks are that long. The rows are cut into the kernel's chunks.
class QuantizedActivations {
 public:
  QuantizedActivations(BlockType type, int64_t rows, int64_t depth) : type_(type), rows_(rows), depth_(depth) {}

  /// Bytes of memory that use() wants, a multiple of 64.
  size_t bytes() const;
  void use(std::byte* memory);

  BlockType type() const { return type_; }
  /// The chunk that begins at row `first`.
  QuantizedRows chunk(int64_t first) const;

  /// Quantizes the chunk of rows [first, first + rows) of a (f32 or bf16, rows `stride` elements apart).
  void quantize(const void* a, DType dtype, int64_t stride, int64_t first, int64_t rows);

 private:
  int64_t groups() const { return depth_ / kGroup; }
  int64_t starts_per_group() const { return type_ == BlockType::q6_k ? 2 : 1; }
  bool has_starts() const { return number_offset(type_) != 0; }

  BlockType type_;
  int64_t rows_, depth_;
  int8_t* values_ = nullptr;
  float* scales_ = nullptr;
  int32_t* starts_ = nullptr;
  float* sums_ = nullptr;
};

}  // namespace fledge::tensor::cpu
