#include "grad/parameter.h"

#include "base/error.h"
#include "tensor/elementwise.h"

namespace fledge::grad {

tensor::Tensor& Parameter::gradient_to_add_to() {
  if (!begin_gradient()) tensor::fill(gradient_, 0.0);
  return gradient_;
}

const tensor::PackedMatrix& Parameter::packed(WeightLayout layout, tensor::Precision precision, tensor::Arena& arena) {
  if (packed_version_ != version_ || packed_layout_ != layout || packed_.precision != precision) {
    tensor::pack(as_input_output(value_, layout), precision, packed_, arena);
    packed_version_ = version_;
    packed_layout_ = layout;
  }
  return packed_;
}

void Parameter::bind(tensor::Tensor value, tensor::Tensor gradient) {
  tensor::require_shape(value, shape_, name_);
  if (gradient) tensor::require_shape(gradient, shape_, name_ + " (gradient)");
  value_ = std::move(value);
  gradient_ = std::move(gradient);
  has_gradient_ = false;
  value_changed();
}

tensor::Tensor as_input_output(const tensor::Tensor& weight, WeightLayout layout) {
  return layout == WeightLayout::input_output ? weight : weight.transpose(0, 1);
}

}  // namespace fledge::grad
