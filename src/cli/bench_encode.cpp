// fledge bench encode
#include <filesystem>

#include "base/error.h"
#include "base/json.h"
#include "base/parallel.h"
#include "base/random.h"
#include "cli/bench.h"
#include "cli/bench_report.h"
#include "cli/loaded_model.h"
#include "models/model_io.h"
#include "tensor/peak.h"

namespace fledge::cli {
namespace {

constexpr int64_t kWarmUpSteps = 2;

/// An encoder with values drawn at random, and texts of random tokens for it.
class EncoderRun {
 public:
  EncoderRun(const std::string& config, const BenchOptions& options, tensor::DType type)
      : batch_(options.batch.value_or(1)), tokens_(options.sequence_length), type_(type) {
    const std::filesystem::path path = config;
    model_ =
        models::make_model(base::read_json(std::filesystem::is_directory(path) ? path / "config.json" : path), config);
    if (model_->is_causal()) throw base::UsageError("{}: bench encode measures encoders, and this is none", config);
    if (tokens_ > model_->context_length())
      throw base::UsageError("--seq {} is longer than the context of {}, {}", tokens_, config,
                             model_->context_length());
    model_->parameters().allocate(memory_, tensor::DType::f32, false);
    model_->parameters().initialize(1);
    const base::Random random(1, 1);
    for (uint64_t place = 0; place < static_cast<uint64_t>(batch_ * tokens_); ++place)
      ids_.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(model_->vocabulary_size()), place)));
  }

  /// One pass, to the last hidden states.
  void step(bool measured) {
    const auto start = std::chrono::steady_clock::now();
    {
      grad::Graph graph(memory_.activations, memory_.encodings, type_, false);
      models::ForwardInput input;
      input.ids = tensor::Tensor::from(ids_, {batch_, tokens_}, memory_.activations);
      input.encode_only = true;
      model_->forward(graph, input);
    }
    if (measured) seconds_.push_back(seconds_since(start));
  }

  double seconds() const { return median(seconds_); }
  base::OrderedJson numbers(double peak) const {
    const double tokens = static_cast<double>(batch_ * tokens_);
    // A forward pass is a third of a training step's arithmetic.
    const double flops = model_->training_flops_per_token(tokens_) / 3.0 * tokens / seconds();
    return {{"parameters", model_->parameters().element_count()},
            {"seconds_per_pass", seconds()},
            {"texts_per_second", static_cast<double>(batch_) / seconds()},
            {"tokens_per_second", tokens / seconds()},
            {"share_of_peak", flops / peak}};
  }

 private:
  int64_t batch_, tokens_;
  tensor::DType type_;
  nn::Memory memory_;
  std::unique_ptr<models::LanguageModel> model_;
  std::vector<int32_t> ids_;
  std::vector<double> seconds_;
};

}  // namespace

void bench_encode(const BenchOptions& options) {
  if (options.model.empty()) throw base::UsageError("bench encode needs --model, the config.json of an encoder");
  const tensor::DType type = activation_type_of(options.precision);
  EncoderRun run(options.model, options, type);
  std::unique_ptr<EncoderRun> other;
  if (!options.beside.empty()) other = std::make_unique<EncoderRun>(options.beside, options, type);
  for (int64_t step = -kWarmUpSteps; step < options.steps.value_or(10); ++step) {
    run.step(step >= 0);
    if (other) other->step(step >= 0);
  }
  const double peak =
      tensor::measure_peak_flops(type == tensor::DType::bf16 ? tensor::Precision::bf16 : tensor::Precision::f32);
  base::OrderedJson numbers = {{"what", "encode"},
                               {"batch", options.batch.value_or(1)},
                               {"sequence_length", options.sequence_length},
                               {"dtype", std::string(tensor::name_of(type))},
                               {"threads", base::thread_count()}};
  numbers.update(run.numbers(peak));
  if (other) {
    const base::OrderedJson beside = other->numbers(peak);
    for (const auto& [name, value] : beside.items()) numbers["beside_" + name] = value;
    numbers["times_as_fast"] = other->seconds() / run.seconds();
  }
  report_numbers(numbers, options.json);
}

}  // namespace fledge::cli
