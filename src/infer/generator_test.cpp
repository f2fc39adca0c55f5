#include "infer/generator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "models/gpt2.h"

namespace fledge::infer {
namespace {

using tensor::DType;

models::Gpt2Config small_config() {
  models::Gpt2Config config;
  config.vocab_size = 40;
  config.n_positions = 24;
  config.n_embd = 16;
  config.n_layer = 2;
  config.n_head = 2;
  config.initializer_range = 0.3;
  return config;
}

struct Fixture {
  nn::Memory memory;
  models::Gpt2 model{small_config()};
  Fixture() {
    model.parameters().allocate(memory, DType::f32, false);
    model.parameters().initialize(9);
  }

  std::vector<int32_t> run(const std::vector<int32_t>& prompt, const GenerationOptions& options, DType type,
                           FinishReason* reason = nullptr, Drafter* drafter = nullptr, DraftCounts* drafts = nullptr) {
    std::vector<int32_t> made;
    Generator generator(model, memory, type, drafter);
    const FinishReason why = generator.generate(prompt, options, [&](const SampledToken& token) {
      made.push_back(token.token);
      return true;
    });
    if (reason != nullptr) *reason = why;
    if (drafts != nullptr) *drafts = generator.drafts();
    return made;
  }

  /// Greedy continuation without a cache: the whole sequence anew for every token.
  std::vector<int32_t> run_plainly(std::vector<int32_t> ids, int64_t count, DType type) {
    std::vector<int32_t> made;
    for (int64_t index = 0; index < count; ++index) {
      grad::Graph graph(memory.activations, memory.encodings, type, false);
      models::ForwardInput input;
      input.ids = tensor::Tensor::from(ids, {1, static_cast<int64_t>(ids.size())}, memory.activations);
      const auto hidden = model.forward(graph, input).hidden;
      const std::vector<float> logits = models::logits(graph, model, hidden).value().to_vector<float>();
      const auto last = logits.end() - model.vocabulary_size();
      made.push_back(static_cast<int32_t>(std::max_element(last, logits.end()) - last));
      ids.push_back(made.back());
    }
    return made;
  }
};

TEST(Generator, TheCacheChangesNothing) {
  Fixture fixture;
  GenerationOptions options;
  options.sampling.temperature = 0.0;
  options.max_tokens = 12;
  for (const DType type : {DType::f32, DType::bf16}) {
    EXPECT_EQ(fixture.run({5, 1, 7}, options, type), fixture.run_plainly({5, 1, 7}, 12, type));
  }
}

TEST(Generator, GuessesChangeNothing) {
  Fixture fixture, other;
  other.model.parameters().initialize(4);
  for (const double temperature : {0.0, 0.7}) {
    GenerationOptions options;
    options.sampling.temperature = temperature;
    options.sampling.seed = 3;
    for (const int64_t max_tokens : {1, 2, 5, 12, 40}) {  // the last one fills the context
      options.max_tokens = max_tokens;
      FinishReason expected_reason{}, reason{};
      const std::vector<int32_t> expected = fixture.run({5, 1, 7, 5, 1}, options, DType::f32, &expected_reason);
      // The model itself guesses right where the likeliest token is taken, another one mostly wrong.
      for (Fixture* source : {&fixture, &other}) {
        ModelDrafter drafter(source->model, source->memory, DType::f32, 100);
        DraftCounts drafts;
        EXPECT_EQ(fixture.run({5, 1, 7, 5, 1}, options, DType::f32, &reason, &drafter, &drafts), expected);
        EXPECT_EQ(reason, expected_reason);
        EXPECT_LE(drafts.right, drafts.guessed);
        EXPECT_EQ(drafts.guessed > 0, max_tokens > 2);
        if (source == &fixture && temperature == 0.0) {
          EXPECT_EQ(drafts.right, drafts.guessed);
        }
      }
      LookupDrafter lookup;
      EXPECT_EQ(fixture.run({5, 1, 7, 5, 1}, options, DType::f32, &reason, &lookup), expected);
    }
  }
}

TEST(Generator, SaysWhyItEnded) {
  Fixture fixture;
  GenerationOptions options;
  options.sampling.temperature = 0.0;
  options.max_tokens = 4;
  FinishReason reason{};
  const std::vector<int32_t> made = fixture.run({5, 1, 7}, options, DType::f32, &reason);
  EXPECT_EQ(made.size(), 4U);
  EXPECT_EQ(reason, FinishReason::length);
  options.max_tokens = 100;
  EXPECT_EQ(fixture.run({5, 1, 7}, options, DType::f32, &reason).size(), 21U);
  EXPECT_EQ(reason, FinishReason::context);
  options.end_tokens = {made[1]};
  EXPECT_LE(fixture.run({5, 1, 7}, options, DType::f32, &reason).size(), 1U);
  EXPECT_EQ(reason, FinishReason::end_token);
}

TEST(Generator, MakesOnlyTokensThatTheTokenizerHas) {
  Fixture fixture;
  GenerationOptions options;
  options.max_tokens = 20;
  options.sampling.temperature = 5.0;
  options.token_count = 6;
  for (uint64_t seed = 0; seed < 5; ++seed) {
    options.sampling.seed = seed;
    EXPECT_THAT(fixture.run({3}, options, DType::f32), testing::Each(testing::Lt(6)));
  }
}

TEST(Generator, RefusesPromptsWithTheNumbers) {
  Fixture fixture;
  try {
    fixture.run(std::vector<int32_t>(24, 1), {}, DType::f32);
    FAIL() << "a prompt without room for an answer was taken";
  } catch (const base::Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("24 tokens"));
  }
  EXPECT_THROW(fixture.run({}, {}, DType::f32), base::Error);
  EXPECT_THROW(fixture.run({40}, {}, DType::f32), base::Error);
}

}  // namespace
}  // namespace fledge::infer
