#include "grad/variable.h"

#include "tensor/elementwise.h"

namespace fledge::grad {

using tensor::Tensor;

Variable::Variable(Tensor value, bool requires_gradient) : node_(std::make_shared<Node>()) {
  node_->shape = value.shape();
  node_->dtype = value.dtype();
  node_->value = std::move(value);
  node_->requires_gradient = requires_gradient;
}

const Tensor& Variable::value() const {
  if (!node_->value && node_->recompute) node_->value = node_->recompute();
  return node_->value;
}

void Variable::drop_value() const {
  if (node_->recompute) node_->value = Tensor();
}

void Variable::add_gradient(Tensor gradient, tensor::Arena& arena, Tensor rounded) const {
  if (!node_->requires_gradient) return;
  tensor::require_shape(gradient, node_->shape, "a gradient");
  if (!node_->gradient) {
    node_->gradient = std::move(gradient);
    node_->rounded_gradient = std::move(rounded);
    return;
  }
  node_->rounded_gradient = Tensor();
  if (node_->gradient.is_sole_owner()) {
    tensor::add_into(node_->gradient, gradient);
    return;
  }
  // Somebody else still reads the first contribution, so the sum goes to fresh memory.
  Tensor sum = Tensor::empty(node_->shape, node_->gradient.dtype(), arena);
  tensor::add(node_->gradient, gradient, sum);
  node_->gradient = std::move(sum);
}

Tensor Variable::take_gradient() const {
  return std::move(node_->gradient);
}

}  // namespace fledge::grad
