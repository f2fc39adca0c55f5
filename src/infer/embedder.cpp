#include "infer/embedder.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "grad/cast.h"
#include "nn/text/tokenizer_parts.h"

namespace fledge::infer {
namespace {

using tensor::DType;
using tensor::Tensor;

// Tokens that go through the model at once: enough for the matrix products to run at full speed, few enough for a
// layer's activations to stay in the cache.
constexpr int64_t kTokensAtOnce = 1024;

}  // namespace

/// Texts side by side in one row.
struct Embedder::Part {
  std::vector<int32_t> ids, positions, starts, ends, offsets{0};

  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  void add(const std::vector<int32_t>& text) {
    const auto start = static_cast<int32_t>(ids.size()), length = static_cast<int32_t>(text.size());
    ids.insert(ids.end(), text.begin(), text.end());
    for (int32_t place = 0; place < length; ++place) positions.push_back(place);
    starts.insert(starts.end(), text.size(), start);
    ends.insert(ends.end(), text.size(), start + length);
    offsets.push_back(start + length);
  }
};

Embedder::Embedder(models::LanguageModel& model, nn::Memory& memory, nn::Tokenizer tokenizer,
                   const EmbeddingSettings& settings, DType activation_type)
    : model_(model),
      memory_(memory),
      tokenizer_(std::move(tokenizer)),
      settings_(settings),
      activation_type_(activation_type) {
  if (tokenizer_.vocabulary_size() > model.vocabulary_size()) {
    throw base::Error("the tokenizer has {} tokens and the model {}", tokenizer_.vocabulary_size(),
                      model.vocabulary_size());
  }
  const std::vector<int32_t> probe{0};
  const size_t first = 0;
  dimension_ = static_cast<int64_t>(run({&probe, 1}, {&first, 1}).size());
}

TokenizedText Embedder::tokenize(std::string_view text) const {
  const nn::TokenizerParts& parts = tokenizer_.parts();
  TokenizedText result;
  std::vector<int32_t> inner = tokenizer_.encode(text, {.add_special = false, .match_special = true});
  const auto around = static_cast<int64_t>(parts.prefix.size() + parts.suffix.size());
  const int64_t room = std::max<int64_t>(0, settings_.max_tokens - around);
  if (static_cast<int64_t>(inner.size()) > room) {
    result.dropped = static_cast<int64_t>(inner.size()) - room;
    inner.resize(static_cast<size_t>(room));
  }
  result.ids = parts.prefix;
  result.ids.insert(result.ids.end(), inner.begin(), inner.end());
  result.ids.insert(result.ids.end(), parts.suffix.begin(), parts.suffix.end());
  return result;
}

std::vector<float> Embedder::run(std::span<const std::vector<int32_t>> texts, std::span<const size_t> order) {
  Part part;
  for (const size_t index : order) part.add(texts[index]);
  tensor::Arena& arena = memory_.activations;
  const tensor::Shape shape{1, part.tokens()};
  grad::Graph graph(arena, memory_.encodings, activation_type_, false);
  models::ForwardInput input;
  input.ids = Tensor::from(part.ids, shape, arena);
  input.positions = Tensor::from(part.positions, shape, arena);
  if (order.size() > 1) {
    input.document_starts = Tensor::from(part.starts, shape, arena);
    input.document_ends = Tensor::from(part.ends, shape, arena);
  }
  input.encode_only = true;
  const Tensor hidden = grad::widen(graph, model_.forward(graph, input).hidden).value();
  const auto count = static_cast<int64_t>(order.size());
  Tensor vectors = Tensor::empty({count, hidden.dim(2)}, hidden.dtype(), arena);
  tensor::pool_rows(hidden.reshape({part.tokens(), hidden.dim(2)}), Tensor::from(part.offsets, {count + 1}, arena),
                    settings_.pooling, vectors);
  if (settings_.normalizes) tensor::normalize_rows(vectors);
  return vectors.to_vector<float>();
}

std::vector<std::vector<float>> Embedder::embed_ids(std::span<const std::vector<int32_t>> texts) {
  for (const std::vector<int32_t>& text : texts) {
    if (text.empty()) throw base::Error("a text without tokens has no vector");
    if (static_cast<int64_t>(text.size()) > model_.context_length()) {
      throw base::Error("a text of {} tokens is longer than the model's context of {}", text.size(),
                        model_.context_length());
    }
  }
  // Texts of like length together: the passes are then equally full.
  std::vector<size_t> order(texts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return texts[a].size() > texts[b].size(); });

  std::vector<std::vector<float>> result(texts.size());
  const std::lock_guard lock(mutex_);
  for (size_t first = 0; first < order.size();) {
    size_t last = first;
    int64_t tokens = 0;
    do {
      tokens += static_cast<int64_t>(texts[order[last++]].size());
    } while (last < order.size() && tokens + static_cast<int64_t>(texts[order[last]].size()) <= kTokensAtOnce);
    const auto chosen = std::span(order).subspan(first, last - first);
    const std::vector<float> flat = run(texts, chosen);
    for (size_t index = 0; index < chosen.size(); ++index) {
      const auto begin = flat.begin() + static_cast<int64_t>(index) * dimension_;
      result[chosen[index]].assign(begin, begin + dimension_);
    }
    first = last;
  }
  return result;
}

std::vector<std::vector<float>> Embedder::embed(std::span<const std::string> texts) {
  std::vector<std::vector<int32_t>> ids;
  for (const std::string& text : texts) ids.push_back(tokenize(text).ids);
  return embed_ids(ids);
}

}  // namespace fledge::infer
