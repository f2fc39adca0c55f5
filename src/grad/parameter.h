#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "grad/adapter.h"
#include "grad/quantized_weight.h"
#include "tensor/block_format.h"
#include "tensor/matmul.h"
#include "tensor/tensor.h"

namespace fledge::grad {

/// How a linear layer's weight stands in memory and in files.
enum class WeightLayout : uint8_t {
  input_output,  ///< [in, out]: GPT-2's Conv1D
  output_input   ///< [out, in]: torch.nn.Linear
};

/// A named tensor that training may change: the master values (f32; f64 for finite differences), the place where its
/// gradient is summed, and encodings for the kernels, remade when the values change.
/// Values and gradient are slices of the flat buffers of a ParameterSet. A frozen matrix may instead be kept as it is
/// stored, in bf16 or in quantized blocks, without wide values. Not thread-safe.
class Parameter {
 public:
  Parameter(std::string name, tensor::Shape shape) : name_(std::move(name)), shape_(std::move(shape)) {}
  /// Several parameters that lie next to each other in memory, seen as one along their first dimension, so that one
  /// product does the work of several. The parts keep their names, and what is said of the whole is said of each.
  /// Where a part is kept as it is stored, the whole has no value() and no gradient, only its packed form.
  Parameter(std::string name, std::vector<Parameter*> parts);
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  const std::string& name() const { return name_; }
  const tensor::Shape& shape() const { return shape_; }
  /// Undefined where the parameter is kept in blocks.
  const tensor::Tensor& value() const { return value_; }
  tensor::Tensor& value() { return value_; }

  /// Empty, but for parameters that were joined.
  const std::vector<Parameter*>& parts() const { return parts_; }

  /// Whether gradients are computed for it.
  bool trainable() const { return static_cast<bool>(gradient_); }

  /// The gradient buffer, whose content counts only where has_gradient().
  tensor::Tensor& gradient() { return gradient_; }
  bool has_gradient() const { return parts_.empty() ? has_gradient_ : parts_.front()->has_gradient(); }
  void forget_gradient() { has_gradient_ = false; }
  /// Says that the caller is about to write the gradient; returns whether it must add to what is there (true) or
  /// overwrite it (false).
  bool begin_gradient();
  /// The gradient buffer for kernels that can only add: cleared first where nothing has been summed yet.
  tensor::Tensor& gradient_to_add_to();

  /// To be called after every change of value(): the encodings are then remade at their next use.
  void value_changed() {
    ++version_;
    changes_.fetch_add(1, std::memory_order_relaxed);
  }
  /// Of all parameters of the program. Where it has not moved on, no version() has, and none need be looked at.
  static uint64_t changes() { return changes_.load(std::memory_order_relaxed); }
  /// Changes with every change of the value.
  uint64_t version() const;

  /// The low-rank changes of this weight; for parameters that were joined they stand with the whole.
  const std::vector<std::unique_ptr<Adapter>>& adapters() const { return adapters_; }
  Adapter& add_adapter(Adapter adapter);

  /// The operand [in, out] of y = x W for the kernels, kept until the value changes.
  const tensor::PackedMatrix& packed(WeightLayout layout, tensor::Precision precision, tensor::Arena& arena);

  /// y = x W with an epilogue, by the kernels for what the weight is kept in. Quantized blocks are multiplied as they
  /// are, where the layout is [out, in].
  void multiply(const tensor::Tensor& x, WeightLayout layout, tensor::Precision precision, tensor::Tensor& y,
                const tensor::Epilogue& epilogue, tensor::Arena& arena);

  /// a V^T, which joins the product of multiply_transposed().
  struct TransposedTerm {
    tensor::Tensor a;
    Parameter* weight;
    WeightLayout layout;
  };
  /// y = x W^T + terms + addend: how a gradient goes back through multiply(). The packed form of a frozen weight is
  /// kept where products are of bf16; quantized blocks are widened some columns at a time, in `temporaries`.
  void multiply_transposed(const tensor::Tensor& x, WeightLayout layout, tensor::Precision precision, tensor::Tensor& y,
                           std::span<const TransposedTerm> terms, const tensor::Tensor& addend,
                           tensor::Arena& encodings, tensor::Arena& temporaries);
  /// Whether multiply() works on quantized blocks; these take no terms in an epilogue.
  bool multiplies_blocks(WeightLayout layout) const { return layout == WeightLayout::output_input && is_in_blocks(); }

  /// Gives the parameter its memory; an undefined gradient makes it frozen.
  void bind(tensor::Tensor value, tensor::Tensor gradient);
  /// Keeps a frozen matrix as it is stored: a bf16 tensor (usually a view of a mapped file), or quantized blocks.
  void bind_stored(tensor::Tensor value);
  void bind_stored(tensor::BlockMatrix blocks);
  /// bind_stored() was called, for a part at least.
  bool is_stored() const;
  const tensor::BlockMatrix& blocks() const { return blocks_; }
  /// The values in `type` (f32 or f64): value() itself, or a copy in `arena` where they are stored in another form.
  tensor::Tensor wide_value(tensor::DType type, tensor::Arena& arena) const;

 private:
  void multiply_transposed_blocks(const tensor::Tensor& x, tensor::Precision precision, tensor::Tensor& y,
                                  std::span<const TransposedTerm> terms, const tensor::Tensor& addend,
                                  tensor::Arena& temporaries) const;
  /// Whether the operand of a product may be narrow; that of a term may not.
  enum class Form : uint8_t { plain, any };
  /// The same operand of its transpose, [out, in].
  const tensor::PackedMatrix& packed_transposed(WeightLayout layout, tensor::Precision precision, Form form,
                                                tensor::Arena& arena);
  /// A frozen weight is packed once and used often: in bf16 it is made narrow.
  void pack_for_use(const tensor::Tensor& weight, tensor::Precision precision, tensor::PackedMatrix& packed,
                    tensor::Arena& arena) const;
  /// The whole is kept in quantized blocks.
  bool is_in_blocks() const;

  inline static std::atomic<uint64_t> changes_ = 1;

  std::string name_;
  tensor::Shape shape_;
  std::vector<Parameter*> parts_;
  tensor::Tensor value_, gradient_;
  bool has_gradient_ = false;
  uint64_t version_ = 1, packed_version_ = 0;
  WeightLayout packed_layout_ = WeightLayout::input_output;
  tensor::PackedMatrix packed_;
  uint64_t transposed_version_ = 0;
  WeightLayout transposed_layout_ = WeightLayout::input_output;
  tensor::PackedMatrix transposed_;
  std::vector<std::unique_ptr<Adapter>> adapters_;
  bool stored_ = false;
  tensor::BlockMatrix blocks_;
  std::unique_ptr<QuantizedWeight> quantized_;
  uint64_t quantized_version_ = 0;
};

/// The weight as a view [in, out], whatever its layout.
tensor::Tensor as_input_output(const tensor::Tensor& weight, WeightLayout layout);

}  // namespace fledge::grad
