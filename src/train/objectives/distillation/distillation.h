#pragma once

#include <memory>
#include <vector>

#include "grad/linear_distillation.h"
#include "train/objective.h"
#include "train/objectives/distillation/features.h"
#include "train/objectives/distillation/layer_map.h"
#include "train/objectives/distillation/on_policy.h"
#include "train/objectives/distillation/teacher.h"
#include "train/objectives/distillation/teacher_cache.h"

namespace fledge::train {

/// What another objective learns, with a teacher beside its labels (Hinton et al., 2015; TinyBERT: Jiao et al., 2020;
/// DistilBERT: Sanh et al., 2019):
///
///   prediction_weight ((1 - alpha) cross-entropy + alpha temperature^2 KL) + hidden_weight * distance of hidden states
///     + attention_weight * distance of attention's scores + embedding_weight * distance of embeddings
///
/// The teacher runs forward once a micro-batch for all of them. In an evaluation the loss is the student's own
/// cross-entropy, so that it compares with that of a student without a teacher; with prediction_weight = 0 it is that
/// of the other terms. Metrics: ce, kl, agreement (share of the targets where both find the same token likeliest),
/// hidden, attention, embedding.
class Distillation : public Objective {
 public:
  /// `base` says what is learned. Throws UsageError where teacher and data have different vocabularies.
  Distillation(const Recipe& recipe, const BatchSource& source, std::unique_ptr<Objective> base);

  void adapt_config(base::Json& config) const override { base_->adapt_config(config); }
  bool may_be_new(std::string_view parameter) const override { return base_->may_be_new(parameter); }
  void add_parameters(models::LanguageModel& model) override;
  void start(models::LanguageModel& model, const BatchSource& source) override;
  std::vector<std::string> notes() const override;
  size_t held_bytes() const override { return base_->held_bytes() + teacher_->bytes(); }
  void before_step(models::LanguageModel& model, nn::Memory& memory, int64_t step, std::span<Batch> batches,
                   std::span<const int64_t> first_samples) override;
  ObjectiveResult evaluate(grad::Graph& graph, models::LanguageModel& model, const Batch& batch,
                           double scale) const override;
  Metrics report(const Sums& sums) const override { return base_->report(sums); }
  std::string describe(const Sums& sums) const override { return base_->describe(sums); }

 private:
  using Settings = Recipe::Distillation;
  class Terms;

  bool predicts() const { return settings_.prediction_weight > 0.0; }
  bool classifies() const { return recipe_.objective.kind == "classify"; }
  bool compares_hidden() const { return settings_.hidden_weight > 0.0; }
  bool compares_attention() const { return settings_.attention_weight > 0.0; }
  bool compares_embeddings() const { return settings_.embedding_weight > 0.0; }
  bool compares_features() const { return compares_hidden() || compares_attention() || compares_embeddings(); }
  bool compares_predictions() const { return predicts() && settings_.alpha > 0.0; }
  bool uses_cache() const { return settings_.top_k > 0 && compares_predictions(); }
  /// Whether the teacher runs beside the student.
  bool runs_teacher() const { return compares_features() || (compares_predictions() && !uses_cache()); }

  void check_models(const models::LanguageModel& student) const;
  /// The name of the values that count as a block's output.
  static std::string output_of(int64_t block, int64_t blocks, bool causal);
  void add_prediction(Terms& terms, models::LanguageModel& model, const grad::Variable& hidden,
                      const models::ForwardOutput& teacher, const Batch& batch) const;
  /// Of few labels, or of a number.
  void add_labels(Terms& terms, const grad::Variable& logits, const models::ForwardOutput& teacher,
                  const Batch& batch) const;
  static void show_prediction(Terms& terms, const grad::DistillationLoss& loss);
  void add_features(Terms& terms, bool causal, const FeatureCollector& own, const FeatureCollector& other,
                    const models::ForwardInput& input) const;
  grad::Variable projected(grad::Graph& graph, const grad::Variable& x) const;

  void open_cache(const BatchSource& source);
  void make_cache(const BatchSource& source, const std::filesystem::path& file, const CacheIdentity& identity);

  Recipe recipe_;
  const Settings& settings_ = recipe_.distillation;
  std::unique_ptr<Objective> base_;
  std::unique_ptr<Teacher> teacher_;
  std::unique_ptr<TeacherCache> cache_;
  std::string cache_note_;
  OnPolicyOptions on_policy_;
  ModelShape shape_;
  std::vector<LayerPair> pairs_;
  grad::Parameter *projection_ = nullptr, *projection_bias_ = nullptr;
};

}  // namespace fledge::train
