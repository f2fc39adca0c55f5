#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace fledge::train {

/// Log-probabilities of one pair of answers, summed over their tokens: the chosen and the rejected one; of a judgement
/// the answer itself, and the answer to another question.
struct PairScores {
  double first = 0.0, second = 0.0;                      ///< by the model that is trained
  double first_reference = 0.0, second_reference = 0.0;  ///< by the model that it started from
  int64_t first_tokens = 0, second_tokens = 0;
  int32_t label = -1;  ///< of a judgement: 1 desirable, 0 undesirable
};

/// The loss of a pair and its derivatives by the two log-probabilities.
struct PairLoss {
  double loss = 0.0, d_first = 0.0, d_second = 0.0;
};

struct PreferenceOptions {
  double beta = 0.1;             ///< DPO and KTO: strength of the reference; ORPO: weight of the odds ratio
  double label_smoothing = 0.0;  ///< DPO: share of the pairs that are taken to be labelled the wrong way round
  double desirable_weight = 1.0, undesirable_weight = 1.0;  ///< KTO
};

/// A loss over pairs of answers.
class PreferenceLoss {
 public:
  virtual ~PreferenceLoss() = default;
  virtual bool needs_reference() const = 0;
  /// Of each pair of a micro-batch.
  virtual std::vector<PairLoss> evaluate(std::span<const PairScores> pairs) const = 0;
};

/// "dpo", "orpo" or "kto".
///
/// DPO (Rafailov et al., "Direct preference optimization", 2023, eq. 7; with smoothing: Mitchell, "A note on DPO with
/// noisy preferences", 2023): with x = (first - first_reference) - (second - second_reference),
///   -(1 - s) log sigmoid(beta x) - s log sigmoid(-beta x).
/// ORPO (Hong et al., "ORPO: monolithic preference optimization without reference model", 2024, eq. 6): with p and q
/// the mean log-probabilities per token, -p - beta log sigmoid(log(e^p / (1 - e^p)) - log(e^q / (1 - e^q))). KTO
/// (Ethayarajh et al., "KTO: model alignment as prospect theoretic optimization", 2024, eq. 8): with r = first -
/// first_reference and z = max(0, mean over the micro-batch of second - second_reference), which has no gradient,
///   desirable: w (1 - sigmoid(beta (r - z))), undesirable: w (1 - sigmoid(beta (z - r))).
std::unique_ptr<PreferenceLoss> make_preference_loss(const std::string& kind, const PreferenceOptions& options);

}  // namespace fledge::train
