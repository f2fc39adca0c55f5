#pragma once

#include "train/labelled_source.h"
#include "train/objective.h"

namespace fledge::train {

/// Labels of texts, pairs of texts or words, by cross-entropy, or numbers by their squared error: the losses of
/// transformers' BertForSequenceClassification and BertForTokenClassification.
///
/// An evaluation reports `accuracy`, `f1_macro`, `matthews` and, of two labels, `f1` (of the second one); or `pearson`
/// and `spearman`. Its description is the confusion matrix.
class Classify : public Objective {
 public:
  /// `validation_examples`: how many there are in all, for correlations of ranks.
  Classify(LabelTask task, std::vector<std::string> labels, int64_t validation_examples)
      : task_(task), labels_(std::move(labels)), validation_examples_(validation_examples) {}

  void adapt_config(base::Json& config) const override;
  /// The head of labels, and the pooler where the starting model has none.
  bool may_be_new(std::string_view parameter) const override;
  ObjectiveResult evaluate(grad::Graph& graph, models::LanguageModel& model, const Batch& batch,
                           double scale) const override;
  Metrics report(const Sums& sums) const override;
  std::string describe(const Sums& sums) const override;

 private:
  void count_labels(const tensor::Tensor& logits, const Batch& batch, bool training, Sums& sums) const;
  void note_scores(const tensor::Tensor& found, const Batch& batch, Sums& sums) const;

  LabelTask task_;
  std::vector<std::string> labels_;
  int64_t validation_examples_;
};

}  // namespace fledge::train
