#include "train/adapter_run.h"

#include "base/error.h"
#include "models/model_io.h"
#include "models/store.h"
#include "tensor/block_format.h"

namespace fledge::train {
namespace {

constexpr const char* kAllLinear = "all-linear";

std::filesystem::path folder_of(const std::string& from) {
  const std::filesystem::path folder = models::find_adapter(from);
  if (folder.empty()) throw base::UsageError("adapter.from = {} is no adapter's folder and no run of one", from);
  return folder;
}

models::AdapterConfig config_of(const Recipe& recipe, const models::LanguageModel& model) {
  models::AdapterConfig config;
  if (!recipe.adapter.from.empty()) {
    config = models::AdapterConfig::read(folder_of(recipe.adapter.from));
    config.dropout = recipe.adapter.dropout;
    return config;
  }
  config.rank = recipe.adapter.rank;
  config.alpha = recipe.adapter.alpha;
  config.dropout = recipe.adapter.dropout;
  config.use_rslora = recipe.adapter.kind == "rslora";
  config.use_dora = recipe.adapter.kind == "dora";
  config.target_modules = recipe.adapter.targets;
  if (config.target_modules.empty()) config.target_pattern = kAllLinear;
  config.base_model = recipe.model.path;
  if (model.is_causal()) config.task_type = "CAUSAL_LM";
  return config;
}

}  // namespace

std::unique_ptr<models::ModelAdapter> add_adapter(const Recipe& recipe, models::LanguageModel& model) {
  if (!trains_adapter(recipe)) return nullptr;
  models::AdapterConfig config = config_of(recipe, model);
  const std::string origin = recipe.adapter.from.empty() ? "adapter.targets" : recipe.adapter.from;
  try {
    if (recipe.adapter.from.empty() && !config.target_pattern.empty()) {
      config.target_modules = models::shortest_targets(model, models::targets_of(model, config, "adapter.targets"));
      config.target_pattern.clear();
    }
    return std::make_unique<models::ModelAdapter>(model, config, "trained", origin);
  } catch (const base::UsageError&) {
    throw;
  } catch (const base::Error& error) {
    throw base::UsageError("{}", error.what());
  }
}

void initialize_adapter(const Recipe& recipe, models::ModelAdapter& adapter, nn::Memory& memory) {
  adapter.initialize(static_cast<uint64_t>(recipe.run.seed), memory);
  if (!recipe.adapter.from.empty()) adapter.load(folder_of(recipe.adapter.from));
}

void keep_base(const Recipe& recipe, models::LanguageModel& model, tensor::DType activation_type,
               tensor::Arena& arena) {
  if (!trains_adapter(recipe) || recipe.adapter.base == "f32") return;
  models::KeepOptions options;
  options.round_to_bf16 = activation_type == tensor::DType::bf16 || recipe.adapter.base == "bf16";
  options.quantize = tensor::block_type_named(recipe.adapter.base);
  models::keep_matrices(model, models::resolve_model(recipe.model.path), options, arena);
}

double adapted_flops(double full_flops, int64_t model_parameters, int64_t adapter_parameters) {
  const double share = static_cast<double>(adapter_parameters) / static_cast<double>(model_parameters);
  return full_flops * (2.0 / 3.0 + share);
}

}  // namespace fledge::train
