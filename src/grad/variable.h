#pragma once

#include <functional>
#include <memory>

#include "tensor/tensor.h"

namespace fledge::grad {

/// A value of the computation and, while training, the gradient that flows back to it. A handle: copies are the same
/// variable. The value of a recomputable variable may be dropped after its last use in the forward pass; value() then
/// makes it again, bit for bit.
class Variable {
 public:
  Variable() = default;
  explicit Variable(tensor::Tensor value, bool requires_gradient = false);

  explicit operator bool() const { return node_ != nullptr; }
  const tensor::Tensor& value() const;
  const tensor::Shape& shape() const { return node_->shape; }
  tensor::DType dtype() const { return node_->dtype; }
  bool requires_gradient() const { return node_->requires_gradient; }

  /// Adds a contribution. The first one is kept as it is, without a copy; `rounded` may carry the same numbers in the
  /// activation type, for the next matrix product.
  void add_gradient(tensor::Tensor gradient, tensor::Arena& arena, tensor::Tensor rounded = {}) const;
  /// Whether anything has been contributed.
  bool has_gradient() const { return static_cast<bool>(node_->gradient); }
  /// Moves the gradient out; undefined where nothing was contributed.
  tensor::Tensor take_gradient() const;
  /// The gradient in the activation type where the contributor gave it; moves it out.
  tensor::Tensor take_rounded_gradient() const { return std::move(node_->rounded_gradient); }

  /// Names the way to make the value again from what else is kept.
  void set_recomputation(std::function<tensor::Tensor()> recompute) const { node_->recompute = std::move(recompute); }
  /// Gives the value's memory back, where it can be made again.
  void drop_value() const;

 private:
  struct Node {
    tensor::Tensor value, gradient, rounded_gradient;
    tensor::Shape shape;
    tensor::DType dtype;
    bool requires_gradient;
    std::function<tensor::Tensor()> recompute;
  };
  std::shared_ptr<Node> node_;
};

}  // namespace fledge::grad
