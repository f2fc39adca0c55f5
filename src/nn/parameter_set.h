#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grad/parameter.h"
#include "nn/memory.h"

namespace fledge::nn {

/// How a parameter starts and how the optimizer treats it.
struct ParameterOptions {
  double mean = 0.0;
  double standard_deviation = 0.0;  ///< 0: every element is the mean
  bool decays = false;              ///< weight decay is applied (matrices, not biases and norms)
  bool auxiliary = false;           ///< trained beside the model and no part of its files
};

/// The parameters of a model in a fixed order, in flat buffers: one for the values, one for the gradients. A parameter
/// starts at a multiple of 16 elements, unless it was joined to the one before it; the gaps hold zeros. Declare with
/// add(), then allocate() once, then initialize() or load.
class ParameterSet {
 public:
  struct Entry {
    std::unique_ptr<grad::Parameter> parameter;
    ParameterOptions options;
    int64_t offset = 0;      ///< first element within the flat buffers
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
  /// Memory for every value (f32, or f64 for finite differences) and, where `trainable`, for every gradient.
  /// Parameters that are kept as they are stored (Parameter::bind_stored) have no part in it and stay frozen.
  void allocate(Memory& memory, tensor::DType type, bool trainable);
  /// Starting values: a function of the seed and of each parameter's name.
  void initialize(uint64_t seed);

  const std::vector<Entry>& entries() const { return entries_; }
  /// Null where there is no parameter of that name.
  grad::Parameter* find(std::string_view name) const;
  /// Elements of all parameters, without the gaps.
  int64_t element_count() const;
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
  void bind(grad::Parameter& parameter, int64_t offset, bool trainable) const;

  std::vector<Entry> entries_;
  std::vector<Joined> joined_;
  std::unordered_map<std::string, size_t> index_;
  int64_t end_ = 0;  ///< of the last parameter within the flat buffers
  tensor::Tensor values_, gradients_;
};

}  // namespace fledge::nn
