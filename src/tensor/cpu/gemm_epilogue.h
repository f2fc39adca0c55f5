#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/matmul.h"

namespace fledge::tensor::cpu {

/// Rounds a tile of sums to bf16 with the processor's own instruction, which takes subnormal numbers for 0.
using StoreBf16Function = void(const float* sums, int64_t sums_stride, int64_t rows, int64_t columns, void* out,
                               int64_t out_stride);

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
  const float* addend = nullptr;
  int64_t addend_stride = 0;
  const float* scale = nullptr;
  int64_t scale_stride = 0;  ///< 0: the same for every row
  void* unscaled = nullptr;  ///< in out_dtype
  int64_t unscaled_stride = 0;

  StoreBf16Function* store_bf16 = nullptr;  ///< how bf16 is stored; null: as everywhere, with subnormal numbers

  bool only_converts() const {
    return bias == nullptr && activation == Activation::none && preactivation == nullptr && residual == nullptr &&
           !accumulate && !changes_sums();
  }
  /// Something is done to the sums before the bias.
  bool changes_sums() const { return addend != nullptr || scale != nullptr || unscaled != nullptr; }
};

/// Stores the sums of the tile whose first element is (row, column) of the output. `sums` may be the output itself
/// where that is f32 and there is no residual; they may be changed.
void finish_tile(const TileEpilogue& epilogue, int64_t row, int64_t column, int64_t rows, int64_t columns, float* sums,
                 int64_t sums_stride);

}  // namespace fledge::tensor::cpu
