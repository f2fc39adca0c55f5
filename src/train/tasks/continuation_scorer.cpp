#include "train/tasks/continuation_scorer.h"

#include <algorithm>

#include "base/error.h"
#include "grad/gather.h"
#include "tensor/cross_entropy.h"
#include "tensor/elementwise.h"

namespace fledge::train {
namespace {

using tensor::Tensor;

/// Tokens of one forward pass, unless a single continuation is longer.
constexpr int64_t kRowTokens = 2048;
/// Places whose logits are held at once.
constexpr int64_t kLogitRows = 128;

int64_t length_of(const Continuation& continuation) {
  // The last token is a target and not an input.
  return static_cast<int64_t>(continuation.context.size() + continuation.tokens.size()) - 1;
}

void check(const models::LanguageModel& model, std::span<const Continuation> continuations) {
  for (size_t index = 0; index < continuations.size(); ++index) {
    const Continuation& continuation = continuations[index];
    if (continuation.context.empty() || continuation.tokens.empty())
      throw base::Error("continuation {} has {} tokens behind a context of {}; both need one at least", index + 1,
                        continuation.tokens.size(), continuation.context.size());
    if (length_of(continuation) > model.context_length())
      throw base::Error("continuation {} has {} tokens behind a context of {}, more than the model's context of {}",
                        index + 1, continuation.tokens.size(), continuation.context.size(), model.context_length());
  }
}

/// One row of several continuations and the places in it where each predicts its tokens.
struct Row {
  std::vector<int32_t> ids, positions, document_starts;
  std::vector<int32_t> places, targets;
  std::vector<size_t> owners;  ///< of each place: the continuation

  void add(const Continuation& continuation, size_t owner) {
    const auto start = static_cast<int32_t>(ids.size());
    const auto context = continuation.context.size();
    const int64_t length = length_of(continuation);
    for (int64_t index = 0; index < length; ++index) {
      const auto place = static_cast<size_t>(index);
      ids.push_back(place < context ? continuation.context[place] : continuation.tokens[place - context]);
      positions.push_back(static_cast<int32_t>(index));
      document_starts.push_back(start);
    }
    for (size_t index = 0; index < continuation.tokens.size(); ++index) {
      places.push_back(start + static_cast<int32_t>(context + index) - 1);
      targets.push_back(continuation.tokens[index]);
      owners.push_back(owner);
    }
  }
};

/// Adds what the model says at the places [first, first + count) of a row.
void add_scores(grad::Graph& graph, models::LanguageModel& model, const grad::Variable& hidden, const Row& row,
                int64_t first, int64_t count, std::vector<ContinuationScore>& scores) {
  const std::vector<int32_t> places(row.places.begin() + first, row.places.begin() + first + count);
  const grad::Variable chosen = grad::gather_rows(graph, hidden, Tensor::from(places, {count}, graph.arena()));
  Tensor logits = models::logits(graph, model, chosen).value();
  tensor::log_softmax(logits, logits);
  if (logits.dtype() != tensor::DType::f32) {
    Tensor narrow = Tensor::empty(logits.shape(), tensor::DType::f32, graph.arena());
    tensor::copy(logits, narrow);
    logits = narrow;
  }
  const int64_t vocabulary = logits.dim(-1);
  for (int64_t index = 0; index < count; ++index) {
    const float* line = logits.data<float>() + index * vocabulary;
    const auto place = static_cast<size_t>(first + index);
    ContinuationScore& score = scores[row.owners[place]];
    score.log_likelihood += line[row.targets[place]];
    score.greedy &= *std::max_element(line, line + vocabulary) == line[row.targets[place]];
  }
}

void score_row(models::LanguageModel& model, nn::Memory& memory, const Row& row, tensor::DType activation_type,
               std::vector<ContinuationScore>& scores) {
  grad::Graph graph(memory.activations, memory.encodings, activation_type, false);
  const tensor::Shape shape{1, static_cast<int64_t>(row.ids.size())};
  models::ForwardInput input;
  input.ids = Tensor::from(row.ids, shape, memory.activations);
  input.positions = Tensor::from(row.positions, shape, memory.activations);
  input.document_starts = Tensor::from(row.document_starts, shape, memory.activations);
  const grad::Variable hidden = model.forward(graph, input).hidden;
  const auto places = static_cast<int64_t>(row.places.size());
  for (int64_t first = 0; first < places; first += kLogitRows) {
    add_scores(graph, model, hidden, row, first, std::min(kLogitRows, places - first), scores);
  }
}

}  // namespace

std::vector<ContinuationScore> score_continuations(models::LanguageModel& model, nn::Memory& memory,
                                                   std::span<const Continuation> continuations,
                                                   tensor::DType activation_type, const ScoringProgress& on_progress) {
  models::require_causal(model, "score continuations");
  check(model, continuations);
  std::vector<ContinuationScore> scores(continuations.size());
  for (size_t next = 0; next < continuations.size();) {
    Row row;
    do {
      row.add(continuations[next], next);
      ++next;
    } while (next < continuations.size() &&
             static_cast<int64_t>(row.ids.size()) + length_of(continuations[next]) <= kRowTokens);
    score_row(model, memory, row, activation_type, scores);
    if (on_progress) on_progress(static_cast<int64_t>(next), static_cast<int64_t>(continuations.size()));
  }
  return scores;
}

}  // namespace fledge::train
