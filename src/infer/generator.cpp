#include "infer/generator.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "grad/graph.h"
#include "infer/constraint/apply.h"

namespace fledge::infer {
namespace {

// A long prompt is read in parts, so that its activations stay small; results do not depend on the cut.
constexpr size_t kPromptPart = 512;

std::vector<float> to_floats(const tensor::Tensor& logits) {
  if (logits.dtype() == tensor::DType::f32) return logits.to_vector<float>();
  const std::vector<double> wide = logits.to_vector<double>();
  return {wide.begin(), wide.end()};
}

}  // namespace

std::string_view name_of(FinishReason reason) {
  constexpr std::string_view kNames[] = {"end_token", "length", "context", "cancelled"};
  return kNames[static_cast<size_t>(reason)];
}

Generator::Generator(models::LanguageModel& model, nn::Memory& memory, tensor::DType activation_type, Drafter* drafter)
    : model_(model), memory_(memory), activation_type_(activation_type), drafter_(drafter) {}

std::vector<float> Generator::advance(std::span<const int32_t> tokens, size_t rows, nn::SequenceState& state) {
  while (true) {
    const size_t count = std::min(tokens.size(), kPromptPart);
    grad::Graph graph(memory_.activations, memory_.encodings, activation_type_, false);
    const std::vector<int32_t> part(tokens.begin(), tokens.begin() + static_cast<int64_t>(count));
    models::ForwardInput input;
    input.ids = tensor::Tensor::from(part, {1, static_cast<int64_t>(count)}, memory_.activations);
    input.state = &state;
    state.sequences[0].count = static_cast<int64_t>(count);
    const grad::Variable hidden = model_.forward(graph, input).hidden;
    tokens = tokens.subspan(count);
    if (!tokens.empty()) continue;
    const tensor::Tensor last = hidden.value().slice(1, static_cast<int64_t>(count - rows), static_cast<int64_t>(rows));
    return to_floats(models::logits(graph, model_, grad::Variable(last)).value());
  }
}

/// How `history` may go on, where at most `room` tokens may still be made.
std::vector<int32_t> Generator::guess(std::span<const int32_t> history, int64_t room) {
  constexpr int64_t kMostGuessed = 4;
  DraftRequest request{0, history, draft_length(kMostGuessed, room), {}};
  if (request.count > 0) drafter_->guess(std::span(&request, 1));
  drafts_.guessed += static_cast<int64_t>(request.guess.size());
  return std::move(request.guess);
}

FinishReason Generator::generate(std::span<const int32_t> prompt, const GenerationOptions& options,
                                 const std::function<bool(const SampledToken&)>& on_token,
                                 TokenConstraint* constraint) {
  const auto length = static_cast<int64_t>(prompt.size());
  const int64_t context = model_.context_length();
  if (prompt.empty()) throw base::Error("a prompt needs at least one token");
  if (length >= context) {
    throw base::Error("the prompt has {} tokens and the model's context is {}: no room is left for an answer", length,
                      context);
  }
  const int64_t room = std::min(options.max_tokens, context - length);
  nn::SequenceState state =
      nn::make_sequence(model_.state_layout(), length + room, activation_type_, memory_.activations);
  Sampler sampler(options.sampling);
  std::vector<int32_t> history(prompt.begin(), prompt.end()), guessed;
  const auto choose = [&](std::span<float> logits) -> std::optional<SampledToken> {
    if (options.token_count > 0) logits = logits.first(std::min<size_t>(options.token_count, logits.size()));
    if (constraint != nullptr && !apply_constraint(logits, *constraint, options.end_tokens)) return std::nullopt;
    SampledToken token = sampler.next(logits, history.size() - prompt.size(), history, prompt.size());
    if (std::ranges::find(options.end_tokens, token.token) != options.end_tokens.end()) return std::nullopt;
    if (constraint != nullptr) constraint->accept(token.token);
    return token;
  };
  for (std::vector<int32_t> fresh = history; room > 0;) {
    std::vector<float> logits = advance(fresh, guessed.size() + 1, state);
    const size_t vocabulary = logits.size() / (guessed.size() + 1);
    for (size_t row = 0; row <= guessed.size(); ++row) {
      const auto token = choose(std::span(logits).subspan(row * vocabulary, vocabulary));
      if (!token) return FinishReason::end_token;
      history.push_back(token->token);
      const bool right = row < guessed.size() && token->token == guessed[row];
      drafts_.right += right;
      if (!on_token(*token)) return FinishReason::cancelled;
      if (!right) break;
    }
    const int64_t left = room - static_cast<int64_t>(history.size() - prompt.size());
    if (left <= 0) break;
    // What was computed for wrong guesses is written over.
    state.sequences[0].length = static_cast<int64_t>(history.size()) - 1;
    guessed.clear();
    if (drafter_ != nullptr && constraint == nullptr) guessed = guess(history, left);
    fresh.assign(1, history.back());
    fresh.insert(fresh.end(), guessed.begin(), guessed.end());
  }
  return room < options.max_tokens ? FinishReason::context : FinishReason::length;
}

}  // namespace fledge::infer
