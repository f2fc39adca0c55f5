#include "tensor/swiglu.h"

#include "base/parallel.h"
#include "tensor/cpu/reference/swiglu.h"
#include "tensor/cpu/swiglu.h"
#include "tensor/cpu_features.h"
#include "tensor/strided_rows.h"

namespace fledge::tensor {
namespace {

namespace reference = cpu::reference;
using cpu::Rows;

/// Rows that are worth a thread.
int64_t grain_of(int64_t columns) {
  return std::max<int64_t>(1, 8192 / std::max<int64_t>(1, columns));
}

Rows check_gate(const Tensor& gate, std::string_view what) {
  require_matrix(gate, what);
  return rows_of(gate, {DType::f32, DType::bf16, DType::f64}, what);
}

}  // namespace

void swiglu(const Tensor& gate, const Tensor& up, Tensor out) {
  const Rows gates = check_gate(gate, "[swiglu] gate");
  const Rows ups = rows_of(up, gate.shape(), {gate.dtype()}, "[swiglu] up");
  const Rows outs = rows_of(out, gate.shape(), {gate.dtype()}, "[swiglu] out");
  if (is_meta(gate) || is_meta(out)) return;
  instruction_set();
  base::parallel_for(gate.dim(0), grain_of(gates.columns), [&](int64_t first, int64_t last) {
    if (gates.dtype != DType::f64) return cpu::swiglu_rows(gates, ups, outs, first, last);
    for (int64_t r = first; r < last; ++r) {
      for (int64_t c = 0; c < gates.columns; ++c) {
        outs.at<double>(r, 0)[c] = reference::silu(gates.at<double>(r, 0)[c]) * ups.at<double>(r, 0)[c];
      }
    }
  });
}

void swiglu_backward(const Tensor& gate, const Tensor& up, const Tensor& d_out, Tensor d_gate, Tensor d_up) {
  const Rows gates = check_gate(gate, "[swiglu_backward] gate");
  const Rows ups = rows_of(up, gate.shape(), {gate.dtype()}, "[swiglu_backward] up");
  const Rows incoming = rows_of(d_out, gate.shape(), {gate.dtype()}, "[swiglu_backward] d_out");
  const Rows d_gates = rows_of(d_gate, gate.shape(), {gate.dtype()}, "[swiglu_backward] d_gate");
  const Rows d_ups = rows_of(d_up, gate.shape(), {gate.dtype()}, "[swiglu_backward] d_up");
  if (is_meta(gate) || is_meta(d_gate)) return;
  instruction_set();
  base::parallel_for(gate.dim(0), grain_of(gates.columns), [&](int64_t first, int64_t last) {
    if (gates.dtype != DType::f64) {
      return cpu::swiglu_backward_rows(gates, ups, incoming, d_gates, d_ups, first, last);
    }
    for (int64_t r = first; r < last; ++r) {
      for (int64_t c = 0; c < gates.columns; ++c) {
        const double g = gates.at<double>(r, 0)[c], u = ups.at<double>(r, 0)[c],
                     arriving = incoming.at<double>(r, 0)[c];
        d_ups.at<double>(r, 0)[c] = arriving * reference::silu(g);
        d_gates.at<double>(r, 0)[c] = arriving * u * reference::silu_derivative(g);
      }
    }
  });
}

}  // namespace fledge::tensor
