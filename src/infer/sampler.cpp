#include "infer/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/random.h"

namespace fledge::infer {
namespace {

using base::Error;
using base::UsageError;

/// Key of the sampler's random numbers, apart from every other use of the seed.
constexpr uint64_t kStream = 0x73616d706c6572;
/// Elements whose weights are summed in f32; the sums of the blocks are added in f64.
constexpr size_t kBlock = 64;

/// exp(x) for x <= 0, to 2e-7 relative; 0 below -87. Written so that the compiler turns a loop of it into vector code:
/// the bits of a negative number grow as it falls, so the limit is an integer comparison, and __builtin_bit_cast takes
/// no reference as std::bit_cast does.
inline float exp_of_negative(float x) {
  constexpr uint32_t kLimit = std::bit_cast<uint32_t>(-87.0f);
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  constexpr uint32_t kRounderBits = std::bit_cast<uint32_t>(kRounder);
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  const uint32_t within = bits > kLimit ? 0u : ~0u;
  const uint32_t clamped_bits = bits > kLimit ? kLimit : bits;
  const float clamped = __builtin_bit_cast(float, clamped_bits);
  const float shifted = clamped * 1.44269504f + kRounder;
  const float n = shifted - kRounder;
  // ln 2 in two parts, so that the remainder keeps its last bits; then the series of exp up to the 7th power.
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.0f / 5040.0f;
  p = p * r + 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const uint32_t exponent = (__builtin_bit_cast(uint32_t, shifted) - kRounderBits + 127u) << 23;
  const float result = p * __builtin_bit_cast(float, exponent);
  return __builtin_bit_cast(float, __builtin_bit_cast(uint32_t, result) & within);
}

/// weights[i] = exp((logits[i] - largest) * sharpness) for up to kBlock logits; returns their sum.
float block_weights(std::span<const float> logits, float largest, float sharpness, float* weights) {
  float sum = 0;
  const float* const first = logits.data();
  const size_t count = logits.size();
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < count; ++i) {
    weights[i] = exp_of_negative((first[i] - largest) * sharpness);
    sum += weights[i];
  }
  return sum;
}

/// Sum of exp((logit - largest) * sharpness); the sum of every block where asked for.
double sum_of_weights(std::span<const float> logits, float largest, double sharpness,
                      std::vector<double>* block_sums = nullptr) {
  std::array<float, kBlock> weights;
  double total = 0;
  if (block_sums != nullptr) block_sums->clear();
  for (size_t first = 0; first < logits.size(); first += kBlock) {
    const auto block = logits.subspan(first, std::min(kBlock, logits.size() - first));
    const double sum = block_weights(block, largest, static_cast<float>(sharpness), weights.data());
    total += sum;
    if (block_sums != nullptr) block_sums->push_back(sum);
  }
  return total;
}

/// The largest logit, after the check that they make a distribution.
float checked_largest(std::span<const float> logits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float largest = -kInfinity;
  int nan = 0;
  const float* const first = logits.data();
  const size_t count = logits.size();
#pragma omp simd reduction(max : largest) reduction(| : nan)
  for (size_t i = 0; i < count; ++i) {
    largest = first[i] > largest ? first[i] : largest;
    nan |= first[i] != first[i];
  }
  if (nan != 0 || largest == kInfinity) {
    const auto wrong = std::ranges::find_if(logits, [](float logit) { return !(logit < kInfinity); });
    throw Error("the model gives token {} the logit {}, from which nothing can be drawn; its weights are damaged",
                wrong - logits.begin(), *wrong);
  }
  if (largest == -kInfinity) throw Error("none of the {} tokens is allowed at this place", logits.size());
  return largest;
}

void require(bool fine, const char* option, double value, const char* expected) {
  if (!fine) throw UsageError("the sampling option {} is {}, expected {}", option, value, expected);
}

}  // namespace

void check_sampling_options(const SamplingOptions& options) {
  require(options.temperature == 0 || (options.temperature >= 1e-5 && options.temperature <= 1e5), "temperature",
          options.temperature, "0 (greedy) or 0.00001 to 100000");
  require(options.top_k >= 0, "top_k", static_cast<double>(options.top_k), "0 (all tokens) or a positive number");
  require(options.top_p > 0 && options.top_p <= 1, "top_p", options.top_p, "more than 0 and at most 1");
  require(options.min_p >= 0 && options.min_p <= 1, "min_p", options.min_p, "0 to 1");
  require(options.repetition_penalty > 0 && std::isfinite(options.repetition_penalty), "repetition_penalty",
          options.repetition_penalty, "a positive number (1 for none)");
  require(std::abs(options.frequency_penalty) <= 2, "frequency_penalty", options.frequency_penalty, "-2 to 2");
  require(std::abs(options.presence_penalty) <= 2, "presence_penalty", options.presence_penalty, "-2 to 2");
  for (const TokenBias& bias : options.logit_bias) {
    require(std::isfinite(bias.bias), "logit_bias", bias.bias, "a finite number");
    require(bias.token >= 0, "logit_bias", bias.token, "a token's id");
  }
  require(options.alternatives >= 0, "alternatives", static_cast<double>(options.alternatives), "0 or more");
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) {
  check_sampling_options(options);
}

SampledToken Sampler::next(std::span<const float> logits, uint64_t position, std::span<const int32_t> history,
                           size_t prompt_size) {
  const float model_largest = checked_largest(logits);
  const std::span<const float> scores = penalized(logits, history, prompt_size);
  const float largest = scores.data() == logits.data() ? model_largest : checked_largest(scores);

  SampledToken result;
  if (options_.temperature == 0) {
    result.token = static_cast<int32_t>(std::ranges::find(scores, largest) - scores.begin());
  } else {
    const double uniform = base::Random(options_.seed, kStream).uniform_double(position);
    candidates_.clear();
    if (options_.top_k > 0) {
      select_likeliest(scores, std::min(static_cast<size_t>(options_.top_k), scores.size()));
    }
    if (options_.top_p < 1) keep_top_p(scores, largest);
    if (options_.min_p > 0) keep_min_p(scores, largest);
    if (candidates_.empty()) {
      draw_from_all(scores, largest, uniform, result);
    } else {
      draw_from_candidates(largest, uniform, result);
    }
  }
  if (options_.log_probability || options_.alternatives > 0) {
    report(logits, model_largest, std::log(sum_of_weights(logits, model_largest, 1.0)), options_.alternatives, result);
  }
  return result;
}

SampledToken Sampler::score(std::span<const float> logits, int32_t token, int64_t alternatives) {
  const float largest = checked_largest(logits);
  SampledToken result;
  result.token = token;
  report(logits, largest, std::log(sum_of_weights(logits, largest, 1.0)), alternatives, result);
  return result;
}

/// Fills in what the model itself says of a token and of the likeliest ones.
void Sampler::report(std::span<const float> logits, float largest, double log_total, int64_t alternatives,
                     SampledToken& token) {
  const auto log_probability = [&](int32_t id) {
    return static_cast<double>(logits[static_cast<size_t>(id)]) - largest - log_total;
  };
  token.log_probability = log_probability(token.token);
  if (alternatives <= 0) return;
  select_likeliest(logits, std::min(static_cast<size_t>(alternatives), logits.size()));
  for (const Candidate& candidate : candidates_) {
    if (candidate.logit == -std::numeric_limits<float>::infinity()) break;
    token.alternatives.push_back({candidate.token, log_probability(candidate.token)});
  }
}

/// The logits after penalties and biases; a copy only where there are any.
std::span<const float> Sampler::penalized(std::span<const float> logits, std::span<const int32_t> history,
                                          size_t prompt_size) {
  const bool repetition = options_.repetition_penalty != 1 && !history.empty();
  const bool occurrence = options_.frequency_penalty != 0 || options_.presence_penalty != 0;
  const std::span<const int32_t> answer = history.subspan(std::min(prompt_size, history.size()));
  if (!repetition && (!occurrence || answer.empty()) && options_.logit_bias.empty()) return logits;
  for (const int32_t token : history) {
    if (token < 0 || static_cast<size_t>(token) >= logits.size()) {
      throw Error("the history holds token {}, but the vocabulary has {} tokens", token, logits.size());
    }
  }
  penalized_.assign(logits.begin(), logits.end());
  if (repetition) penalize_repetition(logits, history);
  if (occurrence) {
    used_.assign(answer.begin(), answer.end());
    std::ranges::sort(used_);
    for (size_t i = 0; i < used_.size(); ++i) {
      double penalty = options_.frequency_penalty;
      if (i == 0 || used_[i] != used_[i - 1]) penalty += options_.presence_penalty;
      penalized_[static_cast<size_t>(used_[i])] -= static_cast<float>(penalty);
    }
  }
  for (const TokenBias& bias : options_.logit_bias) {
    if (static_cast<size_t>(bias.token) >= logits.size()) {
      throw Error("logit_bias names token {}, but the vocabulary has {} tokens", bias.token, logits.size());
    }
    penalized_[static_cast<size_t>(bias.token)] += bias.bias;
  }
  return penalized_;
}

void Sampler::penalize_repetition(std::span<const float> logits, std::span<const int32_t> history) {
  const auto penalty = static_cast<float>(options_.repetition_penalty);
  for (const int32_t token : history) {
    // From the logit as it was given: a token that occurred twice is not penalized twice.
    const float logit = logits[static_cast<size_t>(token)];
    penalized_[static_cast<size_t>(token)] = logit < 0 ? logit * penalty : logit / penalty;
  }
}

/// Makes candidates_ the `count` likeliest tokens, likeliest first.
void Sampler::select_likeliest(std::span<const float> logits, size_t count) {
  candidates_.clear();
  const auto candidate = [&](size_t token) { return Candidate{logits[token], static_cast<int32_t>(token)}; };
  if (count > logits.size() / 16) {
    for (size_t token = 0; token < logits.size(); ++token) candidates_.push_back(candidate(token));
    const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
    if (count < logits.size()) std::nth_element(candidates_.begin(), end, candidates_.end(), likelier);
    candidates_.erase(end, candidates_.end());
    std::sort(candidates_.begin(), candidates_.end(), likelier);
    return;
  }
  // A heap of the best so far, the worst of them on top: most tokens cost one comparison. A later token with an equal
  // logit has a higher id and stays out.
  for (size_t token = 0; token < count; ++token) candidates_.push_back(candidate(token));
  std::make_heap(candidates_.begin(), candidates_.end(), likelier);
  for (size_t token = count; token < logits.size(); ++token) {
    if (!(logits[token] > candidates_.front().logit)) continue;
    std::pop_heap(candidates_.begin(), candidates_.end(), likelier);
    candidates_.back() = candidate(token);
    std::push_heap(candidates_.begin(), candidates_.end(), likelier);
  }
  std::sort_heap(candidates_.begin(), candidates_.end(), likelier);
}

double Sampler::weight(float logit, float largest) const {
  return std::exp((static_cast<double>(logit) - largest) / options_.temperature);
}

/// Keeps the first candidates from `first` on (likeliest first) that bring `sum` to `mass`; all where they do not.
void Sampler::cut_at_mass(size_t first, double sum, double mass, float largest) {
  for (size_t i = first; i < candidates_.size() && sum < mass; ++i) {
    sum += weight(candidates_[i].logit, largest);
    first = i + 1;
  }
  candidates_.resize(std::max<size_t>(first, 1));
}

void Sampler::keep_top_p(std::span<const float> logits, float largest) {
  if (!candidates_.empty()) {
    double total = 0;
    for (const Candidate& candidate : candidates_) total += weight(candidate.logit, largest);
    cut_at_mass(0, 0, options_.top_p * total, largest);
    return;
  }
  // A histogram of the probability over the logits finds the bin in which the mass is reached: what is likelier stays
  // without being sorted, and only that bin is.
  constexpr size_t kBins = 2048;
  constexpr float kBinsPerNat = 64;
  const auto sharpness = static_cast<float>(1 / options_.temperature);
  const auto bin_of = [&](float logit) {
    const float below = (largest - logit) * sharpness * kBinsPerNat;
    return below < static_cast<float>(kBins) ? static_cast<size_t>(below) : kBins;
  };
  std::vector<double> bins(kBins + 1, 0.0);
  std::array<float, kBlock> weights;
  double total = 0;
  for (size_t first = 0; first < logits.size(); first += kBlock) {
    const auto block = logits.subspan(first, std::min(kBlock, logits.size() - first));
    total += block_weights(block, largest, sharpness, weights.data());
    for (size_t i = 0; i < block.size(); ++i) bins[bin_of(block[i])] += weights[i];
  }
  const double mass = options_.top_p * total;
  size_t last_bin = 0;
  double sum = 0;
  while (last_bin < kBins && sum + bins[last_bin] < mass) sum += bins[last_bin++];
  for (size_t token = 0; token < logits.size(); ++token) {
    if (bin_of(logits[token]) < last_bin) candidates_.push_back({logits[token], static_cast<int32_t>(token)});
  }
  const size_t sure = candidates_.size();
  for (size_t token = 0; token < logits.size(); ++token) {
    if (bin_of(logits[token]) == last_bin) candidates_.push_back({logits[token], static_cast<int32_t>(token)});
  }
  std::sort(candidates_.begin() + static_cast<std::ptrdiff_t>(sure), candidates_.end(), likelier);
  cut_at_mass(sure, sum, mass, largest);
}

void Sampler::keep_min_p(std::span<const float> logits, float largest) {
  // weight >= min_p, solved for the logit. The likeliest token always stays.
  const double margin = options_.temperature * std::log(options_.min_p);
  const auto stays = [&](float logit) { return static_cast<double>(logit) - largest >= margin; };
  if (!candidates_.empty()) {
    std::erase_if(candidates_, [&](const Candidate& candidate) { return !stays(candidate.logit); });
    return;
  }
  for (size_t token = 0; token < logits.size(); ++token) {
    if (stays(logits[token])) candidates_.push_back({logits[token], static_cast<int32_t>(token)});
  }
}

void Sampler::draw_from_all(std::span<const float> logits, float largest, double uniform, SampledToken& result) {
  const double total = sum_of_weights(logits, largest, 1 / options_.temperature, &block_sums_);
  double remaining = uniform * total;
  size_t chosen_block = 0;
  for (size_t block = 0; block < block_sums_.size(); ++block) {
    if (block_sums_[block] == 0) continue;
    chosen_block = block;
    if (remaining < block_sums_[block]) break;
    remaining -= block_sums_[block];
  }
  const size_t first = chosen_block * kBlock;
  const auto block = logits.subspan(first, std::min(kBlock, logits.size() - first));
  std::array<float, kBlock> weights;
  block_weights(block, largest, static_cast<float>(1 / options_.temperature), weights.data());
  // Where rounding leaves a crumb of `remaining` at the end, the last token that can be drawn is drawn.
  size_t chosen = 0;
  for (size_t i = 0; i < block.size(); ++i) {
    if (weights[i] == 0) continue;
    chosen = i;
    if (remaining < weights[i]) break;
    remaining -= weights[i];
  }
  result.token = static_cast<int32_t>(first + chosen);
  result.sampling_log_probability =
      (static_cast<double>(block[chosen]) - largest) / options_.temperature - std::log(total);
}

void Sampler::draw_from_candidates(float largest, double uniform, SampledToken& result) {
  double total = 0;
  for (const Candidate& candidate : candidates_) total += weight(candidate.logit, largest);
  double remaining = uniform * total;
  Candidate chosen = candidates_.front();
  for (const Candidate& candidate : candidates_) {
    const double share = weight(candidate.logit, largest);
    if (share == 0) continue;
    chosen = candidate;
    if (remaining < share) break;
    remaining -= share;
  }
  result.token = chosen.token;
  result.sampling_log_probability =
      (static_cast<double>(chosen.logit) - largest) / options_.temperature - std::log(total);
}

}  // namespace fledge::infer
