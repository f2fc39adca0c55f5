#include "train/objective.h"

#include "base/error.h"
#include "train/labelled_source.h"
#include "train/objectives/chat.h"
#include "train/objectives/classify.h"
#include "train/objectives/distillation/distillation.h"
#include "train/objectives/masked_language.h"
#include "train/objectives/next_token.h"
#include "train/objectives/preference.h"

namespace fledge::train {

void add_sums(Sums& sums, const Sums& more) {
  for (const auto& [name, values] : more) {
    std::vector<double>& total = sums[name];
    if (total.empty()) total.resize(values.size());
    if (total.size() != values.size())
      throw base::Error("the sums of {} have {} and {} numbers", name, total.size(), values.size());
    for (size_t index = 0; index < values.size(); ++index) total[index] += values[index];
  }
}

Metrics Objective::report(const Sums& sums) const {
  Metrics metrics;
  for (const auto& [name, values] : sums) {
    if (values.size() == 2 && values[1] != 0.0) metrics[name] = values[0] / values[1];
  }
  return metrics;
}

models::ForwardInput forward_input(const Batch& batch) {
  models::ForwardInput input;
  input.ids = batch.at("ids");
  if (batch.has("positions")) input.positions = batch.at("positions");
  if (batch.has("document_starts")) input.document_starts = batch.at("document_starts");
  if (batch.has("document_ends")) input.document_ends = batch.at("document_ends");
  if (batch.has("token_types")) input.token_types = batch.at("token_types");
  if (batch.has("masked_rows")) input.head_rows = batch.at("masked_rows");
  return input;
}

namespace {

std::unique_ptr<Objective> make_plain_objective(const Recipe& recipe, const BatchSource& source) {
  const std::string& kind = recipe.objective.kind;
  if (kind == "next_token") return std::make_unique<NextToken>();
  if (kind == "chat") return std::make_unique<Chat>(source);
  if (chat_purpose_of(kind)) {
    const auto& settings = recipe.objective;
    return std::make_unique<Preference>(kind,
                                        PreferenceOptions{settings.beta, settings.label_smoothing,
                                                          settings.desirable_weight, settings.undesirable_weight},
                                        source);
  }
  if (kind == "masked_language") return std::make_unique<MaskedLanguage>(recipe.objective.next_sentence);
  if (kind == "classify") {
    const auto& labelled = dynamic_cast<const LabelledSource&>(source);
    return std::make_unique<Classify>(labelled.task(), labelled.labels(), labelled.validation_examples());
  }
  throw base::UsageError("objective.kind is \"{}\", which is not known", kind);
}

}  // namespace

std::unique_ptr<Objective> make_objective(const Recipe& recipe, const BatchSource& source) {
  std::unique_ptr<Objective> objective = make_plain_objective(recipe, source);
  if (recipe.distillation.teacher.empty()) return objective;
  return std::make_unique<Distillation>(recipe, source, std::move(objective));
}

}  // namespace fledge::train
