#include "models/model_io.h"

#include <charconv>

#include "base/error.h"
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
    targets.push_back({name, entry.parameter->value()});
  }
  read_weights(weights, targets, names);
  model.parameters().values_changed();
}

LoadedModel load_model(const std::filesystem::path& folder, tensor::DType type, bool trainable) {
  if (const std::filesystem::path file = find_gguf(folder); !file.empty())
    return load_gguf_model(file, type, trainable);
  LoadedModel loaded;
  const ModelFolder files = ModelFolder::open(folder);
  loaded.model = make_model(files.config(), files.config_origin());
  loaded.memory = std::make_unique<nn::Memory>();
  const SafetensorsReader weights = files.weights();
  loaded.model->parameters().allocate(*loaded.memory, type, trainable);
  load_weights(*loaded.model, weights);
  return loaded;
}

void save_model(const LanguageModel& model, const std::filesystem::path& folder) {
  write_pretty_json(folder / kConfigFile, model.config());
  write_pretty_json(folder / kGenerationConfigFile, model.generation_config());
  std::vector<TensorPlan> plans;
  for (const auto& entry : model.parameters().entries()) {
    if (entry.options.auxiliary) continue;
    const grad::Parameter& parameter = *entry.parameter;
    const tensor::DType type = parameter.blocks() ? tensor::DType::f32 : parameter.value().dtype();
    plans.push_back({parameter.name(), type, parameter.shape()});
  }
  sort_for_alignment(plans);
  // transformers refuses a file without "format".
  SafetensorsWriter writer(folder / kWeightsFile, plans, {{"format", "pt"}});
  tensor::Arena widened("widened weights");
  for (const TensorPlan& plan : plans) {
    const grad::Parameter& parameter = *model.parameters().find(plan.name);
    writer.write(plan.name, parameter.blocks() ? parameter.wide_value(plan.dtype, widened) : parameter.value());
  }
  writer.commit();
}

std::filesystem::path newest_checkpoint(const std::filesystem::path& run) {
  std::filesystem::path newest;
  int64_t newest_step = -1;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(run / "checkpoints", error)) {
    const int64_t step = checkpoint_step(entry.path());
    if (step > newest_step && std::filesystem::exists(entry.path() / kConfigFile)) {
      newest_step = step;
      newest = entry.path();
    }
  }
  return newest;
}

std::filesystem::path resolve_model_folder(const std::filesystem::path& path) {
  return resolve_model(path.string());
}

}  // namespace fledge::models
