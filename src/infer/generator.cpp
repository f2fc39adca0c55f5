#include "infer/generator.h"

#include <algorithm>

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

Generator::Generator(models::LanguageModel& model, nn::Memory& memory, tensor::DType activation_type)
    : model_(model), memory_(memory), activation_type_(activation_type) {}

std::vector<float> Generator::advance(std::span<const int32_t> tokens, nn::SequenceState& state) {
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
    const tensor::Tensor last = hidden.value().slice(1, static_cast<int64_t>(count) - 1, 1);
    return to_floats(models::logits(graph, model_, grad::Variable(last)).value());
  }
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
  std::vector<int32_t> history(prompt.begin(), prompt.end());
  std::vector<float> logits = advance(prompt, state);
  const size_t choices =
      options.token_count > 0 ? std::min(static_cast<size_t>(options.token_count), logits.size()) : logits.size();
  for (int64_t made = 0; made < room; ++made) {
    if (constraint != nullptr && !apply_constraint(std::span(logits).first(choices), *constraint, options.end_tokens)) {
      return FinishReason::end_token;
    }
    const SampledToken token =
        sampler.next(std::span(logits).first(choices), static_cast<uint64_t>(made), history, prompt.size());
    if (std::ranges::find(options.end_tokens, token.token) != options.end_tokens.end()) return FinishReason::end_token;
    if (constraint != nullptr) constraint->accept(token.token);
    history.push_back(token.token);
    if (!on_token(token)) return FinishReason::cancelled;
    if (made + 1 < room) logits = advance(std::span(&token.token, 1), state);
  }
  return room < options.max_tokens ? FinishReason::context : FinishReason::length;
}

}  // namespace fledge::infer
