#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace fledge::tensor {

struct AdamWOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.0;
  int64_t step = 1;             ///< of this update, counted from 1
  double gradient_scale = 1.0;  ///< multiplies the gradient first: clipping, or the mean over a batch
};

/// One step of Adam with decoupled weight decay (Loshchilov, Hutter: "Decoupled weight decay regularization", 2019,
/// algorithm 2) in one pass, with the order of operations of torch.optim.AdamW:
///   parameter *= 1 - learning_rate * weight_decay
///   m += (1 - beta1) * (gradient - m);  v = beta2 * v + (1 - beta2) * gradient^2
///   parameter -= learning_rate / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + epsilon)
/// Four contiguous tensors of one shape, f32 (or f64); slices of flat tensors will do. Throws Error where they differ
/// or where step < 1.
void adamw(Tensor parameter, const Tensor& gradient, Tensor m, Tensor v, const AdamWOptions& options);

}  // namespace fledge::tensor
