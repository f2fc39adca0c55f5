#include "tensor/squared_error.h"

#include "tensor/check.h"

namespace fledge::tensor {
namespace {

template <typename Real>
void run(const Tensor& scores, const Tensor& targets, Tensor& losses, double gradient_scale, Tensor& d_scores) {
  const Real* score = scores.data<Real>();
  const float* target = targets.data<float>();
  for (int64_t row = 0; row < targets.elements(); ++row) {
    const Real error = score[row] - static_cast<Real>(target[row]);
    losses.data<Real>()[row] = error * error;
    if (d_scores) d_scores.data<Real>()[row] = static_cast<Real>(2.0 * gradient_scale) * error;
  }
}

}  // namespace

void squared_error(const Tensor& scores, const Tensor& targets, Tensor losses, double gradient_scale, Tensor d_scores) {
  require(scores, scores.shape(), {DType::f32, DType::f64}, "[squared_error] scores");
  require(targets, {scores.elements()}, {DType::f32}, "[squared_error] targets");
  require(losses, {scores.elements()}, {scores.dtype()}, "[squared_error] losses");
  require_if_defined(d_scores, scores.shape(), {scores.dtype()}, "[squared_error] d_scores");
  if (is_meta(scores) || is_meta(targets) || is_meta(losses)) return;
  if (scores.dtype() == DType::f64) return run<double>(scores, targets, losses, gradient_scale, d_scores);
  run<float>(scores, targets, losses, gradient_scale, d_scores);
}

}  // namespace fledge::tensor
