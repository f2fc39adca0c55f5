#include "train/perplexity.h"

#include "base/error.h"
#include "grad/linear.h"
#include "models/gpt2.h"
#include "support/operation_check.h"

namespace fledge::train {
namespace {

using tensor::DType;
using tensor::Tensor;

struct Fixture {
  nn::Memory memory;
  models::Gpt2 model;
  std::vector<int32_t> ids;

  static models::Gpt2Config config() {
    models::Gpt2Config config;
    config.vocab_size = 23;
    config.n_positions = 12;
    config.n_embd = 8;
    config.n_layer = 1;
    config.n_head = 2;
    config.initializer_range = 0.5;
    return config;
  }
  explicit Fixture(size_t tokens) : model(config()), ids(tokens) {
    model.parameters().allocate(memory, DType::f64, false);
    model.parameters().initialize(5);
    const base::Random random(8, 1);
    for (size_t index = 0; index < tokens; ++index) ids[index] = static_cast<int32_t>(random.below(23, index));
  }

  /// -log p(ids[token] | ids[first .. token)), from whole logits.
  double loss_of(int64_t first, int64_t token) {
    const std::vector<int32_t> part(ids.begin() + first, ids.begin() + token);
    grad::Graph graph(memory.activations, memory.encodings, DType::f64, false);
    models::ForwardInput input;
    input.ids = Tensor::from(part, {1, token - first}, memory.activations);
    const auto hidden = model.forward(graph, input).hidden;
    const std::vector<double> logits = test::as_doubles(models::logits(graph, model, hidden).value());
    const double* last = logits.data() + (token - first - 1) * 23;
    double sum = 0.0;
    for (int entry = 0; entry < 23; ++entry) sum += std::exp(last[entry]);
    return std::log(sum) - last[ids[static_cast<size_t>(token)]];
  }
};

TEST(Perplexity, ScoresEveryTokenOnceWithTheContextOfItsWindow) {
  for (const int64_t stride : {int64_t{1}, int64_t{5}, int64_t{12}}) {
    for (const size_t tokens : {size_t{2}, size_t{12}, size_t{13}, size_t{14}, size_t{40}}) {
      Fixture fixture(tokens);
      double expected = 0.0;
      for (int64_t token = 1; token < static_cast<int64_t>(tokens); ++token) {
        int64_t begin = 0;
        while (begin + 12 < token) begin += stride;
        expected += fixture.loss_of(begin, token);
      }
      const Perplexity result = measure_perplexity(fixture.model, fixture.memory, fixture.ids, 100,
                                                   {.stride = stride, .rows = 3}, DType::f64);
      EXPECT_NEAR(result.nats, expected, 1e-10 * expected) << stride << " " << tokens;
      EXPECT_EQ(result.tokens, static_cast<int64_t>(tokens) - 1);
      EXPECT_NEAR(result.bits_per_byte(), expected / std::log(2.0) / 100.0, 1e-9);
    }
  }
}

TEST(Perplexity, ChunksScoreTheirSecondHalf) {
  Fixture fixture(27);
  double expected = 0.0;
  for (const int64_t begin : {0, 8, 16}) {
    for (int64_t token = begin + 5; token < begin + 8; ++token) expected += fixture.loss_of(begin, token);
  }
  const Perplexity result =
      measure_perplexity(fixture.model, fixture.memory, fixture.ids, 100, {.chunk = 8, .rows = 2}, DType::f64);
  EXPECT_NEAR(result.nats, expected, 1e-10 * expected);
  EXPECT_EQ(result.tokens, 9);
  for (const PerplexityOptions& wrong : {PerplexityOptions{.chunk = 13}, {.chunk = 3}, {.stride = 2, .chunk = 8}}) {
    EXPECT_THROW(measure_perplexity(fixture.model, fixture.memory, fixture.ids, 9, wrong, DType::f64),
                 base::UsageError);
  }
}

TEST(Perplexity, RefusesBadStridesAndShortTexts) {
  Fixture fixture(20);
  EXPECT_THROW(measure_perplexity(fixture.model, fixture.memory, fixture.ids, 9, {.stride = 13}, DType::f64),
               base::UsageError);
  EXPECT_THROW(measure_perplexity(fixture.model, fixture.memory, std::span(fixture.ids).first(1), 9, {}, DType::f64),
               base::Error);
}

}  // namespace
}  // namespace fledge::train
