#include "train/objectives/preference_loss.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace fledge::train {
namespace {

double sigmoid(double x) {
  return x >= 0.0 ? 1.0 / (1.0 + std::exp(-x)) : std::exp(x) / (1.0 + std::exp(x));
}

double log_sigmoid(double x) {
  return x >= 0.0 ? -std::log1p(std::exp(-x)) : x - std::log1p(std::exp(x));
}

class Dpo : public PreferenceLoss {
 public:
  explicit Dpo(const PreferenceOptions& options) : options_(options) {}
  bool needs_reference() const override { return true; }

  std::vector<PairLoss> evaluate(std::span<const PairScores> pairs) const override {
    const double beta = options_.beta, smoothing = options_.label_smoothing;
    std::vector<PairLoss> losses;
    for (const PairScores& pair : pairs) {
      const double x = beta * ((pair.first - pair.first_reference) - (pair.second - pair.second_reference));
      const double slope = beta * (smoothing * sigmoid(x) - (1.0 - smoothing) * sigmoid(-x));
      losses.push_back({-(1.0 - smoothing) * log_sigmoid(x) - smoothing * log_sigmoid(-x), slope, -slope});
    }
    return losses;
  }

 private:
  PreferenceOptions options_;
};

class Orpo : public PreferenceLoss {
 public:
  explicit Orpo(const PreferenceOptions& options) : options_(options) {}
  bool needs_reference() const override { return false; }

  std::vector<PairLoss> evaluate(std::span<const PairScores> pairs) const override {
    std::vector<PairLoss> losses;
    for (const PairScores& pair : pairs) {
      const double n = static_cast<double>(std::max<int64_t>(1, pair.first_tokens)),
                   m = static_cast<double>(std::max<int64_t>(1, pair.second_tokens));
      const double p = mean(pair.first, n), q = mean(pair.second, m);
      // 1 - e^p without cancellation.
      const double not_p = -std::expm1(p), not_q = -std::expm1(q);
      const double odds = (p - std::log(not_p)) - (q - std::log(not_q));
      const double slope = -options_.beta * sigmoid(-odds);
      losses.push_back({-p - options_.beta * log_sigmoid(odds), (slope / not_p - 1.0) / n, -slope / not_q / m});
    }
    return losses;
  }

 private:
  /// A probability of exactly 1 has no odds.
  static double mean(double sum, double count) { return std::min(sum / count, -1e-12); }
  PreferenceOptions options_;
};

class Kto : public PreferenceLoss {
 public:
  explicit Kto(const PreferenceOptions& options) : options_(options) {}
  bool needs_reference() const override { return true; }

  std::vector<PairLoss> evaluate(std::span<const PairScores> pairs) const override {
    double divergence = 0.0;
    for (const PairScores& pair : pairs) divergence += pair.second - pair.second_reference;
    if (!pairs.empty()) divergence = std::max(0.0, divergence / static_cast<double>(pairs.size()));
    std::vector<PairLoss> losses;
    for (const PairScores& pair : pairs) {
      const double sign = pair.label == 1 ? 1.0 : -1.0;
      const double weight = pair.label == 1 ? options_.desirable_weight : options_.undesirable_weight;
      const double value = sigmoid(sign * options_.beta * ((pair.first - pair.first_reference) - divergence));
      losses.push_back({weight * (1.0 - value), -weight * sign * options_.beta * value * (1.0 - value), 0.0});
    }
    return losses;
  }

 private:
  PreferenceOptions options_;
};

}  // namespace

std::unique_ptr<PreferenceLoss> make_preference_loss(const std::string& kind, const PreferenceOptions& options) {
  if (kind == "dpo") return std::make_unique<Dpo>(options);
  if (kind == "orpo") return std::make_unique<Orpo>(options);
  if (kind == "kto") return std::make_unique<Kto>(options);
  throw base::UsageError("objective.kind is \"{}\", which is no preference loss", kind);
}

}  // namespace fledge::train
