#include "infer/batch_scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <thread>

#include "base/error.h"
#include "base/random.h"
#include "infer/batch_engine.h"
#include "models/gpt2.h"

namespace fledge::infer {
namespace {

using tensor::DType;
using testing::HasSubstr;

constexpr int64_t kContext = 400;

struct Model {
  nn::Memory memory;
  models::Gpt2 model;

  explicit Model(uint64_t seed = 9, int64_t layers = 2) : model(config(layers)) {
    model.parameters().allocate(memory, DType::f32, false);
    model.parameters().initialize(seed);
  }
  static models::Gpt2Config config(int64_t layers) {
    models::Gpt2Config config;
    config.vocab_size = 40;
    config.n_positions = kContext;
    config.n_embd = 16;
    config.n_layer = layers;
    config.n_head = 2;
    config.initializer_range = 0.3;
    return config;
  }

  /// What one request gets on its own, from the plain generator.
  std::vector<int32_t> alone(const Request& request, DType type) {
    std::vector<int32_t> made;
    Generator generator(model, memory, type);
    generator.generate(request.prompt, request.options, [&](const SampledToken& token) {
      made.push_back(token.token);
      return true;
    });
    return made;
  }
};

struct Answer : RequestListener {
  std::vector<int32_t> tokens;
  std::vector<SampledToken> prompt;
  RequestResult result;
  bool finished = false;
  int64_t stop_after = -1;

  void on_prompt(const std::vector<SampledToken>& scored) override { prompt = scored; }
  bool on_token(const SampledToken& token) override {
    tokens.push_back(token.token);
    return static_cast<int64_t>(tokens.size()) != stop_after;
  }
  void on_finish(const RequestResult& how) override {
    EXPECT_FALSE(finished);
    result = how;
    finished = true;
  }
};

Request make_request(uint64_t number, int64_t prompt_tokens, int64_t max_tokens, double temperature = 1.0) {
  const base::Random random(77, number);
  Request request;
  for (int64_t index = 0; index < prompt_tokens; ++index) {
    request.prompt.push_back(static_cast<int32_t>(random.below(40, static_cast<uint64_t>(index))));
  }
  request.options.max_tokens = max_tokens;
  request.options.sampling.temperature = temperature;
  request.options.sampling.seed = number;
  return request;
}

/// Runs requests, each submitted after the given number of steps.
std::vector<std::shared_ptr<Answer>> run_all(BatchScheduler& scheduler, const std::vector<Request>& requests,
                                             int64_t steps_between) {
  std::vector<std::shared_ptr<Answer>> answers;
  bool more = true;
  for (const Request& request : requests) {
    answers.push_back(std::make_shared<Answer>());
    scheduler.check(request);
    scheduler.submit(answers.size(), request, answers.back());
    for (int64_t step = 0; step < steps_between; ++step) more = scheduler.step();
  }
  int64_t steps = 0;
  while (more || steps == 0) {
    more = scheduler.step();
    if (++steps > 20000) throw base::Error("the scheduler does not come to an end");
  }
  return answers;
}

std::vector<Request> mixed_requests(double temperature) {
  std::vector<Request> requests;
  for (const auto& [prompt, answer] :
       std::vector<std::pair<int64_t, int64_t>>{{3, 20}, {150, 5}, {1, 60}, {40, 1}, {300, 30}, {7, 12}, {129, 40}}) {
    requests.push_back(make_request(requests.size(), prompt, answer, temperature));
  }
  requests.push_back(requests[4]);  // the same prompt again
  requests.back().options.sampling.seed = 99;
  return requests;
}

TEST(BatchScheduler, EveryRequestGetsWhatItGetsAlone) {
  for (const DType type : {DType::f32, DType::bf16}) {
    Model model;
    const std::vector<Request> requests = mixed_requests(1.0);
    for (const int64_t step_tokens : {512, 64, 9}) {
      for (const int64_t between : {0, 3}) {
        BatchOptions options;
        options.activation_type = type;
        options.step_tokens = step_tokens;
        options.cache_tokens = 8000;
        BatchScheduler scheduler(model.model, model.memory, options);
        const auto answers = run_all(scheduler, requests, between);
        for (size_t index = 0; index < requests.size(); ++index) {
          EXPECT_EQ(answers[index]->tokens, model.alone(requests[index], type)) << index;
          EXPECT_EQ(answers[index]->result.reason, FinishReason::length);
          EXPECT_EQ(answers[index]->result.prompt_tokens, static_cast<int64_t>(requests[index].prompt.size()));
        }
        EXPECT_EQ(scheduler.statistics().free_pages, scheduler.statistics().pages);
      }
    }
  }
}

TEST(BatchScheduler, AFullCacheChangesNothing) {
  Model model;
  const std::vector<Request> requests = mixed_requests(1.0);
  for (const bool share : {true, false}) {
    BatchOptions options;
    options.cache_tokens = 400;  // room for about one long sequence
    options.share_prefixes = share;
    BatchScheduler scheduler(model.model, model.memory, options);
    const auto answers = run_all(scheduler, requests, 1);
    for (size_t index = 0; index < requests.size(); ++index) {
      EXPECT_EQ(answers[index]->tokens, model.alone(requests[index], DType::f32)) << index;
    }
    EXPECT_EQ(scheduler.statistics().free_pages, scheduler.statistics().pages);
    EXPECT_GT(scheduler.statistics().preemptions, 0);
  }
}

TEST(BatchScheduler, APromptThatBeginsAlikeIsNotReadAgain) {
  Model model;
  BatchOptions options;
  options.cache_tokens = 4000;
  BatchScheduler scheduler(model.model, model.memory, options);
  const Request first = make_request(1, 200, 20);
  Request second = first;
  second.prompt.resize(170);
  second.prompt.push_back(5);
  const auto answers = run_all(scheduler, {first}, 0);
  const auto again = run_all(scheduler, {second}, 0);
  EXPECT_EQ(answers[0]->result.cached_tokens, 0);
  EXPECT_EQ(again[0]->result.cached_tokens, 170);
  EXPECT_EQ(again[0]->tokens, model.alone(second, DType::f32));

  // A chat goes on: the prompt is all that was said before.
  Request turn = first;
  turn.prompt.insert(turn.prompt.end(), answers[0]->tokens.begin(), answers[0]->tokens.end());
  turn.prompt.push_back(3);
  const auto next = run_all(scheduler, {turn}, 0);
  EXPECT_GE(next[0]->result.cached_tokens, 200 + 19);
  EXPECT_EQ(next[0]->tokens, model.alone(turn, DType::f32));
}

TEST(BatchScheduler, GuessesChangeNothing) {
  Model model, other(4, 1);
  std::vector<Request> requests = mixed_requests(0.0);
  for (Request& request : mixed_requests(0.7)) requests.push_back(request);
  const auto drafters = [&](int kind) -> std::unique_ptr<Drafter> {
    if (kind == 0) return std::make_unique<LookupDrafter>();
    // The model itself guesses right, another one mostly wrong.
    Model& source = kind == 1 ? model : other;
    return std::make_unique<ModelDrafter>(source.model, source.memory, DType::f32, 3000);
  };
  for (const int kind : {0, 1, 2}) {
    BatchOptions options;
    options.cache_tokens = 4000;
    options.most_running = 4;
    BatchScheduler scheduler(model.model, model.memory, options, drafters(kind));
    const auto answers = run_all(scheduler, requests, 2);
    int64_t answer_tokens = 0;
    for (size_t index = 0; index < requests.size(); ++index) {
      EXPECT_EQ(answers[index]->tokens, model.alone(requests[index], DType::f32)) << kind << " " << index;
      answer_tokens += static_cast<int64_t>(answers[index]->tokens.size());
      const RequestResult& result = answers[index]->result;
      if (kind == 1 && requests[index].options.sampling.temperature == 0 && result.reason == FinishReason::length) {
        EXPECT_EQ(result.drafts.right, result.drafts.guessed) << index;
      }
    }
    EXPECT_EQ(scheduler.statistics().free_pages, scheduler.statistics().pages);
    const DraftCounts drafts = scheduler.statistics().drafts;
    EXPECT_LE(drafts.right, drafts.guessed);
    if (kind == 1) {
      EXPECT_LT(scheduler.statistics().steps, answer_tokens);
      EXPECT_GT(drafts.right, 0);
    }
  }
}

TEST(BatchScheduler, GuessesTakeNoPages) {
  Model model;
  BatchOptions options;
  options.cache_tokens = 300;
  // The first fills all pages alone; the others give theirs up for one another.
  const std::vector<std::vector<Request>> cases = {{make_request(1, 200, 190, 0.0)},
                                                   {make_request(2, 100, 100, 0.0), make_request(3, 100, 100, 0.0)}};
  for (const std::vector<Request>& requests : cases) {
    BatchScheduler plain(model.model, model.memory, options);
    const auto expected = run_all(plain, requests, 0);
    BatchScheduler drafting(model.model, model.memory, options,
                            std::make_unique<ModelDrafter>(model.model, model.memory, DType::f32, 1000));
    const auto answers = run_all(drafting, requests, 0);
    for (size_t index = 0; index < requests.size(); ++index) {
      EXPECT_EQ(answers[index]->result.reason, expected[index]->result.reason) << index;
      EXPECT_EQ(answers[index]->tokens, expected[index]->tokens) << index;
    }
    EXPECT_LT(drafting.statistics().steps, plain.statistics().steps);
    EXPECT_LE(drafting.statistics().preemptions, plain.statistics().preemptions);
  }
}

TEST(BatchScheduler, ScoresPrompts) {
  Model model;
  Request request = make_request(3, 150, 2, 0.0);
  request.prompt_alternatives = 2;
  BatchOptions options;
  options.step_tokens = 64;
  options.cache_tokens = 2000;
  BatchScheduler scheduler(model.model, model.memory, options);
  run_all(scheduler, {make_request(3, 150, 2)}, 0);  // what it leaves behind must not be used
  const auto answers = run_all(scheduler, {request}, 0);
  ASSERT_EQ(answers[0]->prompt.size(), 149U);

  grad::Graph graph(model.memory.activations, model.memory.encodings, DType::f32, false);
  models::ForwardInput input;
  input.ids = tensor::Tensor::from(request.prompt, {1, 150}, model.memory.activations);
  const tensor::Tensor logits =
      models::logits(graph, model.model, model.model.forward(graph, input).hidden).value().reshape({150, 40});
  for (int64_t position = 1; position < 150; ++position) {
    const std::vector<float> row = logits.slice(0, position - 1, 1).to_vector<float>();
    double sum = 0;
    for (const float logit : row) sum += std::exp(static_cast<double>(logit));
    const SampledToken& scored = answers[0]->prompt[static_cast<size_t>(position) - 1];
    EXPECT_EQ(scored.token, request.prompt[static_cast<size_t>(position)]);
    EXPECT_NEAR(scored.log_probability, row[static_cast<size_t>(scored.token)] - std::log(sum), 1e-6);
    EXPECT_EQ(scored.alternatives.size(), 2U);
  }
}

TEST(BatchScheduler, EndsWhereItShould) {
  Model model;
  BatchOptions options;
  options.cache_tokens = 1000;
  BatchScheduler scheduler(model.model, model.memory, options);
  Request long_request = make_request(5, 390, 100);
  Request ends = make_request(6, 5, 50, 0.0);
  const std::vector<int32_t> greedy = model.alone(ends, DType::f32);
  ends.options.end_tokens = {greedy[3]};
  const auto answers = run_all(scheduler, {long_request, ends}, 0);
  EXPECT_EQ(answers[0]->result.reason, FinishReason::context);
  EXPECT_EQ(answers[0]->tokens.size(), 10U);
  EXPECT_EQ(answers[1]->result.reason, FinishReason::end_token);
  EXPECT_LE(answers[1]->tokens.size(), 3U);

  // The listener wants no more; somebody cancels.
  auto stops = std::make_shared<Answer>(), cancelled = std::make_shared<Answer>();
  stops->stop_after = 4;
  scheduler.submit(11, make_request(7, 5, 50), stops);
  scheduler.submit(12, make_request(8, 5, 50), cancelled);
  for (int step = 0; step < 8; ++step) scheduler.step();
  EXPECT_EQ(stops->tokens.size(), 4U);
  EXPECT_EQ(stops->result.reason, FinishReason::cancelled);
  EXPECT_FALSE(cancelled->finished);
  scheduler.cancel(12);
  EXPECT_FALSE(scheduler.step());
  EXPECT_TRUE(cancelled->finished);
  EXPECT_EQ(scheduler.statistics().requests_cancelled, 2);
}

TEST(BatchScheduler, RefusesWhatCannotBeAnswered) {
  Model model;
  BatchOptions options;
  options.cache_tokens = 300;
  BatchScheduler scheduler(model.model, model.memory, options);
  const auto refuse = [&](const Request& request, const char* sentence) {
    try {
      scheduler.check(request);
      FAIL() << sentence;
    } catch (const base::UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr(sentence));
    }
  };
  refuse({}, "at least one token");
  refuse(make_request(1, 400, 5), "has 400 tokens and the model's context is 400");
  refuse(make_request(1, 399, 5), "the cache has room for");
  Request request = make_request(1, 3, 5);
  request.prompt[1] = 40;
  refuse(request, "token 40");
  request = make_request(1, 3, 0);
  refuse(request, "max_tokens is 0");
  request = make_request(1, 3, 5);
  request.options.sampling.top_p = 2;
  refuse(request, "top_p");
}

/// Allows even tokens, at most three of them.
class EvenTokens : public TokenConstraint {
 public:
  void allowed(std::span<uint64_t> mask) override { std::ranges::fill(mask, accepted_ < 3 ? 0x5555555555555555U : 0U); }
  bool may_end() const override { return accepted_ == 3; }
  void accept(int32_t) override { ++accepted_; }

 private:
  int accepted_ = 0;
};

TEST(BatchScheduler, AConstraintIsObeyed) {
  Model model;
  BatchOptions options;
  options.cache_tokens = 1000;
  BatchScheduler scheduler(model.model, model.memory, options, std::make_unique<LookupDrafter>());
  std::vector<Request> requests;
  for (uint64_t number = 0; number < 6; ++number) {
    requests.push_back(make_request(number, 4, 20));
    requests.back().constraint = std::make_shared<EvenTokens>();
    requests.back().options.end_tokens = {2};
  }
  for (const auto& answer : run_all(scheduler, requests, 1)) {
    EXPECT_EQ(answer->tokens.size(), 3U);
    for (const int32_t token : answer->tokens) EXPECT_TRUE(token % 2 == 0 && token != 2) << token;
    EXPECT_EQ(answer->result.reason, FinishReason::end_token);
  }
}

TEST(BatchScheduler, DamagedWeightsFailTheRequestAlone) {
  Model model;
  model.model.parameters().find("transformer.wpe.weight")->value().slice(0, 10, 1).data<float>()[0] = NAN;
  BatchOptions options;
  options.cache_tokens = 1000;
  BatchScheduler scheduler(model.model, model.memory, options);
  const auto answers = run_all(scheduler, {make_request(1, 5, 3), make_request(2, 20, 3)}, 0);
  EXPECT_EQ(answers[0]->result.error, "");
  EXPECT_EQ(answers[0]->tokens.size(), 3U);
  EXPECT_THAT(answers[1]->result.error, HasSubstr("its weights are damaged"));
}

struct WaitingAnswer : Answer {
  std::mutex mutex;
  std::condition_variable changed;
  void on_finish(const RequestResult& how) override {
    const std::lock_guard lock(mutex);
    Answer::on_finish(how);
    changed.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return finished; });
  }
};

TEST(BatchEngine, ServesManyThreads) {
  Model model;
  const std::vector<Request> requests = mixed_requests(1.0);
  std::vector<std::vector<int32_t>> expected;
  for (const Request& request : requests) expected.push_back(model.alone(request, DType::f32));
  BatchOptions options;
  options.cache_tokens = 3000;
  BatchEngine engine(model.model, model.memory, options);
  std::vector<std::thread> threads;
  for (size_t first = 0; first < 4; ++first) {
    threads.emplace_back([&, first] {
      for (size_t round = 0; round < requests.size(); ++round) {
        const size_t index = (first + round) % requests.size();
        const auto answer = std::make_shared<WaitingAnswer>();
        engine.submit(requests[index], answer);
        answer->wait();
        EXPECT_EQ(answer->tokens, expected[index]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // Counted at the end of the step that finished them, which may come after the listeners heard of it.
  const auto all = static_cast<int64_t>(4 * requests.size());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (engine.statistics().requests_finished < all && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(engine.statistics().requests_finished, all);
  EXPECT_GT(engine.statistics().cached_tokens, 0);
}

TEST(BatchEngine, AFullQueueRefusesAndAnEndCancels) {
  Model model;
  std::vector<std::shared_ptr<WaitingAnswer>> taken;
  {
    BatchOptions options;
    options.cache_tokens = 1000;
    options.most_running = 1;
    options.most_waiting = 2;
    BatchEngine engine(model.model, model.memory, options);
    int refused = 0;
    for (int request = 0; request < 8; ++request) {
      taken.push_back(std::make_shared<WaitingAnswer>());
      try {
        engine.submit(make_request(1, 5, 390), taken.back());
      } catch (const QueueFullError& error) {
        EXPECT_THAT(error.what(), HasSubstr("waiting already"));
        taken.pop_back();
        ++refused;
      }
    }
    EXPECT_GE(refused, 4);
    EXPECT_EQ(engine.statistics().requests_refused, refused);
  }
  for (const auto& request : taken) EXPECT_TRUE(request->finished);
}

}  // namespace
}  // namespace fledge::infer
