#include <filesystem>

#include "base/error.h"
#include "base/parallel.h"
#include "base/random.h"
#include "cli/bench.h"
#include "cli/bench_report.h"
#include "cli/loaded_model.h"
#include "infer/batch_scheduler.h"
#include "models/model_io.h"
#include "tensor/peak.h"

namespace fledge::cli {
namespace {

using Clock = std::chrono::steady_clock;

/// The model of a folder or a file with its weights; that of a config.json with weights drawn at random.
models::LoadedModel open_benchmark_model(const std::string& source) {
  const std::filesystem::path path = source;
  if (!source.empty() && path.extension() != ".json") {
    return models::load_model(models::resolve_model_folder(path), tensor::DType::f32, false);
  }
  const base::Json config = source.empty() ? base::Json{{"model_type", "gpt2"}} : base::read_json(path);
  models::LoadedModel loaded;
  loaded.model = models::make_model(config, source);
  loaded.memory = std::make_unique<nn::Memory>();
  loaded.model->parameters().allocate(*loaded.memory, tensor::DType::f32, false);
  loaded.model->parameters().initialize(1);
  return loaded;
}

/// When a request's first and last tokens came.
struct Times : infer::RequestListener {
  Clock::time_point first{}, last{};
  int64_t tokens = 0;
  std::string error;

  bool on_token(const infer::SampledToken&) override {
    last = Clock::now();
    if (tokens++ == 0) first = last;
    return true;
  }
  void on_finish(const infer::RequestResult& result) override { error = result.error; }
};

infer::Request random_request(uint64_t number, int64_t prompt_tokens, int64_t made, int64_t vocabulary) {
  const base::Random random(1, number);
  infer::Request request;
  for (int64_t index = 0; index < prompt_tokens; ++index) {
    request.prompt.push_back(
        static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary), static_cast<uint64_t>(index))));
  }
  request.options.sampling.temperature = 0.0;
  request.options.max_tokens = made;
  return request;
}

struct Speeds {
  double prompt = 0, decode = 0;  ///< tokens per second, of all sequences together
};

/// Reads all prompts, then makes text for all of them.
Speeds measure(infer::BatchScheduler& scheduler, int64_t batch, int64_t prompt_tokens, int64_t made,
               int64_t vocabulary) {
  std::vector<std::shared_ptr<Times>> requests;
  for (int64_t number = 0; number < batch; ++number) {
    requests.push_back(std::make_shared<Times>());
    const auto id = static_cast<uint64_t>(number) + 1;
    scheduler.submit(id, random_request(id, prompt_tokens, made, vocabulary), requests.back());
  }
  const auto start = Clock::now();
  while (scheduler.step()) {
  }
  Clock::time_point all_read = start, end = start;
  int64_t late_tokens = 0;
  for (const auto& request : requests) {
    if (!request->error.empty()) throw base::Error("{}", request->error);
    all_read = std::max(all_read, request->first);
    end = std::max(end, request->last);
    late_tokens += request->tokens - 1;
  }
  const double prompt_seconds = std::chrono::duration<double>(all_read - start).count();
  const double decode_seconds = std::chrono::duration<double>(end - all_read).count();
  return {static_cast<double>(batch * prompt_tokens) / prompt_seconds,
          decode_seconds > 0 ? static_cast<double>(late_tokens) / decode_seconds : 0.0};
}

}  // namespace

void bench_generate(const BenchOptions& options) {
  models::LoadedModel loaded = open_benchmark_model(options.model);
  models::LanguageModel& model = *loaded.model;
  const int64_t batch = options.batch.value_or(1);
  const int64_t prompt_tokens = std::min(options.sequence_length, model.context_length() / 2);
  const int64_t made = std::min(options.steps.value_or(128), model.context_length() - prompt_tokens);

  infer::BatchOptions batching;
  batching.activation_type = activation_type_of(options.precision);
  batching.most_running = batch;
  batching.share_prefixes = false;  // the prompts are to be read
  batching.cache_tokens = batch * (prompt_tokens + made + 256);
  infer::BatchScheduler scheduler(model, *loaded.memory, batching);
  measure(scheduler, batch, prompt_tokens, 2, model.vocabulary_size());  // packs the weights
  // With several sequences the first ones make text while the last prompts are read, so the prompts have a run of
  // their own, and a sequence's text starts from one token.
  const Speeds reading = measure(scheduler, batch, prompt_tokens, 1, model.vocabulary_size());
  const Speeds writing = measure(scheduler, batch, 1, made, model.vocabulary_size());
  const Speeds behind_prompts = measure(scheduler, batch, prompt_tokens, made, model.vocabulary_size());

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
  numbers["peak_memory_bytes"] = resource_usage_now().peak_bytes;
  report_numbers(numbers, options.json);
}

}  // namespace fledge::cli
