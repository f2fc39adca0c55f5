#include "train/perplexity.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "grad/linear_cross_entropy.h"
#include "tensor/elementwise.h"
#include "tensor/sum.h"
#include "train/data/batch.h"

namespace fledge::train {
namespace {

using tensor::Tensor;

/// Tokens [begin, end), of which those from `scored` on are targets here.
struct Window {
  int64_t begin, end, scored;
};

std::vector<Window> cut_windows(int64_t tokens, int64_t context, int64_t stride) {
  std::vector<Window> windows;
  int64_t scored = 1;
  for (int64_t begin = 0; scored < tokens; begin += stride) {
    // A window of context + 1 tokens: the last one is a target and not an input.
    const int64_t end = std::min(begin + context + 1, tokens);
    windows.push_back({begin, end, scored});
    scored = end;
  }
  return windows;
}

/// Whole chunks, of each the tokens behind the middle one.
std::vector<Window> cut_chunks(int64_t tokens, int64_t chunk) {
  std::vector<Window> windows;
  for (int64_t begin = 0; begin + chunk <= tokens; begin += chunk) {
    windows.push_back({begin, begin + chunk, begin + chunk / 2 + 1});
  }
  return windows;
}

/// Sum of the losses of some windows, padded to the longest.
double score(models::LanguageModel& model, nn::Memory& memory, std::span<const int32_t> ids,
             std::span<const Window> windows, tensor::DType activation_type) {
  int64_t length = 0;
  for (const Window& window : windows) length = std::max(length, window.end - window.begin - 1);
  const auto rows = static_cast<int64_t>(windows.size());
  std::vector<int32_t> inputs(static_cast<size_t>(rows * length)), targets(inputs.size(), kIgnoredTarget);
  for (int64_t row = 0; row < rows; ++row) {
    const Window& window = windows[static_cast<size_t>(row)];
    for (int64_t place = 0; window.begin + place + 1 < window.end; ++place) {
      const auto index = static_cast<size_t>(row * length + place);
      inputs[index] = ids[static_cast<size_t>(window.begin + place)];
      if (window.begin + place + 1 >= window.scored) {
        targets[index] = ids[static_cast<size_t>(window.begin + place + 1)];
      }
    }
  }
  grad::Graph graph(memory.activations, memory.encodings, activation_type, false);
  models::ForwardInput input;
  input.ids = Tensor::from(inputs, {rows, length}, memory.activations);
  const grad::Variable hidden = model.forward(graph, input).hidden;
  const models::Head head = model.head();
  const Tensor flat = Tensor::from(targets, {rows * length}, memory.activations);
  return tensor::sum(
      grad::linear_cross_entropy(graph, hidden, *head.weight, head.layout, flat, 1.0, head.bias).token_losses);
}

}  // namespace

double Perplexity::perplexity() const {
  return std::exp(loss());
}

double Perplexity::bits_per_byte() const {
  return bytes > 0 ? nats / std::log(2.0) / static_cast<double>(bytes) : 0.0;
}

Perplexity measure_perplexity(models::LanguageModel& model, nn::Memory& memory, std::span<const int32_t> ids,
                              int64_t bytes, const PerplexityOptions& options, tensor::DType activation_type,
                              const std::function<void(int64_t, int64_t)>& on_progress) {
  models::require_causal(model, "be measured by perplexity");
  const int64_t context = model.context_length();
  const int64_t stride = options.stride == 0 ? context : options.stride;
  if (stride < 1 || stride > context) {
    throw base::UsageError("the stride is {}; it can be 1 to the model's context of {}", stride, context);
  }
  const auto tokens = static_cast<int64_t>(ids.size());
  if (tokens < 2) throw base::Error("the text has {} tokens; perplexity needs at least two", tokens);
  if (options.chunk != 0 && (options.stride != 0 || options.chunk < 4 || options.chunk > context)) {
    throw base::UsageError("a chunk of {} tokens{}; it can be 4 to the model's context of {}, without a stride",
                           options.chunk, options.stride != 0 ? " with a stride" : "", context);
  }
  if (tokens < options.chunk)
    throw base::Error("the text has {} tokens, less than a chunk of {}", tokens, options.chunk);
  const std::vector<Window> windows =
      options.chunk != 0 ? cut_chunks(tokens, options.chunk) : cut_windows(tokens, context, stride);
  Perplexity result;
  result.bytes = bytes;
  const auto rows = static_cast<size_t>(std::max<int64_t>(1, options.rows));
  for (size_t first = 0; first < windows.size(); first += rows) {
    const auto part = std::span(windows).subspan(first, std::min(rows, windows.size() - first));
    result.nats += score(model, memory, ids, part, activation_type);
    for (const Window& window : part) result.tokens += window.end - window.scored;
    if (on_progress) on_progress(part.back().end, windows.back().end);
  }
  return result;
}

}  // namespace fledge::train
