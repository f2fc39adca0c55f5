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

Adapter& Parameter::add_adapter(Adapter adapter) {
  return *adapters_.emplace_back(std::make_unique<Adapter>(std::move(adapter)));
}

tensor::Tensor& Parameter::gradient_to_add_to() {
  if (!begin_gradient()) tensor::fill(gradient_, 0.0);
  return gradient_;
}

const tensor::PackedMatrix& Parameter::packed(WeightLayout layout, tensor::Precision precision, tensor::Arena& arena) {
  if (packed_version_ != version() || packed_layout_ != layout || packed_.precision != precision) {
    const tensor::Tensor source = value_ ? value_ : wide_value(tensor::DType::f32, arena);
    pack_for_use(as_input_output(source, layout), precision, packed_, arena);
    packed_version_ = version();
    packed_layout_ = layout;
  }
  return packed_;
}

void Parameter::pack_for_use(const tensor::Tensor& weight, tensor::Precision precision, tensor::PackedMatrix& packed,
                             tensor::Arena& arena) const {
  if (!trainable() && precision == tensor::Precision::bf16) return tensor::pack_narrow(weight, packed, arena);
  tensor::pack(weight, precision, packed, arena);
}

bool Parameter::is_in_blocks() const {
  if (parts_.empty()) return static_cast<bool>(blocks_);
  return std::ranges::all_of(parts_, [](const Parameter* part) { return static_cast<bool>(part->blocks_); });
}

void Parameter::multiply(const tensor::Tensor& x, WeightLayout layout, tensor::Precision precision, tensor::Tensor& y,
                         const tensor::Epilogue& epilogue, tensor::Arena& arena) {
  if (!multiplies_blocks(layout)) {
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

const tensor::PackedMatrix& Parameter::packed_transposed(WeightLayout layout, tensor::Precision precision, Form form,
                                                         tensor::Arena& arena) {
  const bool fits = form == Form::any || !transposed_.exceptions;
  if (!fits || transposed_version_ != version() || transposed_layout_ != layout || transposed_.precision != precision) {
    const tensor::Tensor source = value_ ? value_ : wide_value(tensor::DType::f32, arena);
    const tensor::Tensor transposed = as_input_output(source, layout).transpose(0, 1);
    if (form == Form::any) {
      pack_for_use(transposed, precision, transposed_, arena);
    } else {
      tensor::pack(transposed, precision, transposed_, arena);
    }
    transposed_version_ = version();
    transposed_layout_ = layout;
  }
  return transposed_;
}

void Parameter::multiply_transposed(const tensor::Tensor& x, WeightLayout layout, tensor::Precision precision,
                                    tensor::Tensor& y, std::span<const TransposedTerm> terms,
                                    const tensor::Tensor& addend, tensor::Arena& encodings,
                                    tensor::Arena& temporaries) {
  if (multiplies_blocks(layout)) return multiply_transposed_blocks(x, precision, y, terms, addend, temporaries);
  std::vector<tensor::ProductTerm> packed;
  for (const TransposedTerm& term : terms) {
    packed.push_back({term.a, &term.weight->packed_transposed(term.layout, precision, Form::plain, encodings)});
  }
  tensor::Epilogue epilogue;
  epilogue.terms = packed;
  epilogue.addend = addend;
  // A frozen weight is packed once for all steps; that pays where the product itself is fast.
  const bool keeps = !trainable() && precision == tensor::Precision::bf16 && x.dtype() != tensor::DType::f64;
  if (keeps) return tensor::matmul(x, packed_transposed(layout, precision, Form::any, encodings), y, epilogue);
  const tensor::Tensor source = value_ ? value_ : wide_value(tensor::DType::f32, temporaries);
  tensor::matmul(x, as_input_output(source, layout).transpose(0, 1), precision, y, epilogue);
}

void Parameter::multiply_transposed_blocks(const tensor::Tensor& x, tensor::Precision precision, tensor::Tensor& y,
                                           std::span<const TransposedTerm> terms, const tensor::Tensor& addend,
                                           tensor::Arena& temporaries) const {
  constexpr int64_t kPanel = 256;  // a multiple of every block
  const int64_t outputs = shape_[0], inputs = shape_[1];
  const tensor::DType type = precision == tensor::Precision::bf16 ? tensor::DType::bf16 : tensor::DType::f32;
  for (int64_t first = 0; first < inputs; first += kPanel) {
    const int64_t count = std::min(kPanel, inputs - first);
    tensor::Tensor panel = tensor::Tensor::empty({outputs, count}, type, temporaries);
    int64_t row = 0;
    const auto widen = [&](const Parameter& part) {
      tensor::Tensor rows = panel.slice(0, row, part.shape_[0]);
      tensor::dequantize_columns(part.blocks_, first, rows);
      row += part.shape_[0];
    };
    if (parts_.empty()) widen(*this);
    for (const Parameter* part : parts_) widen(*part);

    std::vector<tensor::PackedMatrix> packed(terms.size());
    std::vector<tensor::ProductTerm> own;
    for (size_t index = 0; index < terms.size(); ++index) {
      const TransposedTerm& term = terms[index];
      const tensor::Tensor transposed = as_input_output(term.weight->value(), term.layout).transpose(0, 1);
      tensor::pack(transposed.slice(1, first, count), precision, packed[index], temporaries);
      own.push_back({term.a, &packed[index]});
    }
    tensor::Epilogue epilogue;
    epilogue.terms = own;
    if (addend) epilogue.addend = addend.slice(1, first, count);
    tensor::Tensor columns = y.slice(1, first, count);
    tensor::matmul(x, panel, precision, columns, epilogue);
  }
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
