// Scores of packed continuations against whole logits of each one alone.
#include "train/tasks/continuation_scorer.h"

#include <gmock/gmock.h>

#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "models/gpt2.h"
#include "support/operation_check.h"

namespace fledge::train {
namespace {

using tensor::DType;
using tensor::Tensor;

constexpr int64_t kVocabulary = 23, kContext = 1500;

struct Fixture {
  nn::Memory memory;
  models::Gpt2 model;

  static models::Gpt2Config config() {
    models::Gpt2Config config;
    config.vocab_size = kVocabulary;
    config.n_positions = kContext;
    config.n_embd = 8;
    config.n_layer = 2;
    config.n_head = 2;
    config.initializer_range = 0.5;
    return config;
  }
  Fixture() : model(config()) {
    model.parameters().allocate(memory, DType::f64, false);
    model.parameters().initialize(5);
  }

  static std::vector<int32_t> tokens(uint64_t stream, size_t count) {
    std::vector<int32_t> ids(count);
    for (size_t index = 0; index < count; ++index)
      ids[index] = static_cast<int32_t>(base::Random(8, stream).below(kVocabulary, index));
    return ids;
  }

  ContinuationScore alone(const Continuation& continuation) {
    std::vector<int32_t> ids = continuation.context;
    ids.insert(ids.end(), continuation.tokens.begin(), continuation.tokens.end());
    grad::Graph graph(memory.activations, memory.encodings, DType::f64, false);
    models::ForwardInput input;
    const std::vector<int32_t> read(ids.begin(), ids.end() - 1);
    input.ids = Tensor::from(read, {1, static_cast<int64_t>(read.size())}, memory.activations);
    const std::vector<double> logits =
        test::as_doubles(models::logits(graph, model, model.forward(graph, input).hidden).value());
    ContinuationScore score;
    for (size_t place = continuation.context.size(); place < ids.size(); ++place) {
      const double* line = logits.data() + (place - 1) * kVocabulary;
      double sum = 0.0;
      for (int entry = 0; entry < kVocabulary; ++entry) sum += std::exp(line[entry]);
      score.log_likelihood += line[ids[place]] - std::log(sum);
      score.greedy &= std::max_element(line, line + kVocabulary) - line == ids[place];
    }
    return score;
  }
};

TEST(ContinuationScorer, PackedRowsGiveWhatEachOneGivesAlone) {
  Fixture fixture;
  std::vector<Continuation> continuations;
  // More places than are held at once, more tokens than a row takes, and a context that is full.
  for (uint64_t index = 0; index < 40; ++index)
    continuations.push_back({Fixture::tokens(2 * index, 1 + index * 7), Fixture::tokens(2 * index + 1, 1 + index % 9)});
  continuations.push_back({Fixture::tokens(900, kContext), Fixture::tokens(901, 1)});
  continuations.push_back({Fixture::tokens(902, 1), Fixture::tokens(903, kContext)});
  // One that is made of the likeliest tokens.
  Continuation greedy{Fixture::tokens(904, 5), {}};
  for (int step = 0; step < 4; ++step) {
    for (int32_t token = 0; token < kVocabulary; ++token) {
      Continuation tried = greedy;
      tried.tokens.push_back(token);
      if (fixture.alone(tried).greedy) {
        greedy = tried;
        break;
      }
    }
  }
  ASSERT_EQ(greedy.tokens.size(), 4u);
  continuations.push_back(greedy);
  const std::vector<ContinuationScore> scores =
      score_continuations(fixture.model, fixture.memory, continuations, DType::f64);
  ASSERT_EQ(scores.size(), continuations.size());
  for (size_t index = 0; index < scores.size(); ++index) {
    const ContinuationScore expected = fixture.alone(continuations[index]);
    // Log-probabilities are read in f32.
    EXPECT_NEAR(scores[index].log_likelihood / expected.log_likelihood, 1.0, 1e-6) << index;
    EXPECT_EQ(scores[index].greedy, expected.greedy) << index;
  }
  EXPECT_TRUE(scores.back().greedy);
}

TEST(ContinuationScorer, RefusesWhatDoesNotFit) {
  Fixture fixture;
  const auto refuse = [&](const Continuation& continuation, const char* sentence) {
    try {
      score_continuations(fixture.model, fixture.memory, std::vector{continuation}, DType::f64);
      FAIL() << sentence;
    } catch (const base::Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(sentence));
    }
  };
  refuse({Fixture::tokens(1, kContext), Fixture::tokens(2, 2)}, "more than the model's context of 1500");
  refuse({{}, {1}}, "both need one at least");
  refuse({{1}, {}}, "both need one at least");
}

}  // namespace
}  // namespace fledge::train
