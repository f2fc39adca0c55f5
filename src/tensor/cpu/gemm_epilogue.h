#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/matmul.h"

namespace fledge::tensor::cpu {

/// Where finished sums of a product go and what is done to them on the way; see tensor::Epilogue.
struct TileEpilogue {
  void* out = nullptr;  ///< f32 or bf16
  DType out_dtype = DType::f32;
  int64_t out_stride = 0;
  const float* bias = nullptr;
  Activation activation = Activation::none;
  void* preactivation = nullptr;  ///< in out_dtype
  int64_t preactivation_stride = 0;
  const float* residual = nullptr;
  int64_t residual_stride = 0;
  bool accumulate = false;

  bool only_converts() const {
    return bias == nullptr && activation == Activation::none && preactivation == nullptr && residual == nullptr &&
           !accumulate;
  }
};

/// Stores the sums of the tile whose first element is (row, column) of the output. `sums` may be the output itself
/// where that is f32 and there is no residual.
void finish_tile(const TileEpilogue& epilogue, int64_t row, int64_t column, int64_t rows, int64_t columns,
                 const float* sums, int64_t sums_stride);

}  // namespace fledge::tensor::cpu
