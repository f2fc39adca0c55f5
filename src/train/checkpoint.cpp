#include "train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "models/formats/model_folder.h"
#include "models/formats/safetensors.h"
#include "models/model_io.h"
#include "tensor/elementwise.h"

namespace fledge::train {
namespace {

using tensor::Tensor;

constexpr const char* kFirst = "first_moments.";
constexpr const char* kSecond = "second_moments.";
constexpr const char* kAuxiliary = "auxiliary.";
constexpr const char* kOptimizerFile = "optimizer.safetensors";
constexpr const char* kStateFile = "trainer.json";

/// The whole flat state, gathered from the processes that own its parts.
Tensor gather(const Tensor& owned, const AdamW& optimizer, int64_t flat_size, nn::Memory& memory,
              tensor::ProcessGroup& processes) {
  if (processes.size() == 1) return owned;
  Tensor whole = Tensor::zeros({flat_size}, owned.dtype(), memory.activations);
  tensor::copy(owned, whole.slice(0, optimizer.begin(), optimizer.end() - optimizer.begin()));
  processes.all_reduce_sum(whole);
  return whole;
}

void save_optimizer(const std::filesystem::path& folder, const models::LanguageModel& model, const Tensor& first,
                    const Tensor& second) {
  std::vector<models::NamedTensor> tensors;
  for (const auto& [prefix, flat] : {std::pair{kFirst, first}, std::pair{kSecond, second}}) {
    for (const auto& entry : model.parameters().entries()) {
      if (!entry.parameter->trainable()) continue;
      const tensor::Shape& shape = entry.parameter->shape();
      tensors.push_back(
          {prefix + entry.parameter->name(), flat.slice(0, entry.offset, shape.elements()).reshape(shape)});
    }
  }
  for (const auto& entry : model.parameters().entries()) {
    if (entry.options.auxiliary && !entry.options.of_adapter)
      tensors.push_back({kAuxiliary + entry.parameter->name(), entry.parameter->value()});
  }
  models::write_safetensors(folder / kOptimizerFile, tensors);
}

/// Reads one parameter's moments and keeps the part that this process owns.
void load_moments(const models::SafetensorsReader& reader, const std::string& name, int64_t offset,
                  const tensor::Shape& shape, const AdamW& optimizer, Tensor owned, nn::Memory& memory) {
  const int64_t first = std::max(offset, optimizer.begin());
  const int64_t last = std::min(offset + shape.elements(), optimizer.end());
  if (first >= last) return;
  Tensor all = Tensor::empty(shape, owned.dtype(), memory.activations);
  reader.read_into(name, all);
  tensor::copy(all.reshape({-1}).slice(0, first - offset, last - first),
               owned.slice(0, first - optimizer.begin(), last - first));
}

void load_optimizer(const std::filesystem::path& folder, models::LanguageModel& model, AdamW& optimizer,
                    nn::Memory& memory) {
  const auto reader = models::SafetensorsReader::open(folder / kOptimizerFile);
  for (const auto& entry : model.parameters().entries()) {
    grad::Parameter& parameter = *entry.parameter;
    if (!parameter.trainable()) continue;
    if (entry.options.auxiliary && !entry.options.of_adapter) {
      reader.read_into(kAuxiliary + parameter.name(), parameter.value());
      parameter.value_changed();
    }
    load_moments(reader, kFirst + parameter.name(), entry.offset, parameter.shape(), optimizer,
                 optimizer.first_moments(), memory);
    load_moments(reader, kSecond + parameter.name(), entry.offset, parameter.shape(), optimizer,
                 optimizer.second_moments(), memory);
  }
}

base::Json to_json(const TrainingState& state) {
  return {{"version", 1},
          {"step", state.step},
          {"target_tokens", state.target_tokens},
          {"best_validation_loss", state.best_validation_loss},
          {"best_step", state.best_step},
          {"recipe_identity", state.recipe_identity}};
}

TrainingState state_from_json(const base::Json& json, const std::string& origin) {
  TrainingState state;
  state.step = base::json_require<int64_t>(json, "step", origin);
  state.target_tokens = base::json_require<int64_t>(json, "target_tokens", origin);
  state.best_validation_loss = base::json_require<double>(json, "best_validation_loss", origin);
  state.best_step = base::json_require<int64_t>(json, "best_step", origin);
  state.recipe_identity = base::json_require<std::string>(json, "recipe_identity", origin);
  return state;
}

void copy_tokenizer(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
                           models::kGenerationConfigFile}) {
    models::copy_if_there(from, to, name);
  }
}

}  // namespace

std::filesystem::path checkpoint_folder(const std::filesystem::path& run, int64_t step) {
  return run / "checkpoints" / fmt::format("step-{:06}", step);
}

void save_checkpoint(const std::filesystem::path& folder, const models::LanguageModel& model,
                     const models::ModelAdapter* adapter, AdamW& optimizer, nn::Memory& memory,
                     const TrainingState& state, const std::filesystem::path& tokenizer,
                     tensor::ProcessGroup& processes) {
  const int64_t size = model.parameters().flat_size();
  const Tensor first = gather(optimizer.first_moments(), optimizer, size, memory, processes);
  const Tensor second = gather(optimizer.second_moments(), optimizer, size, memory, processes);
  if (processes.rank() == 0) {
    base::write_folder(folder, [&](const std::filesystem::path& fresh) {
      adapter != nullptr ? adapter->save(fresh) : models::save_model(model, fresh);
      if (!tokenizer.empty()) copy_tokenizer(tokenizer, fresh);
      save_optimizer(fresh, model, first, second);
      base::write_file(fresh / kStateFile, to_json(state).dump(2) + "\n");
    });
  }
  processes.barrier();
}

TrainingState load_checkpoint(const std::filesystem::path& folder, models::LanguageModel& model,
                              models::ModelAdapter* adapter, AdamW& optimizer, nn::Memory& memory) {
  const std::filesystem::path file = folder / kStateFile;
  const TrainingState state = state_from_json(base::read_json(file), file.string());
  if (adapter != nullptr) {
    adapter->load(folder);
  } else {
    models::load_weights(model, models::SafetensorsReader::open_model(folder));
  }
  load_optimizer(folder, model, optimizer, memory);
  optimizer.set_steps(state.step);
  return state;
}

void remove_old_checkpoints(const std::filesystem::path& run, int64_t keep_last, bool keep_best, int64_t best_step) {
  if (keep_last == 0) return;
  std::vector<std::filesystem::path> folders;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(run / "checkpoints", ignored)) {
    if (std::filesystem::exists(entry.path() / kStateFile)) folders.push_back(entry.path());
  }
  // Names have six digits or more; a longer name is a later step.
  std::ranges::sort(folders, [](const auto& a, const auto& b) {
    const std::string x = a.filename(), y = b.filename();
    return x.size() != y.size() ? x.size() < y.size() : x < y;
  });
  for (size_t index = 0; index + static_cast<size_t>(keep_last) < folders.size(); ++index) {
    if (keep_best && folders[index] == checkpoint_folder(run, best_step)) continue;
    std::filesystem::remove_all(folders[index], ignored);
  }
}

}  // namespace fledge::train
