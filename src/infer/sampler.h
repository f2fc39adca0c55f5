#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fledge::infer {

/// What is added to the logit of one token.
struct TokenBias {
  int32_t token = 0;
  float bias = 0;
};

/// How the next token is drawn. The filters apply in the order of Hugging Face's transformers: repetition penalty (then
/// the frequency and presence penalties and the biases of OpenAI's API), temperature, top-k, top-p, min-p; each sees
/// what the one before it left, with probabilities that sum to one again.
struct SamplingOptions {
  /// Divides the logits; 0 takes the likeliest token (greedy).
  double temperature = 1;
  /// Keeps that many likeliest tokens; 0 keeps all. Of tokens with equal logits the lower id is kept.
  int64_t top_k = 0;
  /// Keeps the likeliest tokens up to this share of the probability, the token that reaches it included (nucleus
  /// sampling: Holtzman et al., "The curious case of neural text degeneration", 2020, section 3.1).
  double top_p = 1;
  /// Keeps tokens at least this share as likely as the likeliest one (Nguyen et al., "Turning up the heat: min-p
  /// sampling", 2024).
  double min_p = 0;
  /// Divides the positive logits of tokens that occurred before and multiplies the negative ones (Keskar et al.,
  /// "CTRL", 2019, section 4.1).
  double repetition_penalty = 1;
  /// Taken from the logit of a token for every time it occurred in the answer so far, and once for having occurred:
  /// logit -= count * frequency_penalty + (count > 0) * presence_penalty (OpenAI's API reference; -2 to 2).
  double frequency_penalty = 0;
  double presence_penalty = 0;
  /// Added to the logits. A token that stands here twice gets both.
  std::vector<TokenBias> logit_bias;
  uint64_t seed = 0;
  /// How many of the likeliest tokens to report beside the one that was drawn.
  int64_t alternatives = 0;
  /// Whether to say how likely the drawn token was: a pass over the vocabulary. Alternatives need it.
  bool log_probability = true;
};

/// Throws base::UsageError naming the first option that is out of its range.
void check_sampling_options(const SamplingOptions& options);

struct TokenProbability {
  int32_t token = 0;
  double log_probability = 0;
};

struct SampledToken {
  int32_t token = 0;
  /// Natural logarithm of the token's probability under the model itself: softmax of the logits as they were given. 0
  /// where nobody asked.
  double log_probability = 0;
  /// The same under the distribution that the token was drawn from (0 where greedy).
  double sampling_log_probability = 0;
  /// The likeliest tokens under the model itself, likeliest first, lower id first among equals.
  std::vector<TokenProbability> alternatives;
};

/// Draws tokens for one sequence. A draw depends on the options, the position and the logits and on nothing else, so a
/// request's result is its own, whatever runs beside it. Keeps its working memory; one thread at a time.
class Sampler {
 public:
  /// Throws base::UsageError (check_sampling_options).
  explicit Sampler(const SamplingOptions& options);

  const SamplingOptions& options() const { return options_; }

  /// The token at `position` of its sequence. `logits` [V]; minus infinity forbids a token. `history`: the tokens that
  /// the repetition penalty counts as used (ids of the vocabulary, repeats allowed), of which the first `prompt_size`
  /// are not the answer and left alone by the frequency and presence penalties. Throws base::Error where a logit is NaN
  /// or plus infinity, where every token is forbidden, or where a biased token is not in the vocabulary.
  SampledToken next(std::span<const float> logits, uint64_t position, std::span<const int32_t> history = {},
                    size_t prompt_size = 0);

  /// A token that stands there already, with its log-probability and `alternatives` beside it, as next() reports them.
  SampledToken score(std::span<const float> logits, int32_t token, int64_t alternatives);

 private:
  struct Candidate {
    float logit;
    int32_t token;
  };
  /// Likelier first; among equals, the lower id.
  static bool likelier(const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
  }
  std::span<const float> penalized(std::span<const float> logits, std::span<const int32_t> history, size_t prompt_size);
  void penalize_repetition(std::span<const float> logits, std::span<const int32_t> history);
  void report(std::span<const float> logits, float largest, double log_total, int64_t alternatives,
              SampledToken& token);
  void select_likeliest(std::span<const float> logits, size_t count);
  void keep_top_p(std::span<const float> logits, float largest);
  void keep_min_p(std::span<const float> logits, float largest);
  void cut_at_mass(size_t first, double sum, double mass, float largest);
  void draw_from_all(std::span<const float> logits, float largest, double uniform, SampledToken& result);
  void draw_from_candidates(float largest, double uniform, SampledToken& result);
  double weight(float logit, float largest) const;

  SamplingOptions options_;
  std::vector<Candidate> candidates_;
  std::vector<float> penalized_;
  std::vector<int32_t> used_;
  std::vector<double> block_sums_;
};

}  // namespace fledge::infer
