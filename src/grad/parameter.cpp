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
    const tensor::Tensor source = blocks_ ? wide_value(tensor::DType::f32, arena) : value_;
    tensor::pack(as_input_output(source, layout), precision, packed_, arena);
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
  stored_ = false;
  blocks_ = {};
  value_changed();
}

void Parameter::bind_stored(tensor::Tensor value) {
  if (value.dtype() != tensor::DType::bf16) {
    throw base::Error("{}: got {}, expected bf16 to keep as it is stored", name_, tensor::describe(value));
  }
  bind(std::move(value), {});
  stored_ = true;
}

void Parameter::bind_stored(tensor::BlockMatrix blocks) {
  tensor::require_valid(blocks, name_);
  if (shape_ != tensor::Shape{blocks.rows, blocks.columns}) {
    throw base::Error("{}: got blocks of [{}, {}], expected {}", name_, blocks.rows, blocks.columns, shape_.text());
  }
  value_ = gradient_ = {};
  has_gradient_ = false;
  stored_ = true;
  blocks_ = std::move(blocks);
  value_changed();
}

tensor::Tensor Parameter::wide_value(tensor::DType type, tensor::Arena& arena) const {
  if (value_ && value_.dtype() == type) return value_;
  tensor::Tensor wide = tensor::Tensor::empty(shape_, tensor::DType::f32, arena);
  if (blocks_) {
    tensor::dequantize(blocks_, wide);
  } else {
    tensor::copy(value_, wide);
  }
  if (type == tensor::DType::f32) return wide;
  tensor::Tensor result = tensor::Tensor::empty(shape_, type, arena);
  tensor::copy(wide, result);
  return result;
}

tensor::Tensor as_input_output(const tensor::Tensor& weight, WeightLayout layout) {
  return layout == WeightLayout::input_output ? weight : weight.transpose(0, 1);
}

}  // namespace fledge::grad
