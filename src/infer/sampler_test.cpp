#include "infer/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/random.h"

namespace fledge::infer {
namespace {

using ::testing::HasSubstr;

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

std::vector<float> random_logits(size_t count, uint64_t seed, double spread) {
  const base::Random random(seed, 0);
  std::vector<float> logits(count);
  for (size_t i = 0; i < count; ++i) logits[i] = static_cast<float>(spread * random.normal(i));
  return logits;
}

/// Probability of every token that may be drawn: the definitions written down plainly, in f64, with a full sort.
std::map<int32_t, double> plain_distribution(const std::vector<float>& logits, const SamplingOptions& options,
                                             const std::vector<int32_t>& history = {}) {
  std::vector<double> scores(logits.begin(), logits.end());
  for (size_t token = 0; token < scores.size(); ++token) {
    if (std::ranges::find(history, static_cast<int32_t>(token)) == history.end()) continue;
    scores[token] *= scores[token] < 0 ? options.repetition_penalty : 1 / options.repetition_penalty;
  }
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return scores[size_t(a)] > scores[size_t(b)]; });
  const auto probabilities = [&] {
    std::vector<double> result;
    for (const int32_t token : order) {
      result.push_back(std::exp((scores[size_t(token)] - scores[size_t(order[0])]) / options.temperature));
    }
    const double total = std::accumulate(result.begin(), result.end(), 0.0);
    for (double& probability : result) probability /= total;
    return result;
  };
  if (options.top_k > 0) order.resize(std::min(order.size(), size_t(options.top_k)));
  if (options.top_p < 1) {
    size_t kept = 0;
    double sum = 0;
    for (const double probability : probabilities()) {
      ++kept;
      sum += probability;
      if (sum >= options.top_p) break;
    }
    order.resize(kept);
  }
  size_t kept = 0;
  const std::vector<double> before = probabilities();
  while (kept < order.size() && before[kept] >= options.min_p * before[0]) ++kept;
  order.resize(kept);
  const std::vector<double> last = probabilities();
  std::map<int32_t, double> result;
  for (size_t i = 0; i < order.size(); ++i) result[order[i]] = last[i];
  return result;
}

/// Draws often and compares the counts with the distribution: chi-squared with tokens of fewer than 10 expected draws
/// taken together, at most 5 standard deviations above its mean. The seeds are fixed, so the verdict never changes.
void expect_distribution(const std::vector<float>& logits, const SamplingOptions& options, uint64_t draws,
                         const std::vector<int32_t>& history = {}) {
  const std::map<int32_t, double> expected = plain_distribution(logits, options, history);
  std::map<int32_t, double> counts;
  Sampler sampler(options);
  for (uint64_t position = 0; position < draws; ++position) {
    const SampledToken drawn = sampler.next(logits, position, history);
    const auto found = expected.find(drawn.token);
    ASSERT_NE(found, expected.end()) << "token " << drawn.token << " was filtered out";
    // Weights in f32, to 2e-7 each; the logarithm of their sum differs by no more, rounded up for the f32 sums.
    ASSERT_NEAR(drawn.sampling_log_probability, std::log(found->second), 2e-6);
    counts[drawn.token] += 1;
  }
  double statistic = 0, rest_expected = 0, rest_count = 0;
  int cells = 0;
  const auto add = [&](double count, double mean) {
    statistic += (count - mean) * (count - mean) / mean;
    ++cells;
  };
  for (const auto& [token, probability] : expected) {
    const double mean = probability * static_cast<double>(draws);
    if (mean >= 10) {
      add(counts[token], mean);
    } else {
      rest_expected += mean;
      rest_count += counts[token];
    }
  }
  if (rest_expected >= 10) add(rest_count, rest_expected);
  const double freedom = cells - 1;
  EXPECT_LE(statistic, freedom + 5 * std::sqrt(2 * freedom) + 1e-9) << cells << " cells";
}

TEST(Sampler, DrawsFromTheWholeDistribution) {
  expect_distribution(random_logits(50, 1, 1.0), {.seed = 1}, 50000);
  expect_distribution(random_logits(1000, 2, 2.0), {.temperature = 0.7, .seed = 2}, 20000);
  expect_distribution(random_logits(65, 3, 1.0), {.temperature = 3, .seed = 3}, 20000);
  expect_distribution({0.5f}, {.seed = 4}, 10);
}

TEST(Sampler, DrawsThroughEveryFilterAlone) {
  const std::vector<float> logits = random_logits(700, 5, 2.0);
  expect_distribution(logits, {.top_k = 40, .seed = 1}, 20000);
  expect_distribution(logits, {.temperature = 1.3, .top_k = 200, .seed = 2}, 10000);
  expect_distribution(logits, {.top_k = 5000, .seed = 3}, 5000);
  expect_distribution(logits, {.top_p = 0.5, .seed = 4}, 10000);
  expect_distribution(logits, {.temperature = 2, .top_p = 0.95, .seed = 5}, 10000);
  expect_distribution(logits, {.min_p = 0.05, .seed = 6}, 20000);
  expect_distribution(logits, {.top_p = 1e-9, .seed = 7}, 100);
}

/// Top-p over a large vocabulary, likely and flat, keeps as many tokens as the definition does.
TEST(Sampler, TopPOfALargeVocabulary) {
  for (const double spread : {0.0, 0.01, 1.0, 5.0}) {
    const std::vector<float> logits = random_logits(40000, 6, spread);
    for (const double top_p : {0.3, 0.9, 0.999}) {
      const SamplingOptions options{.temperature = 0.9, .top_p = top_p, .seed = 1};
      const std::map<int32_t, double> expected = plain_distribution(logits, options);
      Sampler sampler(options);
      for (uint64_t position = 0; position < 20; ++position) {
        const SampledToken drawn = sampler.next(logits, position);
        const auto found = expected.find(drawn.token);
        ASSERT_NE(found, expected.end()) << spread << " " << top_p;
        // One token more or less at the edge is rounding: its share is below 1 / (0.3 * 40000) in a flat distribution.
        ASSERT_NEAR(drawn.sampling_log_probability, std::log(found->second), 1e-4) << spread << " " << top_p;
      }
    }
  }
}

TEST(Sampler, DrawsThroughFiltersTogether) {
  const std::vector<float> logits = random_logits(800, 8, 3.0);
  expect_distribution(logits, {.temperature = 0.8, .top_k = 50, .top_p = 0.9, .min_p = 0.02, .seed = 1}, 10000);
  expect_distribution(logits, {.temperature = 1.5, .top_k = 300, .top_p = 0.8, .seed = 2}, 10000);
  expect_distribution(logits, {.temperature = 1.2, .top_p = 0.9, .min_p = 0.01, .seed = 3}, 10000);
  const std::vector<int32_t> history{3, 799, 7, 3, 41, 17};
  expect_distribution(logits, {.top_k = 100, .repetition_penalty = 1.3, .seed = 4}, 10000, history);
}

TEST(Sampler, PenalizesWhatWasUsedOnce) {
  const std::vector<float> logits{2.0f, 1.9f, -1.0f, -1.05f};
  EXPECT_EQ(Sampler({.temperature = 0}).next(logits, 0, std::vector<int32_t>{0}).token, 0);
  Sampler penalizing({.temperature = 0, .repetition_penalty = 1.1});
  EXPECT_EQ(penalizing.next(logits, 0).token, 0);
  EXPECT_EQ(penalizing.next(logits, 0, std::vector<int32_t>{0}).token, 1);
  // 2.0 / 1.1 = 1.82 > 1.9 / 1.1 = 1.73: a repeat in the history changes nothing.
  EXPECT_EQ(penalizing.next(logits, 0, std::vector<int32_t>{0, 0, 0, 1}).token, 0);
  // A negative logit is multiplied: -1.0 * 1.1 = -1.1 < -1.05.
  EXPECT_EQ(penalizing.next(std::span(logits).subspan(2), 0, std::vector<int32_t>{0}).token, 1);
  EXPECT_THROW(penalizing.next(logits, 0, std::vector<int32_t>{4}), base::Error);
  EXPECT_THROW(penalizing.next(logits, 0, std::vector<int32_t>{-1}), base::Error);
}

TEST(Sampler, BreaksTiesByTheLowestId) {
  std::vector<float> logits(1000, 1.0f);
  logits[700] = logits[300] = 5.0f;
  EXPECT_EQ(Sampler({.temperature = 0}).next(logits, 0).token, 300);
  EXPECT_EQ(Sampler({.top_k = 1, .seed = 1}).next(logits, 0).token, 300);
  const SampledToken sampled = Sampler({.top_k = 4, .seed = 1, .alternatives = 4}).next(logits, 0);
  std::vector<int32_t> tokens;
  for (const TokenProbability& alternative : sampled.alternatives) tokens.push_back(alternative.token);
  EXPECT_THAT(tokens, ::testing::ElementsAre(300, 700, 0, 1));
  // The same through the other way of selecting, for more than a sixteenth of the vocabulary.
  Sampler wide({.top_k = 100, .seed = 1});
  for (uint64_t position = 0; position < 300; ++position) {
    const int32_t token = wide.next(logits, position).token;
    EXPECT_TRUE(token < 98 || token == 300 || token == 700) << token;
  }
}

TEST(Sampler, ReportsTheModelsOwnProbabilities) {
  const std::vector<float> logits = random_logits(50257, 9, 4.0);
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));
  for (const double temperature : {0.0, 0.5}) {
    Sampler sampler({.temperature = temperature, .top_k = 3, .repetition_penalty = 1.5, .alternatives = 5});
    const SampledToken sampled = sampler.next(logits, 7, std::vector<int32_t>{1, 2, 3});
    EXPECT_NEAR(sampled.log_probability, logits[static_cast<size_t>(sampled.token)] - std::log(total), 2e-6);
    ASSERT_EQ(sampled.alternatives.size(), 5u);
    EXPECT_EQ(sampled.alternatives[0].token, std::ranges::max_element(logits) - logits.begin());
    for (size_t i = 0; i < 5; ++i) {
      const auto& alternative = sampled.alternatives[i];
      EXPECT_NEAR(alternative.log_probability, logits[static_cast<size_t>(alternative.token)] - std::log(total), 2e-6);
      EXPECT_LE(alternative.log_probability, sampled.alternatives[i == 0 ? 0 : i - 1].log_probability);
    }
  }
}

TEST(Sampler, AResultDependsOnSeedAndPositionAlone) {
  const std::vector<float> logits = random_logits(500, 10, 1.0);
  Sampler first({.seed = 5}), second({.seed = 5}), other({.seed = 6});
  std::vector<int32_t> forward, backward, different;
  for (uint64_t position = 0; position < 50; ++position) {
    forward.push_back(first.next(logits, position).token);
    different.push_back(other.next(logits, position).token);
  }
  for (uint64_t position = 50; position-- > 0;) backward.push_back(second.next(logits, position).token);
  std::ranges::reverse(backward);
  EXPECT_EQ(forward, backward);
  EXPECT_NE(forward, different);
}

TEST(Sampler, NeverDrawsAForbiddenToken) {
  std::vector<float> logits(300, kForbidden);
  logits[7] = -5000.0f;
  logits[250] = -5001.0f;
  for (const SamplingOptions& options :
       {SamplingOptions{}, SamplingOptions{.temperature = 0}, SamplingOptions{.top_k = 50},
        SamplingOptions{.temperature = 1e5, .top_p = 0.999999}, SamplingOptions{.temperature = 1e-5},
        SamplingOptions{.min_p = 1e-3}, SamplingOptions{.repetition_penalty = 2}}) {
    Sampler sampler(options);
    for (uint64_t position = 0; position < 200; ++position) {
      const int32_t token = sampler.next(logits, position, std::vector<int32_t>{9}).token;
      EXPECT_TRUE(token == 7 || token == 250) << token;
    }
  }
  EXPECT_EQ(Sampler({.alternatives = 20}).next(logits, 0).alternatives.size(), 2u);
}

template <typename Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const base::Error& error) {
    return error.what();
  }
  return "";
}

TEST(Sampler, RefusesDamagedLogits) {
  std::vector<float> logits(100, 0.0f);
  const auto fault = [&] { return error_of([&] { Sampler({}).next(logits, 0); }); };
  logits[31] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(fault(), HasSubstr("gives token 31 the logit nan"));
  logits[31] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(fault(), HasSubstr("gives token 31 the logit inf"));
  logits.assign(100, kForbidden);
  EXPECT_THAT(fault(), HasSubstr("none of the 100 tokens is allowed"));
  logits.clear();
  EXPECT_THAT(fault(), HasSubstr("none of the 0 tokens"));
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  const auto fault = [](const SamplingOptions& options) {
    try {
      check_sampling_options(options);
    } catch (const base::UsageError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(fault({}), "");
  EXPECT_EQ(fault({.temperature = -1}),
            "the sampling option temperature is -1, expected 0 (greedy) or 0.00001 to 100000");
  EXPECT_THAT(fault({.temperature = nan}), HasSubstr("temperature is nan"));
  EXPECT_THAT(fault({.temperature = 1e-9}), HasSubstr("temperature is 1e-09"));
  EXPECT_THAT(fault({.top_k = -1}), HasSubstr("top_k is -1"));
  EXPECT_THAT(fault({.top_p = 0}), HasSubstr("top_p is 0, expected more than 0 and at most 1"));
  EXPECT_THAT(fault({.top_p = 1.1}), HasSubstr("top_p is 1.1"));
  EXPECT_THAT(fault({.top_p = nan}), HasSubstr("top_p is nan"));
  EXPECT_THAT(fault({.min_p = -0.1}), HasSubstr("min_p is -0.1"));
  EXPECT_THAT(fault({.repetition_penalty = 0}), HasSubstr("repetition_penalty is 0"));
  EXPECT_THAT(fault({.alternatives = -1}), HasSubstr("alternatives is -1"));
}

TEST(Sampler, FrequencyAndPresencePenaltiesAndBiasesShiftTheLogits) {
  // Token 3 stands in the prompt twice and in the answer once, token 5 in the answer three times, token 7 nowhere.
  const std::vector<float> logits = random_logits(40, 3, 1.0);
  const std::vector<int32_t> history{3, 3, 5, 3, 5, 5};
  SamplingOptions options;
  options.seed = 11;
  options.frequency_penalty = 0.5;
  options.presence_penalty = -0.75;
  options.logit_bias = {{7, 1.5f}, {9, -100.0f}};
  std::vector<float> shifted = logits;
  shifted[3] -= 0.5f - 0.75f;
  shifted[5] -= 3 * 0.5f - 0.75f;
  shifted[7] += 1.5f;
  shifted[9] -= 100.0f;
  const SamplingOptions plain{.seed = 11};
  Sampler with(options), without(plain);
  for (uint64_t position = 0; position < 500; ++position) {
    const SampledToken drawn = with.next(logits, position, history, 2);
    const SampledToken expected = without.next(shifted, position);
    ASSERT_EQ(drawn.token, expected.token);
    // The same additions in another order: two roundings of a logit of at most a few units.
    ASSERT_NEAR(drawn.sampling_log_probability, expected.sampling_log_probability, 4e-6);
    // What the model itself says is not touched.
    ASSERT_EQ(drawn.log_probability, Sampler(plain).score(logits, drawn.token, 0).log_probability);
  }
}

TEST(Sampler, RefusesPenaltiesAndBiasesOutOfRange) {
  EXPECT_THROW(Sampler({.frequency_penalty = 2.5}), base::UsageError);
  EXPECT_THROW(Sampler({.presence_penalty = -2.5}), base::UsageError);
  EXPECT_THROW(Sampler({.logit_bias = {{1, std::numeric_limits<float>::infinity()}}}), base::UsageError);
  Sampler beyond({.logit_bias = {{40, 1.0f}}});
  EXPECT_THROW(beyond.next(random_logits(40, 3, 1.0), 0), base::Error);
}

}  // namespace
}  // namespace fledge::infer
