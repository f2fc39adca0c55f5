#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>

#include "base/error.h"
#include "base/json.h"
#include "base/parallel.h"
#include "cli/bench.h"
#include "cli/bench_report.h"
#include "cli/common.h"
#include "cli/loaded_model.h"
#include "models/model_io.h"
#include "models/store.h"
#include "tensor/elementwise.h"
#include "tensor/peak.h"
#include "tensor/quantized_matmul.h"
#include "tensor/random.h"
#include "train/adapter_run.h"
#include "train/objectives/masked_language.h"
#include "train/objectives/next_token.h"
#include "train/run_setup.h"
#include "train/training_step.h"

namespace fledge::cli {
namespace {

using Clock = std::chrono::steady_clock;
using tensor::DType;
using tensor::Tensor;

constexpr int64_t kWarmUpSteps = 2;

tensor::Precision precision_of(DType type) {
  return type == DType::bf16 ? tensor::Precision::bf16 : tensor::Precision::f32;
}

/// A model with values drawn at random, from a config.json, a folder, or the smallest GPT-2.
models::LoadedModel make_benchmark_model(const std::string& source, bool trainable) {
  base::Json config = {{"model_type", "gpt2"}};
  if (!source.empty()) {
    const std::filesystem::path path = source;
    config = base::read_json(std::filesystem::is_directory(path) ? path / "config.json" : path);
  }
  for (const char* key :
       {"embd_pdrop", "attn_pdrop", "resid_pdrop", "hidden_dropout_prob", "attention_probs_dropout_prob"}) {
    config[key] = 0.0;
  }
  models::LoadedModel loaded;
  loaded.model = models::make_model(config, source);
  loaded.memory = std::make_unique<nn::Memory>();
  loaded.model->parameters().allocate(*loaded.memory, DType::f32, trainable);
  loaded.model->parameters().initialize(1);
  return loaded;
}

/// A model's own values, frozen, with a LoRA of random values on every linear layer of its blocks.
struct AdaptedModel {
  models::LoadedModel loaded;
  std::unique_ptr<models::ModelAdapter> adapter;
};

AdaptedModel make_adapted_model(const BenchOptions& options, const train::Objective& objective, DType type) {
  train::Recipe recipe;
  recipe.model.path = options.model;
  recipe.adapter.kind = "lora";
  recipe.adapter.rank = *options.lora;
  AdaptedModel result;
  models::LoadedModel& loaded = result.loaded;
  loaded.model = models::make_model(models::read_config(models::resolve_model(options.model)), options.model);
  loaded.memory = std::make_unique<nn::Memory>();
  result.adapter = train::add_adapter(recipe, *loaded.model);
  train::keep_base(recipe, *loaded.model, type, loaded.memory->parameters);
  loaded.model->parameters().allocate(*loaded.memory, DType::f32, true);
  train::initialize_values(recipe, objective, *loaded.model);
  result.adapter->initialize(1, *loaded.memory);
  return result;
}

train::Batch random_batch(int64_t rows, int64_t tokens, int64_t vocabulary, tensor::Arena& arena) {
  const base::Random random(1, 1);
  std::vector<int32_t> ids(static_cast<size_t>(rows * tokens)), targets(ids.size()), positions(ids.size());
  for (size_t index = 0; index < ids.size(); ++index) {
    ids[index] = static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary), index));
    targets[index] = static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary), index + ids.size()));
    positions[index] = static_cast<int32_t>(static_cast<int64_t>(index) % tokens);
  }
  train::Batch batch;
  batch.tensors["ids"] = Tensor::from(ids, {rows, tokens}, arena);
  batch.tensors["targets"] = Tensor::from(targets, {rows, tokens}, arena);
  batch.tensors["positions"] = Tensor::from(positions, {rows, tokens}, arena);
  batch.target_tokens = rows * tokens;
  return batch;
}

/// Targets at 15 % of the places of every row, for an encoder.
void mask_batch(train::Batch& batch, tensor::Arena& arena) {
  constexpr double kMasked = 0.15;
  const int64_t rows = batch.at("ids").dim(0), tokens = batch.at("ids").dim(1);
  const auto per_row = std::max<int64_t>(1, std::llround(kMasked * static_cast<double>(tokens)));
  const std::vector<int32_t> all = batch.at("targets").to_vector<int32_t>();
  std::vector<int32_t> places, targets;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t index = 0; index < per_row; ++index) {
      places.push_back(static_cast<int32_t>(row * tokens + index * tokens / per_row));
      targets.push_back(all[static_cast<size_t>(places.back())]);
    }
  }
  const auto count = static_cast<int64_t>(places.size());
  batch.tensors["masked_rows"] = Tensor::from(places, {count}, arena);
  batch.tensors["targets"] = Tensor::from(targets, {count}, arena);
  batch.target_tokens = count;
}

void bench_train(const BenchOptions& options) {
  const DType type = activation_type_of(options.precision);
  const int64_t batch_rows = options.batch.value_or(8), step_count = options.steps.value_or(10);
  std::unique_ptr<train::Objective> objective = std::make_unique<train::NextToken>();
  AdaptedModel adapted;
  if (options.lora) {
    adapted = make_adapted_model(options, *objective, type);
  } else {
    adapted.loaded = make_benchmark_model(options.model, true);
  }
  models::LoadedModel& loaded = adapted.loaded;
  models::LanguageModel& model = *loaded.model;
  if (options.sequence_length > model.context_length()) {
    throw base::UsageError("--seq {} is longer than the model's context of {}", options.sequence_length,
                           model.context_length());
  }
  if (!model.is_causal() && !model.predicts_tokens())
    throw base::UsageError("--model {}: an encoder is measured with masked tokens, and this one has no head for them",
                           options.model);
  if (!model.is_causal()) objective = std::make_unique<train::MaskedLanguage>(false);
  train::AdamW optimizer(model.parameters(), *loaded.memory, {}, 0, model.parameters().flat_size());
  const auto alone = tensor::make_single_process();
  train::TrainingStep step(model, *loaded.memory, *objective, optimizer, *alone, {.activation_type = type});
  train::Batch batch =
      random_batch(batch_rows, options.sequence_length, model.vocabulary_size(), loaded.memory->activations);
  if (!model.is_causal()) mask_batch(batch, loaded.memory->activations);
  const int64_t first_sample = 0;
  std::vector<double> seconds;
  double first_loss = 0.0, last_loss = 0.0;
  ResourceUsage before;
  for (int64_t index = 0; index < kWarmUpSteps + step_count; ++index) {
    if (index == kWarmUpSteps) before = resource_usage_now();
    const auto start = Clock::now();
    last_loss = step.run(index, std::span(&batch, 1), std::span(&first_sample, 1), 3e-4).loss;
    if (index == 0) first_loss = last_loss;
    if (index >= kWarmUpSteps) seconds.push_back(seconds_since(start));
  }
  const ResourceUsage after = resource_usage_now();
  const double tokens = static_cast<double>(batch_rows * options.sequence_length);
  double flops = model.training_flops_per_token(options.sequence_length) * tokens / median(seconds);
  int64_t trained = model.parameters().element_count();
  if (adapted.adapter) {
    trained = adapted.adapter->parameter_count();
    flops = train::adapted_flops(flops, model.parameters().element_count() - trained, trained);
  }
  const double peak = tensor::measure_peak_flops(precision_of(type));
  report_numbers({{"what", "train"},
                  {"parameters", model.parameters().element_count()},
                  {"trained_parameters", trained},
                  {"batch", batch_rows},
                  {"sequence_length", options.sequence_length},
                  {"dtype", std::string(tensor::name_of(type))},
                  {"threads", base::thread_count()},
                  {"seconds_per_step", median(seconds)},
                  {"tokens_per_second", tokens / median(seconds)},
                  {"flops_per_second", flops},
                  {"peak_flops_per_second", peak},
                  {"share_of_peak", flops / peak},
                  {"peak_memory_bytes", after.peak_bytes},
                  {"minor_faults_per_step",
                   static_cast<double>(after.minor_faults - before.minor_faults) / static_cast<double>(step_count)},
                  {"first_loss", first_loss},
                  {"last_loss", last_loss}},
                 options.json);
}

struct MatmulShape {
  int64_t m, k, n;
};

template <typename Multiply>
double median_seconds(int64_t repeats, const Multiply& multiply) {
  std::vector<double> seconds;
  for (int64_t repeat = 0; repeat < repeats + 1; ++repeat) {
    const auto start = Clock::now();
    multiply();
    if (repeat > 0) seconds.push_back(seconds_since(start));
  }
  return median(seconds);
}

/// With weights of `block_type`, or of `type` where there is none.
double time_matmul(const MatmulShape& shape, DType type, std::optional<tensor::BlockType> block_type, int64_t repeats) {
  tensor::Arena arena("bench");
  const Tensor wide_a = Tensor::empty({shape.m, shape.k}, DType::f32, arena);
  const Tensor wide_b = Tensor::empty({shape.k, shape.n}, DType::f32, arena);
  Tensor a_values = wide_a, b_values = wide_b;
  tensor::fill_normal(a_values, 0.0, 1.0, base::Random(1, 1));
  tensor::fill_normal(b_values, 0.0, 1.0, base::Random(1, 2));
  const Tensor a = Tensor::empty({shape.m, shape.k}, type, arena);
  tensor::copy(wide_a, a);
  Tensor out = Tensor::empty({shape.m, shape.n}, type, arena);
  if (block_type) {
    const Tensor outputs_by_inputs = wide_b.reshape({shape.n, shape.k});
    const tensor::QuantizedMatrix packed = tensor::pack(tensor::quantize(outputs_by_inputs, *block_type, arena), arena);
    return median_seconds(repeats, [&] { tensor::matmul(a, packed, out); });
  }
  tensor::PackedMatrix packed;
  tensor::pack(wide_b, precision_of(type), packed, arena);
  return median_seconds(repeats, [&] { tensor::matmul(a, packed, out); });
}

void bench_matmul(const BenchOptions& options) {
  constexpr MatmulShape kShapes[] = {{4096, 768, 2304},  {4096, 768, 768},   {4096, 768, 3072}, {4096, 3072, 768},
                                     {4096, 768, 50304}, {4096, 4096, 4096}, {1, 768, 3072},    {8, 768, 3072}};
  const DType type = activation_type_of(options.precision);
  const std::optional<tensor::BlockType> block_type = tensor::block_type_named(options.weights);
  const std::string name(block_type ? options.weights : tensor::name_of(type));
  const double peak = block_type ? tensor::measure_peak_int8() : tensor::measure_peak_flops(precision_of(type));
  base::OrderedJson rows = base::OrderedJson::array();
  if (!options.json) {
    print(fmt::format("{} products with packed weights, {} threads, peak {:.0f} GFLOP/s\n", name, base::thread_count(),
                      peak / 1e9));
  }
  for (const MatmulShape& shape : kShapes) {
    const double seconds = time_matmul(shape, type, block_type, options.steps.value_or(10));
    const double flops =
        2.0 * static_cast<double>(shape.m) * static_cast<double>(shape.k) * static_cast<double>(shape.n) / seconds;
    rows.push_back(
        {{"m", shape.m}, {"k", shape.k}, {"n", shape.n}, {"flops_per_second", flops}, {"share_of_peak", flops / peak}});
    if (!options.json) {
      print(fmt::format("{:>6} x {:>5} x {:>6}  {:>8.0f} GFLOP/s  {:>5.1f} %\n", shape.m, shape.k, shape.n, flops / 1e9,
                        100.0 * flops / peak));
      flush_standard_output();
    }
  }
  if (options.json) {
    const base::OrderedJson json = {{"what", "matmul"},
                                    {"dtype", name},
                                    {"threads", base::thread_count()},
                                    {"peak_flops_per_second", peak},
                                    {"shapes", rows}};
    print(json.dump() + "\n");
  }
}

}  // namespace

void run_bench(const BenchOptions& options, const CommonOptions&) {
  if (options.lora && (options.what != "train" || options.model.empty()))
    throw base::UsageError("--lora is for bench train, over the weights of a --model");
  if (!options.beside.empty() && options.what != "encode") throw base::UsageError("--beside is for bench encode");
  if (options.what == "train") return bench_train(options);
  if (options.what == "generate") return bench_generate(options);
  if (options.what == "encode") return bench_encode(options);
  bench_matmul(options);
}

}  // namespace fledge::cli
