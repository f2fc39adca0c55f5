#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/json.h"
#include "base/parallel.h"
#include "cli/bench.h"
#include "cli/bench_report.h"
#include "cli/generation_speed.h"
#include "cli/loaded_model.h"
#include "infer/batch_scheduler.h"
#include "models/model_io.h"
#include "tensor/peak.h"

namespace fledge::cli {
namespace {

/// The model of a folder or a file with its weights; that of a config.json with weights drawn at random.
models::LoadedModel open_benchmark_model(const std::string& source, const std::vector<std::string>& adapters) {
  const std::filesystem::path path = source;
  if (!source.empty() && path.extension() != ".json") {
    models::LoadOptions options;
    for (size_t index = 0; index < adapters.size(); ++index) {
      options.adapters.push_back({fmt::format("{}", index), adapters[index]});
    }
    return models::load_model(models::resolve_model_folder(path), options);
  }
  if (!adapters.empty()) throw base::UsageError("--adapter needs a model with weights, not a config.json");
  const base::Json config = source.empty() ? base::Json{{"model_type", "gpt2"}} : base::read_json(path);
  models::LoadedModel loaded;
  loaded.model = models::make_model(config, source);
  loaded.memory = std::make_unique<nn::Memory>();
  loaded.model->parameters().allocate(*loaded.memory, tensor::DType::f32, false);
  loaded.model->parameters().initialize(1);
  return loaded;
}

/// How much less text is made where the sequences go through adapters than through the base alone; turn by turn, since
/// a machine's speed changes.
void add_adapter_numbers(infer::BatchScheduler& scheduler, const models::LoadedModel& loaded, int64_t batch,
                         int64_t made, base::OrderedJson& numbers) {
  constexpr int kTurns = 5;
  std::vector<const grad::AdapterIdentity*> adapters;
  for (const auto& adapter : loaded.adapters) adapters.push_back(&adapter->identity());
  const int64_t vocabulary = loaded.model->vocabulary_size();
  measure_generation(scheduler, batch, 1, 2, vocabulary, adapters);  // packs the adapters
  std::vector<double> speeds, costs;
  for (int turn = 0; turn < kTurns; ++turn) {
    const double base = measure_generation(scheduler, batch, 1, made, vocabulary).decode;
    speeds.push_back(measure_generation(scheduler, batch, 1, made, vocabulary, adapters).decode);
    costs.push_back(base / speeds.back());
  }
  numbers["adapters"] = adapters.size();
  numbers["decode_with_adapters_tokens_per_second"] = median(speeds);
  numbers["cost_of_adapters"] = median(costs);
}

}  // namespace

void bench_generate(const BenchOptions& options) {
  models::LoadedModel loaded = open_benchmark_model(options.model, options.adapters);
  models::LanguageModel& model = *loaded.model;
  const int64_t batch = options.batch.value_or(1);
  const int64_t prompt_tokens = std::min(options.sequence_length, model.context_length() / 2);
  const int64_t made = std::min(options.steps.value_or(128), model.context_length() - prompt_tokens);

  infer::BatchOptions batching;
  batching.activation_type = activation_type_of(precision_for_text(options.precision));
  batching.most_running = batch;
  batching.share_prefixes = false;  // the prompts are to be read
  batching.cache_tokens = batch * (prompt_tokens + made + 256);
  infer::BatchScheduler scheduler(model, *loaded.memory, batching);
  measure_generation(scheduler, batch, prompt_tokens, 2, model.vocabulary_size());  // packs the weights
  // With several sequences the first ones make text while the last prompts are read, so the prompts have a run of
  // their own, and a sequence's text starts from one token.
  const GenerationSpeed reading = measure_generation(scheduler, batch, prompt_tokens, 1, model.vocabulary_size());
  const GenerationSpeed writing = measure_generation(scheduler, batch, 1, made, model.vocabulary_size());
  const GenerationSpeed behind_prompts =
      measure_generation(scheduler, batch, prompt_tokens, made, model.vocabulary_size());

  const size_t weight_bytes = loaded.memory->encodings.bytes_in_use();
  const double bandwidth = tensor::measure_read_bandwidth(weight_bytes);
  base::OrderedJson numbers = {{"what", "generate"},
                               {"parameters", model.parameters().element_count()},
                               {"dtype", std::string(tensor::name_of(batching.activation_type))},
                               {"threads", base::thread_count()},
                               {"sequences", batch},
                               {"prompt_tokens", prompt_tokens},
                               {"prompt_tokens_per_second", reading.prompt},
                               {"made_tokens", made},
                               {"decode_tokens_per_second", writing.decode},
                               {"decode_behind_prompts_tokens_per_second", behind_prompts.decode},
                               {"weight_bytes", weight_bytes},
                               {"read_bandwidth", bandwidth}};
  if (batch == 1) {
    numbers["share_of_bandwidth"] = writing.decode * static_cast<double>(weight_bytes) / bandwidth;
  }
  if (!loaded.adapters.empty()) add_adapter_numbers(scheduler, loaded, batch, made, numbers);
  numbers["peak_memory_bytes"] = resource_usage_now().peak_bytes;
  report_numbers(numbers, options.json);
}

}  // namespace fledge::cli
