#include "grad/parameter.h"

#include <algorithm>

#include "base/error.h"
#include "tensor/elementwise.h"

namespace fledge::grad {
namespace {

tensor::Shape joined_shape(const std::string& name, const std::vector<Parameter*>& parts) {
  if (parts.empty()) throw base::Error("{} joins no parameters", name);
  tensor::Shape shape = parts.front()->shape();
  int64_t extent = 0;
  for (const Parameter* part : parts) {
    extent += part->shape()[0];
    shape[0] = part->shape()[0];
    if (part->shape() == shape) continue;
    throw base::Error("{} is {}, which cannot be joined to {} {}", part->name(), part->shape().text(),
                      parts.front()->name(), parts.front()->shape().text());
  }
  shape[0] = extent;
  return shape;
}

}  // namespace

Parameter::Parameter(std::string name, std::vector<Parameter*> parts)
    : name_(std::move(name)), shape_(joined_shape(name_, parts)), parts_(std::move(parts)) {}

bool Parameter::begin_gradient() {
  if (parts_.empty()) return std::exchange(has_gradient_, true);
  const bool any = std::ranges::any_of(parts_, &Parameter::has_gradient);
  for (Parameter* part : parts_) {
    if (!std::exchange(part->has_gradient_, true) && any) tensor::fill(part->gradient_, 0.0);
  }
  return any;
}

bool Parameter::is_stored() const {
  return stored_ || std::ranges::any_of(parts_, &Parameter::is_stored);
}

uint64_t Parameter::version() const {
  uint64_t version = version_;
  for (const Parameter* part : parts_) version += part->version_;
  return version;
}

tensor::Tensor& Parameter::gradient_to_add_to() {
  if (!begin_gradient()) tensor::fill(gradient_, 0.0);
  return gradient_;
}

const tensor::PackedMatrix& Parameter::packed(WeightLayout layout, tensor::Precision precision, tensor::Arena& arena) {
  if (packed_version_ != version() || packed_layout_ != layout || packed_.precision != precision) {
    const tensor::Tensor source = value_ ? value_ : wide_value(tensor::DType::f32, arena);
    tensor::pack(as_input_output(source, layout), precision, packed_, arena);
    packed_version_ = version();
    packed_layout_ = layout;
  }
  return packed_;
}

bool Parameter::is_in_blocks() const {
  if (parts_.empty()) return static_cast<bool>(blocks_);
  return std::ranges::all_of(parts_, [](const Parameter* part) { return static_cast<bool>(part->blocks_); });
}

void Parameter::multiply(const tensor::Tensor& x, WeightLayout layout, tensor::Precision precision, tensor::Tensor& y,
                         const tensor::Epilogue& epilogue, tensor::Arena& arena) {
  if (layout != WeightLayout::output_input || !is_in_blocks()) {
    return tensor::matmul(x, packed(layout, precision, arena), y, epilogue);
  }
  if (quantized_version_ != version()) {
    std::vector<tensor::BlockMatrix> matrices;
    if (parts_.empty()) matrices.push_back(blocks_);
    for (const Parameter* part : parts_) matrices.push_back(part->blocks_);
    quantized_ = std::make_unique<QuantizedWeight>(matrices, arena);
    quantized_version_ = version();
  }
  quantized_->multiply(x, y, epilogue);
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
  if (!parts_.empty()) {
    int64_t first = 0;
    for (const Parameter* part : parts_) {
      tensor::copy(part->wide_value(tensor::DType::f32, arena), wide.slice(0, first, part->shape()[0]));
      first += part->shape()[0];
    }
  } else if (blocks_) {
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
