#include "models/model_io.h"

#include <charconv>

#include "base/error.h"
#include "base/json.h"
#include "models/formats/model_folder.h"
#include "models/gguf_model.h"
#include "models/store.h"

namespace fledge::models {
namespace {

/// The name that match_names() looks for: files may have the family's prefix or not.
std::string without_prefix(const std::string& name, const WeightNames& names) {
  for (const std::string& prefix : names.prefixes) {
    if (name.starts_with(prefix)) return name.substr(prefix.size());
  }
  return name;
}

/// The step of "step-000500", or -1.
int64_t checkpoint_step(const std::filesystem::path& folder) {
  const std::string name = folder.filename().string();
  constexpr std::string_view kStart = "step-";
  if (!name.starts_with(kStart)) return -1;
  int64_t step = -1;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kStart.size(), end, step);
  return error == std::errc() && stop == end ? step : -1;
}

}  // namespace

base::Json read_config(const std::filesystem::path& path) {
  if (const std::filesystem::path file = find_gguf(path); !file.empty()) return config_of_gguf(GgufReader::open(file));
  return ModelFolder::open(path).config();
}

void read_values(LanguageModel& model, const std::filesystem::path& path, const MayLack& may_lack) {
  if (const std::filesystem::path file = find_gguf(path); !file.empty())
    return read_gguf_values(model, GgufReader::open(file), may_lack);
  load_weights(model, SafetensorsReader::open_model(path), may_lack);
}

void load_weights(LanguageModel& model, const SafetensorsReader& weights, const MayLack& may_lack) {
  WeightNames names = model.weight_names();
  std::vector<NamedTensor> targets;
  for (const auto& entry : model.parameters().entries()) {
    if (entry.options.auxiliary) continue;
    const std::string name = without_prefix(entry.parameter->name(), names);
    if (may_lack && may_lack(entry.parameter->name())) names.optional.push_back(name);
    targets.push_back({name, entry.parameter->is_stored() ? tensor::Tensor() : entry.parameter->value()});
  }
  read_weights(weights, targets, names);
  model.parameters().values_changed();
}

void keep_matrices(LanguageModel& model, const std::filesystem::path& path, const KeepOptions& options,
                   tensor::Arena& arena) {
  if (const std::filesystem::path file = find_gguf(path); !file.empty()) {
    return keep_gguf_matrices(model, GgufReader::open(file), options, arena);
  }
  const SafetensorsReader weights = SafetensorsReader::open_model(path);
  const WeightNames names = model.weight_names();
  std::vector<std::string> expected;
  for (const auto& entry : model.parameters().entries()) {
    if (!entry.options.auxiliary) expected.push_back(without_prefix(entry.parameter->name(), names));
  }
  WeightNames lenient = names;
  lenient.optional = expected;  // what is missing is told when the values are read
  const std::map<std::string, std::string> stored_names = match_names(weights, expected, lenient);
  for (const auto& entry : model.parameters().entries()) {
    if (!may_be_kept(entry)) continue;
    grad::Parameter& parameter = *entry.parameter;
    const auto found = stored_names.find(without_prefix(parameter.name(), names));
    if (found == stored_names.end() || !(weights.info(found->second).shape == parameter.shape())) continue;
    if (options.quantize && may_be_quantized(entry)) {
      keep_quantized(parameter, *options.quantize, arena,
                     [&](const tensor::Tensor& values) { weights.read_into(found->second, values); });
      continue;
    }
    const bool is_bf16 = weights.info(found->second).type == StoredType::bf16;
    const std::optional<tensor::Tensor> view = is_bf16 ? weights.view(found->second) : std::nullopt;
    if (view) {
      parameter.bind_stored(*view);
    } else if (is_bf16 || (options.round_to_bf16 && may_be_rounded(model, entry))) {
      const tensor::Tensor rounded = tensor::Tensor::empty(parameter.shape(), tensor::DType::bf16, arena);
      if (arena.device() != tensor::Device::meta) weights.read_into(found->second, rounded);
      parameter.bind_stored(rounded);
    }
  }
}

void keep_quantized(grad::Parameter& parameter, tensor::BlockType type, tensor::Arena& arena,
                    const std::function<void(const tensor::Tensor&)>& read) {
  // Rows that are no whole blocks of 256 get blocks of 32.
  if (parameter.shape()[1] % tensor::block_elements(type) != 0) type = tensor::BlockType::q8_0;
  tensor::Arena temporary("weights on their way", arena.device());
  const tensor::Tensor values = tensor::Tensor::empty(parameter.shape(), tensor::DType::f32, temporary);
  if (arena.device() != tensor::Device::meta) read(values);
  parameter.bind_stored(tensor::quantize(values, type, arena));
}

bool may_be_quantized(const nn::ParameterSet::Entry& entry) {
  return entry.options.module == nn::ModuleKind::linear &&
         entry.parameter->shape()[1] % tensor::block_elements(tensor::BlockType::q8_0) == 0;
}

bool may_be_kept(const nn::ParameterSet::Entry& entry) {
  return entry.options.module != nn::ModuleKind::other && !entry.options.auxiliary &&
         entry.parameter->shape().rank() == 2;
}

bool may_be_rounded(LanguageModel& model, const nn::ParameterSet::Entry& entry) {
  // A table of positions is small and is read in f32.
  return entry.options.module != nn::ModuleKind::embedding ||
         (model.predicts_tokens() && model.head().weight == entry.parameter.get());
}

LoadedModel load_model(const std::filesystem::path& path, const LoadOptions& options) {
  LoadedModel loaded;
  loaded.model = make_model(read_config(path), path.string());
  loaded.memory = std::make_unique<nn::Memory>();
  for (const AdapterSource& source : options.adapters) {
    loaded.adapters.push_back(std::make_unique<ModelAdapter>(
        *loaded.model, AdapterConfig::read(source.folder), source.name, (source.folder / kAdapterConfigFile).string()));
    loaded.adapters.back()->identity().weight = source.weight;
  }
  if (options.type == tensor::DType::f32 && !options.trainable && !options.widen) {
    keep_matrices(*loaded.model, path, {}, loaded.memory->parameters);
  }
  loaded.model->parameters().allocate(*loaded.memory, options.type, options.trainable);
  read_values(*loaded.model, path);
  for (size_t index = 0; index < options.adapters.size(); ++index) {
    loaded.adapters[index]->load(options.adapters[index].folder);
  }
  return loaded;
}

LoadedModel load_model(const std::filesystem::path& path, tensor::DType type, bool trainable) {
  return load_model(path, {.type = type, .trainable = trainable, .adapters = {}});
}

void save_model(const LanguageModel& model, const std::filesystem::path& folder, const StoredTypeOf& stored_type) {
  write_pretty_json(folder / kConfigFile, model.config());
  write_pretty_json(folder / kGenerationConfigFile, model.generation_config());
  std::vector<TensorPlan> plans;
  for (const auto& entry : model.parameters().entries()) {
    if (entry.options.auxiliary) continue;
    const grad::Parameter& parameter = *entry.parameter;
    const tensor::DType type = parameter.blocks() ? tensor::DType::f32 : parameter.value().dtype();
    plans.push_back({parameter.name(), stored_type ? stored_type(parameter.name()) : type, parameter.shape()});
  }
  sort_for_alignment(plans);
  // transformers refuses a file without "format".
  SafetensorsWriter writer(folder / kWeightsFile, plans, {{"format", "pt"}});
  tensor::Arena widened("widened weights");
  for (const TensorPlan& plan : plans) {
    const grad::Parameter& parameter = *model.parameters().find(plan.name);
    writer.write(plan.name, parameter.blocks() ? parameter.wide_value(tensor::DType::f32, widened) : parameter.value());
  }
  writer.commit();
}

std::filesystem::path newest_checkpoint(const std::filesystem::path& run) {
  std::filesystem::path newest;
  int64_t newest_step = -1;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(run / "checkpoints", error)) {
    const int64_t step = checkpoint_step(entry.path());
    if (step > newest_step && (std::filesystem::exists(entry.path() / kConfigFile) ||
                               std::filesystem::exists(entry.path() / kAdapterConfigFile))) {
      newest_step = step;
      newest = entry.path();
    }
  }
  return newest;
}

std::filesystem::path find_adapter(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::exists(path / kConfigFile, ignored)) return {};
  if (std::filesystem::exists(path / kAdapterConfigFile, ignored)) return path;
  const std::filesystem::path newest = newest_checkpoint(path);
  const bool holds = !newest.empty() && std::filesystem::exists(newest / kAdapterConfigFile, ignored);
  return holds ? newest : std::filesystem::path();
}

std::filesystem::path resolve_model_folder(const std::filesystem::path& path) {
  return resolve_model(path.string());
}

}  // namespace fledge::models
