#include "models/adapters/model_adapter.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/nearest.h"
#include "grad/weight_norms.h"
#include "models/formats/model_folder.h"
#include "tensor/elementwise.h"
#include "tensor/random.h"

namespace fledge::models {
namespace {

using base::Error;
using tensor::Shape;
using tensor::Tensor;

constexpr const char* kPrefix = "base_model.model.";
constexpr std::string_view kBaseLayer = ".base_layer.weight";

const nn::ParameterOptions kMatrix{.decays = true, .auxiliary = true, .of_adapter = true};
const nn::ParameterOptions kVector{.auxiliary = true, .of_adapter = true};

grad::WeightLayout layout_of(nn::ModuleKind kind) {
  return kind == nn::ModuleKind::transposed_linear ? grad::WeightLayout::input_output
                                                   : grad::WeightLayout::output_input;
}

/// The key without the ending that newer files have not, and the family's prefix of the module taken away: what two
/// spellings of the same tensor have in common.
std::string bare_key(std::string key, const std::vector<std::string>& prefixes) {
  constexpr std::string_view kOldEnding = "lora_magnitude_vector.weight";
  if (key.ends_with(kOldEnding)) key.resize(key.size() - std::string_view(".weight").size());
  if (!key.starts_with(kPrefix)) return key;
  key.erase(0, std::string_view(kPrefix).size());
  for (const std::string& prefix : prefixes) {
    if (key.starts_with(prefix)) return key.substr(prefix.size());
  }
  return key;
}

Shape transposed(const Shape& shape) {
  return {shape[1], shape[0]};
}

}  // namespace

struct ModelAdapter::Target {
  AdaptableModule module;
  grad::Parameter* whole;
  int64_t first_output, rank;
  double scale;
};

ModelAdapter::ModelAdapter(LanguageModel& model, AdapterConfig config, std::string name, std::string origin)
    : model_(model), config_(std::move(config)), origin_(std::move(origin)) {
  identity_ = std::make_shared<grad::AdapterIdentity>(grad::AdapterIdentity{std::move(name), 1.0});
  const std::vector<AdaptableModule> targets = targets_of(model, config_, origin_);
  std::vector<Target> group;
  const auto attach = [&] {
    if (!group.empty()) attach_group(group);
    group.clear();
  };
  for (const AdaptableModule& module : targets) {
    Target target{module, &model.parameters().whole_of(*module.weight), 0, config_.rank_of(module.name),
                  config_.scale_of(module.name)};
    if (module.kind == nn::ModuleKind::embedding) {
      attach();
      attach_embedding(target);
      continue;
    }
    for (const grad::Parameter* part : target.whole->parts()) {
      if (part == module.weight) break;
      target.first_output += part->shape()[0];
    }
    if (!group.empty() && group.front().whole != target.whole) attach();
    group.push_back(target);
  }
  attach();
  const bool has_transposed =
      std::ranges::any_of(targets, [](const auto& module) { return module.kind == nn::ModuleKind::transposed_linear; });
  config_.fan_in_fan_out = has_transposed;
}

std::string ModelAdapter::parameter_name(const std::string& key) const {
  return identity_->name + "/" + key;
}

/// Layers that read the same input: their A stand below each other.
void ModelAdapter::attach_group(const std::vector<Target>& group) {
  nn::ParameterSet& parameters = model_.parameters();
  grad::Adapter adapter;
  adapter.identity = identity_;
  adapter.dropout = config_.dropout;
  std::vector<nn::ParameterSet::NamedShape> downs;
  for (const Target& target : group) {
    downs.push_back(
        {parameter_name(kPrefix + target.module.name + ".lora_A.weight"), {target.rank, target.module.inputs()}});
  }
  adapter.down = &parameters.add_joined(downs, kMatrix);
  int64_t first_rank = 0;
  for (size_t index = 0; index < group.size(); ++index) {
    const Target& target = group[index];
    const std::string key = kPrefix + target.module.name;
    const int64_t outputs = target.module.outputs();
    grad::Adapter::Part part{.up = nullptr,
                             .magnitude = nullptr,
                             .first_output = target.first_output,
                             .outputs = outputs,
                             .first_rank = first_rank,
                             .rank = target.rank,
                             .scale = target.scale};
    stored_.push_back({key + ".lora_A.weight", adapter.down->parts()[index], false});
    part.up = &parameters.add(parameter_name(key + ".lora_B.weight"), {outputs, target.rank}, kMatrix);
    stored_.push_back({key + ".lora_B.weight", part.up, false});
    if (config_.use_dora) {
      part.magnitude = &parameters.add(parameter_name(key + ".lora_magnitude_vector"), {outputs}, kVector);
      stored_.push_back({key + ".lora_magnitude_vector", part.magnitude, false});
    }
    first_rank += target.rank;
    adapter.parts.push_back(part);
  }
  const grad::Adapter& added = group.front().whole->add_adapter(std::move(adapter));
  for (size_t index = 0; index < group.size(); ++index) changes_.push_back({group[index].module, &added, index});
}

void ModelAdapter::attach_embedding(const Target& target) {
  nn::ParameterSet& parameters = model_.parameters();
  const std::string key = kPrefix + target.module.name;
  const Shape& table = target.module.weight->shape();
  grad::Adapter adapter;
  adapter.identity = identity_;
  adapter.down = &parameters.add(parameter_name(key + ".lora_embedding_A"), {table[0], target.rank}, kMatrix);
  grad::Parameter& up = parameters.add(parameter_name(key + ".lora_embedding_B"), {table[1], target.rank}, kMatrix);
  stored_.push_back({key + ".lora_embedding_A", adapter.down, true});
  stored_.push_back({key + ".lora_embedding_B", &up, false});
  adapter.parts.push_back({.up = &up,
                           .magnitude = nullptr,
                           .first_output = 0,
                           .outputs = table[1],
                           .first_rank = 0,
                           .rank = target.rank,
                           .scale = target.scale});
  changes_.push_back({target.module, &target.module.weight->add_adapter(std::move(adapter)), 0});
}

int64_t ModelAdapter::parameter_count() const {
  int64_t count = 0;
  for (const Stored& stored : stored_) count += stored.parameter->shape().elements();
  return count;
}

void ModelAdapter::initialize(uint64_t seed, nn::Memory& memory) {
  for (const Stored& stored : stored_) {
    Tensor& value = stored.parameter->value();
    const base::Random random(seed, base::stable_hash(stored.key));
    if (stored.key.ends_with("lora_embedding_B")) {
      tensor::fill_normal(value, 0.0, 1.0, random);
    } else if (stored.key.ends_with("lora_A.weight")) {
      // Kaiming's uniform numbers with a = sqrt(5): sqrt(6 / ((1 + 5) in)).
      tensor::fill_uniform(value, 1.0 / std::sqrt(static_cast<double>(value.dim(1))), random);
    } else {
      tensor::fill(value, 0.0);
    }
    stored.parameter->value_changed();
  }
  if (!config_.use_dora) return;
  const tensor::DType type = stored_.front().parameter->value().dtype();
  for (const Change& change : changes_) {
    if (change.part != 0) continue;
    grad::Parameter& whole = model_.parameters().whole_of(*change.module.weight);
    const auto adapter =
        std::ranges::find_if(whole.adapters(), [&](const auto& own) { return own.get() == change.adapter; });
    grad::Graph graph(memory.activations, memory.encodings, type, false);
    grad::initialize_magnitudes(graph, whole, layout_of(change.module.kind), **adapter);
  }
}

/// PEFT saves the base's own weights beside an adapter of an embedding or a head. They must be those of this base.
void ModelAdapter::check_base_layer(const SafetensorsReader& reader, const std::string& name,
                                    const std::string& bare) const {
  const std::vector<std::string> prefixes = model_.weight_names().prefixes;
  const auto change = std::ranges::find_if(changes_, [&](const Change& own) {
    return bare_key(kPrefix + own.module.name + std::string(kBaseLayer), prefixes) == bare;
  });
  if (change == changes_.end()) {
    throw Error("{}: the tensor {} belongs to no layer that {} names", reader.origin(), quoted_name(name),
                kAdapterConfigFile);
  }
  const grad::Parameter& weight = *change->module.weight;
  if (!(reader.info(name).shape == weight.shape())) {
    throw Error("{}: the tensor {} is {}, expected {} as in the base: it was trained with another vocabulary",
                reader.origin(), quoted_name(name), reader.info(name).shape.text(), weight.shape().text());
  }
  if (weight.blocks()) return;
  tensor::Arena arena("a base layer on its way");
  Tensor stored = Tensor::empty(weight.shape(), tensor::DType::f32, arena);
  reader.read_into(name, stored);
  Tensor own = Tensor::empty(weight.shape(), tensor::DType::f32, arena);
  tensor::copy(weight.value(), own);
  const double size = tensor::sum_of_squares(own);
  tensor::scale(stored, -1.0);
  tensor::add_into(own, stored);
  // One of the two may have been rounded to bf16: 2^-9 of each number.
  if (tensor::sum_of_squares(own) <= 1e-5 * size) return;
  throw Error(
      "{}: the tensor {} differs from the base's own layer, which this adapter would replace; that is not "
      "supported",
      reader.origin(), quoted_name(name));
}

void ModelAdapter::load(const std::filesystem::path& folder) {
  const auto reader = SafetensorsReader::open(folder / kAdapterWeightsFile);
  const std::vector<std::string> prefixes = model_.weight_names().prefixes;
  std::map<std::string, const Stored*> wanted;
  std::vector<std::string> keys;
  for (const Stored& stored : stored_) {
    wanted[bare_key(stored.key, prefixes)] = &stored;
    keys.push_back(stored.key);
  }
  std::map<std::string, std::string> found;  // bare key -> name in the file
  for (const std::string& name : reader.names()) {
    const std::string bare = bare_key(name, prefixes);
    if (bare.ends_with(kBaseLayer)) {
      check_base_layer(reader, name, bare);
      continue;
    }
    if (!wanted.contains(bare)) {
      const std::string hint = base::nearest(name, keys);
      throw Error("{}: the tensor {} belongs to no layer that {} names{}", reader.origin(), quoted_name(name),
                  kAdapterConfigFile, hint.empty() ? "" : fmt::format("; did you mean {}?", hint));
    }
    if (!found.emplace(bare, name).second) {
      throw Error("{}: the tensors {} and {} are the same parameter", reader.origin(), quoted_name(found[bare]),
                  quoted_name(name));
    }
  }
  tensor::Arena arena("an adapter on its way");
  for (const Stored& stored : stored_) {
    const auto name = found.find(bare_key(stored.key, prefixes));
    if (name == found.end()) {
      throw Error("{}: the tensor {} is missing, but {} names its layer", reader.origin(), stored.key,
                  kAdapterConfigFile);
    }
    Tensor& value = stored.parameter->value();
    const Shape expected = stored.transposed ? transposed(value.shape()) : value.shape();
    const Shape& actual = reader.info(name->second).shape;
    if (!(actual == expected)) {
      throw Error(
          "{}: the tensor {} is {}, expected {} for this model: the adapter {}", reader.origin(),
          quoted_name(name->second), actual.text(), expected.text(),
          config_.base_model.empty() ? "was made for another base" : "was made for " + quoted_name(config_.base_model));
    }
    Tensor read = Tensor::empty(expected, value.dtype(), arena);
    reader.read_into(name->second, read);
    if (!tensor::all_finite(read)) {
      throw Error("{}: the tensor {} holds a number that is not finite", reader.origin(), quoted_name(name->second));
    }
    tensor::copy(stored.transposed ? read.transpose(0, 1) : read, value);
    stored.parameter->value_changed();
  }
}

void ModelAdapter::save(const std::filesystem::path& folder) const {
  write_pretty_json(folder / kAdapterConfigFile, config_.to_json());
  std::vector<TensorPlan> plans;
  std::map<std::string, const Stored*> by_key;
  for (const Stored& stored : stored_) {
    const Shape& shape = stored.parameter->shape();
    plans.push_back({stored.key, stored.parameter->value().dtype(), stored.transposed ? transposed(shape) : shape});
    by_key[stored.key] = &stored;
  }
  sort_for_alignment(plans);
  SafetensorsWriter writer(folder / kAdapterWeightsFile, plans, {{"format", "pt"}});
  for (const TensorPlan& plan : plans) {
    const Tensor& value = by_key.at(plan.name)->parameter->value();
    writer.write(plan.name, by_key.at(plan.name)->transposed ? value.transpose(0, 1) : value);
  }
  writer.commit();
}

}  // namespace fledge::models
