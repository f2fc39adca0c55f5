#pragma once

#include "train/objective.h"

namespace fledge::train {

/// Cross-entropy of masked tokens (Devlin et al., "BERT", 2019): the mean over the places that MaskedSource chose,
/// which alone go through the head. With `next_sentence`, plus the mean cross-entropy of whether the second segment of
/// each text follows the first one; where a step is made of several micro-batches or processes, that mean is taken
/// within each of them and weighed by its masked tokens.
class MaskedLanguage : public Objective {
 public:
  explicit MaskedLanguage(bool next_sentence) : next_sentence_(next_sentence) {}

  /// BertForMaskedLM or BertForPreTraining. Throws UsageError for another family than BERT.
  void adapt_config(base::Json& config) const override;
  /// The heads, where training goes on from an encoder that has none.
  bool may_be_new(std::string_view parameter) const override;
  ObjectiveResult evaluate(grad::Graph& graph, models::LanguageModel& model, const Batch& batch,
                           double scale) const override;

 private:
  bool next_sentence_;
};

/// Throws UsageError, naming the objective `kind`, where `config` is not of an encoder.
void require_bert(const base::Json& config, std::string_view kind);

}  // namespace fledge::train
