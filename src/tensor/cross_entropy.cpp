#include "tensor/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/parallel.h"
#include "tensor/check.h"
#include "tensor/cpu/cross_entropy.h"
#include "tensor/cpu/reference/cross_entropy.h"
#include "tensor/cpu_features.h"

namespace fledge::tensor {
namespace {

/// Rows that are worth a thread.
int64_t grain_of(int64_t columns) {
  return std::max<int64_t>(1, 8192 / std::max<int64_t>(1, columns));
}

void require_logits(const Tensor& logits, std::string_view what) {
  require_matrix(logits, what);
  require(logits, logits.shape(), {DType::f32, DType::f64}, what);
}

void require_targets_below(const Tensor& targets, int64_t vocabulary) {
  const int32_t* target = targets.data<int32_t>();
  for (int64_t r = 0; r < targets.dim(0); ++r) {
    if (target[r] >= vocabulary) {
      throw base::Error("[cross_entropy] got target {} at place {}, expected less than {}, the number of logits",
                        target[r], r, vocabulary);
    }
  }
}

/// One row in f32; d_row (of type d_dtype) may be null or the row itself. Returns the loss.
float row_loss(const float* row, int64_t columns, int32_t target, double scale, void* d_row, DType d_dtype) {
  const float target_logit = row[target];
  const cpu::Softmax softmax = cpu::softmax_statistics(row, columns);
  const double loss = static_cast<double>(softmax.greatest) - static_cast<double>(target_logit) + std::log(softmax.sum);
  if (d_row != nullptr) {
    cpu::exponentials(row, columns, softmax.greatest, static_cast<float>(scale / softmax.sum), d_row, d_dtype);
    // The target's probability less 1, in f64: where the model is sure, the difference is all that there is.
    const double probability =
        std::exp(static_cast<double>(target_logit) - static_cast<double>(softmax.greatest)) / softmax.sum;
    const double gradient = (probability - 1) * scale;
    if (d_dtype == DType::bf16) {
      static_cast<bf16*>(d_row)[target] = convert<bf16>(gradient);
    } else {
      static_cast<float*>(d_row)[target] = static_cast<float>(gradient);
    }
  }
  return static_cast<float>(loss);
}

double row_loss_f64(const double* row, int64_t columns, int32_t target, double scale, double* d_row) {
  const double loss = cpu::reference::log_sum_exp(row, columns) - row[target];
  if (d_row != nullptr) cpu::reference::cross_entropy_gradient(row, columns, target, scale, d_row);
  return loss;
}

}  // namespace

void cross_entropy(const Tensor& logits, const Tensor& targets, Tensor losses, double gradient_scale, Tensor d_logits,
                   const Tensor& row_weights) {
  require_logits(logits, "[cross_entropy] logits");
  const int64_t rows = logits.dim(0), columns = logits.dim(1);
  const bool wide = logits.dtype() == DType::f64;
  require(targets, {rows}, {DType::i32}, "[cross_entropy] targets");
  require(losses, {rows}, {logits.dtype()}, "[cross_entropy] losses");
  require_if_defined(row_weights, {rows}, {logits.dtype()}, "[cross_entropy] row_weights");
  if (wide) {
    require_if_defined(d_logits, logits.shape(), {DType::f64}, "[cross_entropy] d_logits of logits in f64");
  } else {
    require_if_defined(d_logits, logits.shape(), {DType::f32, DType::bf16}, "[cross_entropy] d_logits");
  }
  if (is_meta(logits) || is_meta(targets) || is_meta(losses)) return;
  require_targets_below(targets, columns);
  instruction_set();
  const int64_t d_row_bytes = d_logits ? columns * static_cast<int64_t>(size_of(d_logits.dtype())) : 0;
  base::parallel_for(rows, grain_of(columns), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const int32_t target = targets.data<int32_t>()[r];
      std::byte* d_row = d_logits ? d_logits.raw() + r * d_row_bytes : nullptr;
      if (target < 0) {
        if (d_row != nullptr) std::memset(d_row, 0, static_cast<size_t>(d_row_bytes));
        wide ? losses.data<double>()[r] = 0 : losses.data<float>()[r] = 0;
      } else if (wide) {
        const double scale = row_weights ? gradient_scale * row_weights.data<double>()[r] : gradient_scale;
        losses.data<double>()[r] =
            row_loss_f64(logits.data<double>() + r * columns, columns, target, scale, reinterpret_cast<double*>(d_row));
      } else {
        const double scale = row_weights ? gradient_scale * row_weights.data<float>()[r] : gradient_scale;
        losses.data<float>()[r] = row_loss(logits.data<float>() + r * columns, columns, target, scale, d_row,
                                           d_logits ? d_logits.dtype() : DType::f32);
      }
    }
  });
}

void log_softmax(const Tensor& logits, Tensor out) {
  require_logits(logits, "[log_softmax] logits");
  require(out, logits.shape(), {logits.dtype()}, "[log_softmax] out");
  if (is_meta(logits) || is_meta(out) || logits.elements() == 0) return;
  instruction_set();
  const int64_t columns = logits.dim(1);
  base::parallel_for(logits.dim(0), grain_of(columns), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      if (logits.dtype() == DType::f64) {
        const double* row = logits.data<double>() + r * columns;
        const double normalizer = cpu::reference::log_sum_exp(row, columns);
        for (int64_t c = 0; c < columns; ++c) out.data<double>()[r * columns + c] = row[c] - normalizer;
      } else {
        const float* row = logits.data<float>() + r * columns;
        const cpu::Softmax softmax = cpu::softmax_statistics(row, columns);
        cpu::log_probabilities(row, columns, softmax.greatest, static_cast<float>(std::log(softmax.sum)),
                               out.data<float>() + r * columns);
      }
    }
  });
}

}  // namespace fledge::tensor
