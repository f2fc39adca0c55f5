#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/quantized_matmul.h"

namespace fledge::grad {

/// Quantized matrices [out, in] below each other, laid out for the kernels: the weight of one product. Neighbours of
/// the same block type become one matrix.
class QuantizedWeight {
 public:
  QuantizedWeight(std::span<const tensor::BlockMatrix> parts, tensor::Arena& arena);

  /// out[M, N] = x[M, K] w^T with an epilogue, as tensor::matmul.
  void multiply(const tensor::Tensor& x, tensor::Tensor& out, const tensor::Epilogue& epilogue) const;

 private:
  struct Piece {
    tensor::QuantizedMatrix matrix;
    int64_t first_column;  ///< of the result
  };
  std::vector<Piece> pieces_;
};

}  // namespace fledge::grad
