#pragma once

#include <memory>
#include <string>
#include <vector>

#include "train/chat_source.h"
#include "train/objective.h"
#include "train/objectives/preference_loss.h"

namespace fledge::train {

/// Learns which of two answers is better (DPO, ORPO, KTO; see make_preference_loss), from the pairs of a ChatSource.
///
/// Two sweeps through the head: the first gives the log-probability of each answer, from which the loss and its
/// derivatives follow; the second goes backward with these as weights of the tokens. No logits are kept. The reference
/// model is the one that training starts from: its log-probabilities are computed once, before the first step, and kept
/// in the run's folder. Of an adapter that begins as nothing, this is the base model.
///
/// Metrics: rewards_chosen and rewards_rejected (beta times how much likelier than by the reference, or for ORPO beta
/// times the mean log-probability), their difference rewards_margin, and rewards_accuracy, the share of pairs where it
/// is positive. Of judgements: rewards_desirable and rewards_undesirable.
class Preference : public Objective {
 public:
  Preference(const std::string& kind, const PreferenceOptions& options, const BatchSource& source);

  void adapt_config(base::Json& config) const override;
  void begin(const RunContext& run) override;
  ObjectiveResult evaluate(grad::Graph& graph, models::LanguageModel& model, const Batch& batch,
                           double scale) const override;

  /// Log-probabilities by the reference, two for each example; for tests.
  void set_reference(std::vector<float> reference) { reference_ = std::move(reference); }
  const std::vector<float>& reference() const { return reference_; }

 private:
  struct Pairs;
  Pairs score(const Batch& batch, const tensor::Tensor& token_losses) const;
  std::vector<float> compute_reference(const RunContext& run) const;
  tensor::Tensor token_weights(grad::Graph& graph, const Batch& batch, const Pairs& pairs,
                               const std::vector<PairLoss>& losses) const;
  Sums sums_of(const Pairs& pairs) const;

  std::string kind_;
  PreferenceOptions options_;
  const ChatSource& source_;
  std::unique_ptr<PreferenceLoss> loss_;
  std::vector<float> reference_;
};

}  // namespace fledge::train
