#include "train/run_setup.h"

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "models/model_io.h"
#include "models/store.h"
#include "tensor/cpu_features.h"
#include "train/adapter_run.h"
#include "train/data/prepare_chat.h"
#include "train/data/tokenizer_adapter.h"
#include "train/grow_vocabulary.h"
#include "train/layer_selection.h"
#include "train/new_model.h"
#include "train/partial_training.h"
#include "train/tokenizer_source.h"

namespace fledge::train {
namespace {

constexpr const char* kSourceFile = "source.txt";

/// Names, sizes and dates of the text files and everything else that decides what preparing them gives.
std::string describe_source(const Recipe& recipe) {
  std::string text = fmt::format("tokenizer {}\nval_fraction {}\n", recipe.data.tokenizer, recipe.data.val_fraction);
  for (const std::string& name : recipe.data.text) {
    std::error_code error;
    const auto size = std::filesystem::file_size(name, error);
    if (error) throw base::Error("{}: cannot be read ({})", name, error.message());
    const auto date = std::filesystem::last_write_time(name, error).time_since_epoch().count();
    text += fmt::format("{} {} {}\n", name, size, date);
  }
  return text;
}

std::vector<int64_t> chosen_blocks(const Recipe& recipe, const base::Json& config, const std::string& origin) {
  return parse_block_list(recipe.model.layers, block_count(config, origin));
}

}  // namespace

tensor::DType activation_type_of(const std::string& precision) {
  if (precision == "bf16") return tensor::DType::bf16;
  if (precision == "f32") return tensor::DType::f32;
  return tensor::native_bf16() ? tensor::DType::bf16 : tensor::DType::f32;
}

std::vector<int64_t> all_shard_bounds(int64_t flat_size, int processes) {
  // Shards begin where parameters may begin, at multiples of 16 elements.
  constexpr int64_t kUnit = 16;
  std::vector<int64_t> bounds;
  for (int rank = 0; rank <= processes; ++rank) bounds.push_back(flat_size / kUnit * rank / processes * kUnit);
  return bounds;
}

std::pair<int64_t, int64_t> shard_bounds(int64_t flat_size, const tensor::ProcessGroup& processes) {
  const std::vector<int64_t> bounds = all_shard_bounds(flat_size, processes.size());
  const auto rank = static_cast<size_t>(processes.rank());
  return {bounds[rank], bounds[rank + 1]};
}

std::unique_ptr<models::LanguageModel> make_configured_model(const Recipe& recipe, const BatchSource& source,
                                                             Objective& objective) {
  base::Json config;
  std::string origin = "the recipe";
  if (!recipe.model.is_given()) {
    config = new_model_config(recipe.model, source.tokenizer().vocabulary_size(), source.end_of_text_id());
  } else {
    const bool whole = !recipe.model.path.empty();
    const std::filesystem::path path = models::resolve_model(whole ? recipe.model.path : recipe.model.layers_from);
    config = models::read_config(path);
    origin = path.string();
    if (!whole) config = config_with_blocks(config, chosen_blocks(recipe, config, origin), origin);
  }
  objective.adapt_config(config);
  std::unique_ptr<models::LanguageModel> model = models::make_model(config, origin);
  if (source.tokenizer().vocabulary_size() > model->vocabulary_size()) {
    throw base::Error("{}: the model has {} tokens and the data's tokenizer {}", origin, model->vocabulary_size(),
                      source.tokenizer().vocabulary_size());
  }
  // What the objective adds is trained beside an adapter.
  if (trains_adapter(recipe)) model->parameters().freeze();
  if (!recipe.model.train_only.empty()) freeze_all_but(recipe.model.train_only, *model);
  objective.add_parameters(*model);
  return model;
}

void initialize_values(const Recipe& recipe, const Objective& objective, models::LanguageModel& model) {
  model.parameters().initialize(static_cast<uint64_t>(recipe.run.seed));
  if (!recipe.model.is_given()) return;
  const auto may_lack = [&](const std::string& name) { return objective.may_be_new(name); };
  if (!recipe.model.path.empty()) {
    const std::filesystem::path whole = models::resolve_model(recipe.model.path);
    if (recipe.data.add_tokens.empty()) {
      models::read_values(model, whole, may_lack);
    } else {
      read_values_of_smaller_vocabulary(model, whole, may_lack);
    }
    return;
  }
  const std::filesystem::path path = models::resolve_model(recipe.model.layers_from);
  const models::LoadedModel source = models::load_model(path, tensor::DType::f32, false);
  copy_blocks(*source.model, chosen_blocks(recipe, source.model->config(), path.string()), model, may_lack);
}

std::string recipe_identity(const Recipe& recipe, const BatchSource& source) {
  Recipe deciding = recipe;
  const Recipe fresh;
  deciding.run = fresh.run;
  deciding.run.seed = recipe.run.seed;
  deciding.evaluation = fresh.evaluation;
  deciding.samples = fresh.samples;
  deciding.checkpoints = fresh.checkpoints;
  deciding.max_minutes = 0.0;
  deciding.distillation.cache.clear();
  deciding.recompute = fresh.recompute;
  deciding.data.path.clear();
  deciding.data.text.clear();
  deciding.data.tokenizer.clear();
  deciding.data.val_path.clear();
  return fmt::format("{:016x}", base::stable_hash(source.identity(), base::stable_hash(to_toml(deciding))));
}

void prepare_recipe_chats(const Recipe& recipe, ChatPurpose purpose, const ChatModel& model,
                          const std::filesystem::path& folder) {
  const auto stamp = [](const std::filesystem::path& path) {
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (error) throw base::Error("{}: cannot be read ({})", path.string(), error.message());
    return fmt::format("{} {} {}", path.string(), size,
                       std::filesystem::last_write_time(path).time_since_epoch().count());
  };
  std::string source =
      fmt::format("chats {}\npurpose {}\ntokenizer {}\ntemplate {:016x}\ntrain_on {}\nstrict {}\nval_fraction {}\n",
                  stamp(recipe.data.path), static_cast<int>(purpose), tokenizer_hash(*model.tokenizer),
                  base::stable_hash(model.chat_template->source()), recipe.chat.train_on, recipe.data.strict,
                  recipe.data.val_fraction);
  if (!recipe.data.val_path.empty()) source += "validation " + stamp(recipe.data.val_path) + "\n";
  std::error_code error;
  if (std::filesystem::exists(folder / kSourceFile, error) && base::read_file(folder / kSourceFile) == source) return;
  PrepareChatOptions options;
  options.inputs = {recipe.data.path};
  if (!recipe.data.val_path.empty()) options.validation_inputs = {recipe.data.val_path};
  options.out = folder;
  options.reading = {purpose, recipe.data.strict};
  options.turns = recipe.chat.train_on == "last" ? TrainedTurns::last : TrainedTurns::all;
  options.validation_fraction = recipe.data.val_fraction;
  prepare_chat(options, model);
  base::write_file(folder / kSourceFile, source);
}

void prepare_recipe_data(const Recipe& recipe, const std::filesystem::path& folder) {
  const std::string source = describe_source(recipe);
  std::error_code error;
  if (std::filesystem::exists(folder / kSourceFile, error) && base::read_file(folder / kSourceFile) == source) return;
  PrepareOptions options;
  options.inputs.assign(recipe.data.text.begin(), recipe.data.text.end());
  options.out = folder;
  options.validation_fraction = recipe.data.val_fraction;
  prepare_with_tokenizer(options, recipe.data.tokenizer);
  base::write_file(folder / kSourceFile, source);
}

}  // namespace fledge::train
