#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grad/parameter.h"
#include "nn/memory.h"

namespace fledge::nn {

/// What a parameter is the weight of; adapters are added to all but the first.
enum class ModuleKind : uint8_t {
  other,
  linear,             ///< [out, in]
  transposed_linear,  ///< [in, out]: GPT-2's Conv1D
  embedding           ///< a table [V, C]; as the head of a model it is a linear layer too
};

/// How a parameter starts and how the optimizer treats it.
struct ParameterOptions {
  double mean = 0.0;
  double standard_deviation = 0.0;  ///< 0: every element is the mean
  bool decays = false;              ///< weight decay is applied (matrices, not biases and norms)
  bool auxiliary = false;           ///< trained beside the model and no part of its files
  bool trainable = true;  ///< false: frozen, whatever allocate() is told; neither gradient nor optimizer state
  ModuleKind module = ModuleKind::other;
  bool of_adapter = false;  ///< auxiliary, and of an adapter
};

/// The parameters of a model in a fixed order, in flat buffers: one for the values that are trained, one for their
/// gradients, one for the values that are frozen beside them. A parameter starts at a multiple of 16 elements, unless
/// it was joined to the one before it; the gaps hold zeros. Declare with add(), then allocate() once, then initialize()
/// or load.
class ParameterSet {
 public:
  struct Entry {
    std::unique_ptr<grad::Parameter> parameter;
    ParameterOptions options;
    int64_t offset = 0;      ///< first element within the flat buffers; of a frozen one, where it would stand
    bool continues = false;  ///< joined to the entry before it
  };

  grad::Parameter& add(std::string name, const tensor::Shape& shape, const ParameterOptions& options);
  /// Several parameters without gaps between them; returns all of them as one (grad::Parameter::parts). Their shapes
  /// agree in all but the first dimension.
  struct NamedShape {
    std::string name;
    tensor::Shape shape;
  };
  grad::Parameter& add_joined(const std::vector<NamedShape>& parts, const ParameterOptions& options);
  /// From now on every parameter that has been added is frozen, or those of them whose names are chosen. Before
  /// allocate(). Throws Error where a part of a joined parameter would be frozen and another one not.
  void freeze();
  void freeze(const std::function<bool(const std::string& name)>& is_chosen);
  /// The joined parameter that `part` belongs to; itself where it was not joined.
  grad::Parameter& whole_of(grad::Parameter& part) const;
  /// Memory for every value (f32, or f64 for finite differences) and, where `trainable`, for the gradients of those
  /// that are not frozen, which then have flat buffers of their own. Parameters that are kept as they are stored
  /// (Parameter::bind_stored) have no part in it and stay frozen.
  void allocate(Memory& memory, tensor::DType type, bool trainable);
  /// Starting values: a function of the seed and of each parameter's name.
  void initialize(uint64_t seed);

  const std::vector<Entry>& entries() const { return entries_; }
  /// Null where there is no parameter of that name.
  grad::Parameter* find(std::string_view name) const;
  /// Elements of all parameters, without the gaps.
  int64_t element_count() const;
  /// Of those that have a gradient.
  int64_t trainable_count() const;
  /// Elements of the flat buffers.
  int64_t flat_size() const;
  tensor::Tensor& flat_values() { return values_; }
  tensor::Tensor& flat_gradients() { return gradients_; }
  void forget_gradients();
  /// Says that values were written through the flat buffer.
  void values_changed();

 private:
  struct Joined {
    std::unique_ptr<grad::Parameter> parameter;
    size_t first;  ///< entry
  };
  grad::Parameter& add_entry(std::string name, const tensor::Shape& shape, const ParameterOptions& options,
                             bool continues);

  std::vector<Entry> entries_;
  std::vector<Joined> joined_;
  std::unordered_map<std::string, size_t> index_;
  int64_t end_ = 0;  ///< of the last parameter within the flat buffers
  tensor::Tensor values_, gradients_, frozen_values_;
};

}  // namespace fledge::nn
