#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace fledge::tensor {

/// A product with a matrix of low rank, U D, for few rows each of many such matrices: D [R, in] as it stands, U in
/// parts of the outputs. So each matrix is read once and whole, where packing for tiles would pad it to twice its size.
struct LowRankMatrix {
  /// The columns of U that one range of the outputs has, from some rows of D.
  struct Part {
    int64_t first_rank = 0, rank = 0;
    int64_t first_output = 0, outputs = 0;
    Tensor up;  ///< [blocks of 64 outputs, rank, 64], the last one filled up with 0
  };
  Tensor down;  ///< [R, in]
  std::vector<Part> parts;
};

/// A part from `up` [outputs, rank] (any strides) times `scale`, in f32, bf16 or f64.
LowRankMatrix::Part make_low_rank_part(const Tensor& up, double scale, int64_t first_rank, int64_t first_output,
                                       DType type, Arena& arena);

/// Rows that go through one matrix: out = x D^T U^T in the columns of its parts; the others stay as they are.
struct LowRankRun {
  const LowRankMatrix* matrix;
  Tensor x;    ///< [M, in], f32 or bf16 (f64 where the matrices are)
  Tensor out;  ///< [M, out], f32 (or f64); the elements of a row stand together
};

/// Does all runs, shared among the threads. Sums are in f32 (f64); a row's result does not depend on the other rows,
/// runs, or threads. Throws Error where shapes or types do not fit.
void multiply_low_rank(std::span<const LowRankRun> runs);

}  // namespace fledge::tensor
