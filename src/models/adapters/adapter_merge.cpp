#include "models/adapters/adapter_merge.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "grad/weight_norms.h"
#include "tensor/column_scale.h"
#include "tensor/elementwise.h"

namespace fledge::models {
namespace {

using tensor::Tensor;

/// Everything that several adapters do to one layer.
struct Layer {
  AdaptableModule module;
  std::vector<ModelAdapter::Change> changes;
};

std::vector<Layer> layers_of(const LoadedModel& loaded) {
  std::map<const grad::Parameter*, size_t> index;
  std::vector<Layer> layers;
  for (const auto& adapter : loaded.adapters) {
    for (const ModelAdapter::Change& change : adapter->changes()) {
      const auto [place, fresh] = index.emplace(change.module.weight, layers.size());
      if (fresh) layers.push_back({change.module, {}});
      layers[place->second].changes.push_back(change);
    }
  }
  return layers;
}

class Merger {
 public:
  explicit Merger(LoadedModel& loaded) : loaded_(loaded), parameters_(loaded.model->parameters()) {
    type_ = parameters_.entries().front().parameter->value().dtype();
  }

  MergeReport run() {
    const std::vector<Layer> layers = layers_of(loaded_);
    // DoRA's norms are those of the weights as they are now.
    for (const Layer& layer : layers) update_factors(layer);
    MergeReport report;
    double changed = 0.0, size = 0.0;
    for (const Layer& layer : layers) {
      grad::Parameter& weight = *layer.module.weight;
      if (weight.is_stored()) throw base::Error("{} is kept as it is stored and cannot be changed", weight.name());
      Tensor before = copy(weight.value());
      layer.module.kind == nn::ModuleKind::embedding ? merge_table(layer) : merge_linear(layer);
      weight.value_changed();
      size += tensor::sum_of_squares(before);
      tensor::scale(before, -1.0);
      tensor::add_into(before, weight.value());
      changed += tensor::sum_of_squares(before);
      ++report.layers;
    }
    for (const auto& adapter : loaded_.adapters) adapter->identity().weight = 0.0;
    report.relative_change = size > 0.0 ? std::sqrt(changed / size) : 0.0;
    return report;
  }

 private:
  Tensor empty(const tensor::Shape& shape) { return Tensor::empty(shape, type_, arena_); }
  Tensor copy(const Tensor& values) {
    Tensor result = empty(values.shape());
    tensor::copy(values, result);
    return result;
  }

  void update_factors(const Layer& layer) {
    grad::Parameter& whole = parameters_.whole_of(*layer.module.weight);
    grad::Graph graph(arena_, arena_, type_, false);
    const bool transposed = layer.module.kind == nn::ModuleKind::transposed_linear;
    for (const auto& adapter : whole.adapters()) {
      if (!adapter->has_magnitude()) continue;
      grad::update_factors(graph, whole,
                           transposed ? grad::WeightLayout::input_output : grad::WeightLayout::output_input, *adapter);
    }
  }

  static Tensor factors_of(const grad::Adapter& adapter, const grad::Adapter::Part& part) {
    return adapter.encoding.factors.slice(0, part.first_output, part.outputs);
  }

  /// W^T = factor W^T + sum of A^T (weight scale factor B)^T, as [in, out].
  void merge_linear(const Layer& layer) {
    const bool transposed = layer.module.kind == nn::ModuleKind::transposed_linear;
    const Tensor view = transposed ? layer.module.weight->value() : layer.module.weight->value().transpose(0, 1);
    Tensor merged = copy(view);
    Tensor factor = empty({layer.module.outputs()});
    tensor::fill(factor, 1.0);
    bool has_factor = false;
    for (const ModelAdapter::Change& change : layer.changes) {
      const grad::Adapter::Part& part = change.adapter->parts[change.part];
      if (part.magnitude == nullptr) continue;
      tensor::add_above_one(factors_of(*change.adapter, part), change.adapter->identity->weight, factor);
      has_factor = true;
    }
    if (has_factor) tensor::scale_columns(merged, factor, merged);
    for (const ModelAdapter::Change& change : layer.changes) {
      const grad::Adapter::Part& part = change.adapter->parts[change.part];
      Tensor up = copy(part.up->value().transpose(0, 1));
      if (part.magnitude != nullptr) tensor::scale_columns(up, factors_of(*change.adapter, part), up);
      tensor::scale(up, part.scale * change.adapter->identity->weight);
      const Tensor down = change.adapter->down->value().slice(0, part.first_rank, part.rank);
      tensor::matmul(down.transpose(0, 1), up, tensor::Precision::f32, merged, {.accumulate = true});
    }
    tensor::copy(merged, view);
  }

  void merge_table(const Layer& layer) {
    for (const ModelAdapter::Change& change : layer.changes) {
      const grad::Adapter::Part& part = change.adapter->parts[change.part];
      Tensor up = copy(part.up->value().transpose(0, 1));
      tensor::scale(up, part.scale * change.adapter->identity->weight);
      tensor::matmul(change.adapter->down->value(), up, tensor::Precision::f32, layer.module.weight->value(),
                     {.accumulate = true});
    }
  }

  LoadedModel& loaded_;
  nn::ParameterSet& parameters_;
  tensor::DType type_;
  tensor::Arena arena_{"merge"};
};

/// ||a - b||^2; a is overwritten.
double squared_distance(Tensor a, const Tensor& b) {
  tensor::scale(a, -1.0);
  tensor::add_into(a, b);
  return tensor::sum_of_squares(a);
}

}  // namespace

MergeReport merge_adapters(LoadedModel& loaded) {
  return Merger(loaded).run();
}

QuantizationLoss measure_loss(const LoadedModel& merged, const std::filesystem::path& file,
                              const std::filesystem::path& base) {
  const LoadedModel stored = load_model(file, tensor::DType::f32, false);
  const LoadedModel before = load_model(base, tensor::DType::f32, false);
  double error = 0.0, size = 0.0, change = 0.0;
  tensor::Arena arena("comparison");
  for (const Layer& layer : layers_of(merged)) {
    const Tensor& value = layer.module.weight->value();
    const auto wide = [&](const LoadedModel& model) {
      const grad::Parameter& parameter = *model.model->parameters().find(layer.module.weight->name());
      Tensor copy = Tensor::empty(value.shape(), tensor::DType::f32, arena);
      tensor::copy(parameter.wide_value(tensor::DType::f32, arena), copy);
      return copy;
    };
    error += squared_distance(wide(stored), value);
    change += squared_distance(wide(before), value);
    size += tensor::sum_of_squares(value);
  }
  QuantizationLoss loss;
  loss.relative_error = size > 0.0 ? std::sqrt(error / size) : 0.0;
  loss.share_of_change = change > 0.0 ? std::sqrt(error / change) : 0.0;
  return loss;
}

}  // namespace fledge::models
