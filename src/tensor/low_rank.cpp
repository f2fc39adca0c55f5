#include "tensor/low_rank.h"

#include <algorithm>

#include "base/parallel.h"
#include "tensor/check.h"
#include "tensor/cpu/low_rank.h"
#include "tensor/elementwise.h"

namespace fledge::tensor {
namespace {

using cpu::kLowRankBlock;
using cpu::kLowRankRows;

void check_run(const LowRankRun& run) {
  const LowRankMatrix& matrix = *run.matrix;
  const bool f64 = matrix.down.dtype() == DType::f64;
  const DType exact = f64 ? DType::f64 : DType::f32;
  require_matrix(run.x, "[multiply_low_rank] x");
  require_matrix(run.out, "[multiply_low_rank] out");
  require(matrix.down, {matrix.down.dim(0), run.x.dim(1)}, {exact, f64 ? exact : DType::bf16},
          "[multiply_low_rank] down");
  require_dtype(run.x, {exact, f64 ? exact : DType::bf16}, "[multiply_low_rank] x");
  require_dtype(run.out, {exact}, "[multiply_low_rank] out");
  if (run.out.dim(0) != run.x.dim(0)) {
    throw base::Error("[multiply_low_rank] {} rows go in and {} come out", run.x.dim(0), run.out.dim(0));
  }
  if ((run.x.dim(1) > 1 && run.x.stride(1) != 1) || run.out.stride(1) != 1) {
    throw base::Error("[multiply_low_rank] the elements of a row must stand together");
  }
  for (const LowRankMatrix::Part& part : matrix.parts) {
    if (part.first_rank + part.rank > matrix.down.dim(0) || part.first_output + part.outputs > run.out.dim(1) ||
        part.up.dtype() != matrix.down.dtype()) {
      throw base::Error("[multiply_low_rank] a part does not fit its matrix");
    }
  }
}

/// The plain loops that say what is computed.
void multiply_f64(const LowRankRun& run) {
  const Tensor& down = run.matrix->down;
  std::vector<double> inner(static_cast<size_t>(down.dim(0)));
  for (int64_t row = 0; row < run.x.dim(0); ++row) {
    const double* x = run.x.data<double>() + row * run.x.stride(0);
    for (int64_t r = 0; r < down.dim(0); ++r) {
      double sum = 0;
      for (int64_t i = 0; i < down.dim(1); ++i) sum += x[i] * down.data<double>()[r * down.dim(1) + i];
      inner[static_cast<size_t>(r)] = sum;
    }
    for (const LowRankMatrix::Part& part : run.matrix->parts) {
      double* out = run.out.data<double>() + row * run.out.stride(0) + part.first_output;
      for (int64_t output = 0; output < part.outputs; ++output) {
        const double* up = part.up.data<double>() + output / kLowRankBlock * part.rank * kLowRankBlock;
        double sum = 0;
        for (int64_t r = 0; r < part.rank; ++r) {
          sum += inner[static_cast<size_t>(part.first_rank + r)] * up[r * kLowRankBlock + output % kLowRankBlock];
        }
        out[output] = sum;
      }
    }
  }
}

/// Up to kLowRankRows rows of a run.
struct Rows {
  const LowRankRun* run;
  int64_t first, count;
};

/// The numbers between D and U, kept by each thread from one product to the next.
float* inner_memory(int64_t rank) {
  thread_local std::vector<float> memory;
  memory.resize(std::max(memory.size(), static_cast<size_t>(kLowRankRows * rank)));
  return memory.data();
}

void multiply_down(const Rows& rows, float* inner) {
  const Tensor& x = rows.run->x;
  const Tensor& down = rows.run->matrix->down;
  const auto bytes = static_cast<int64_t>(size_of(x.dtype()));
  cpu::low_rank_down(static_cast<const std::byte*>(x.raw()) + rows.first * x.stride(0) * bytes, x.dtype(), x.stride(0),
                     rows.count, down.dim(1), down.raw(), down.dtype(), down.dim(0), inner);
}

void multiply_up(const Rows& rows, const LowRankMatrix::Part& part, const float* inner) {
  const Tensor& out = rows.run->out;
  cpu::low_rank_up(inner + part.first_rank, rows.run->matrix->down.dim(0), rows.count, part.rank, part.up.raw(),
                   part.up.dtype(), part.outputs, out.data<float>() + rows.first * out.stride(0) + part.first_output,
                   out.stride(0));
}

void multiply_rows(const Rows& rows) {
  float* inner = inner_memory(rows.run->matrix->down.dim(0));
  multiply_down(rows, inner);
  for (const LowRankMatrix::Part& part : rows.run->matrix->parts) multiply_up(rows, part, inner);
}

}  // namespace

LowRankMatrix::Part make_low_rank_part(const Tensor& up, double scale, int64_t first_rank, int64_t first_output,
                                       DType type, Arena& arena) {
  require_matrix(up, "[make_low_rank_part] up");
  const int64_t outputs = up.dim(0), rank = up.dim(1), blocks = (outputs + kLowRankBlock - 1) / kLowRankBlock;
  // Scaled before it is rounded.
  Tensor scaled = Tensor::empty({outputs, rank}, type == DType::f64 ? DType::f64 : DType::f32, arena);
  copy(up, scaled);
  tensor::scale(scaled, scale);
  LowRankMatrix::Part part{first_rank, rank, first_output, outputs,
                           Tensor::empty({blocks, rank, kLowRankBlock}, type, arena)};
  fill(part.up, 0.0);
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t first = block * kLowRankBlock, count = std::min(kLowRankBlock, outputs - first);
    copy(scaled.slice(0, first, count).transpose(0, 1), part.up.select(0, block).slice(1, 0, count));
  }
  return part;
}

void multiply_low_rank(std::span<const LowRankRun> runs) {
  std::vector<Rows> all;
  for (const LowRankRun& run : runs) {
    check_run(run);
    if (is_meta(run.out)) continue;
    if (run.out.dtype() == DType::f64) {
      multiply_f64(run);
      continue;
    }
    for (int64_t first = 0; first < run.x.dim(0); first += kLowRankRows) {
      all.push_back({&run, first, std::min(kLowRankRows, run.x.dim(0) - first)});
    }
  }
  base::parallel_dynamic(static_cast<int64_t>(all.size()),
                         [&](int64_t index) { multiply_rows(all[static_cast<size_t>(index)]); });
}

}  // namespace fledge::tensor
