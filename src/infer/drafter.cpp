#include "infer/drafter.h"

#include <algorithm>

#include "grad/graph.h"
#include "tensor/gather.h"

namespace fledge::infer {
namespace {

int32_t likeliest(std::span<const float> logits) {
  return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
}

}  // namespace

DraftCounts& DraftCounts::operator+=(const DraftCounts& other) {
  guessed += other.guessed;
  right += other.right;
  return *this;
}

int64_t draft_length(int64_t wanted, int64_t room) {
  return std::max<int64_t>(0, std::min(wanted, room - 1));
}

ModelDrafter::ModelDrafter(models::LanguageModel& model, nn::Memory& memory, tensor::DType activation_type,
                           int64_t cache_tokens)
    : model_(model),
      memory_(memory),
      activation_type_(activation_type),
      pool_(cache_tokens / tensor::attention_page_tokens(activation_type) + 1,
            tensor::attention_page_tokens(activation_type)) {
  cache_ = nn::make_pages(model.state_layout(), pool_.page_count(), activation_type, memory.activations);
}

/// Forgets what no longer fits the sequence and takes pages for what will be computed.
bool ModelDrafter::prepare(const DraftRequest& request, Known& known) {
  const auto same = std::ranges::mismatch(known.tokens, request.tokens).in1;
  known.tokens.erase(same, known.tokens.end());
  // The last token is computed again where all are known, for its logits.
  if (known.tokens.size() == request.tokens.size() && !known.tokens.empty()) known.tokens.pop_back();
  const auto length = static_cast<int64_t>(request.tokens.size()) + request.count;
  if (length > model_.context_length()) return false;
  while (static_cast<int64_t>(known.pages.size()) * pool_.page_tokens() < length) {
    const std::optional<int32_t> page = pool_.take();
    if (!page) return false;
    known.pages.push_back(*page);
  }
  return true;
}

/// Reads `fresh` tokens behind what is known of each sequence; the likeliest next token of each.
std::vector<int32_t> ModelDrafter::run(std::span<Known* const> sequences, std::span<const std::vector<int32_t>> fresh) {
  std::vector<int32_t> ids, last;
  cache_.sequences.clear();
  for (size_t index = 0; index < sequences.size(); ++index) {
    Known& known = *sequences[index];
    cache_.sequences.push_back(
        {static_cast<int64_t>(known.tokens.size()), static_cast<int64_t>(fresh[index].size()), known.pages});
    ids.insert(ids.end(), fresh[index].begin(), fresh[index].end());
    last.push_back(static_cast<int32_t>(ids.size()) - 1);
    known.tokens.insert(known.tokens.end(), fresh[index].begin(), fresh[index].end());
  }
  tensor::Arena& arena = memory_.activations;
  grad::Graph graph(arena, memory_.encodings, activation_type_, false);
  models::ForwardInput input;
  input.ids = tensor::Tensor::from(ids, {1, static_cast<int64_t>(ids.size())}, arena);
  input.state = &cache_;
  const tensor::Tensor hidden = model_.forward(graph, input).hidden.value();
  const auto rows = static_cast<int64_t>(last.size());
  tensor::Tensor kept = graph.empty({rows, hidden.dim(2)}, hidden.dtype());
  tensor::gather_rows(hidden.reshape({-1, hidden.dim(2)}), tensor::Tensor::from(last, {rows}, arena), kept);
  const std::vector<float> logits = models::logits(graph, model_, grad::Variable(kept)).value().to_vector<float>();
  std::vector<int32_t> result;
  const size_t vocabulary = logits.size() / last.size();
  for (size_t row = 0; row < last.size(); ++row) {
    result.push_back(likeliest(std::span(logits).subspan(row * vocabulary, vocabulary)));
  }
  return result;
}

void ModelDrafter::guess(std::span<DraftRequest> requests) {
  std::vector<DraftRequest*> active;
  std::vector<Known*> sequences;
  std::vector<std::vector<int32_t>> fresh;
  for (DraftRequest& request : requests) {
    Known& known = known_[request.id];
    if (!prepare(request, known)) continue;
    active.push_back(&request);
    sequences.push_back(&known);
    fresh.emplace_back(request.tokens.begin() + static_cast<int64_t>(known.tokens.size()), request.tokens.end());
  }
  while (!active.empty()) {
    const std::vector<int32_t> next = run(sequences, fresh);
    size_t kept = 0;
    for (size_t index = 0; index < active.size(); ++index) {
      active[index]->guess.push_back(next[index]);
      if (static_cast<int64_t>(active[index]->guess.size()) >= active[index]->count) continue;
      active[kept] = active[index];
      sequences[kept] = sequences[index];
      fresh[kept++] = {next[index]};
    }
    active.resize(kept), sequences.resize(kept), fresh.resize(kept);
  }
}

void ModelDrafter::forget(uint64_t id) {
  const auto found = known_.find(id);
  if (found == known_.end()) return;
  for (const int32_t page : found->second.pages) pool_.release(page);
  known_.erase(found);
}

void LookupDrafter::guess(std::span<DraftRequest> requests) {
  constexpr size_t kLongest = 4, kShortest = 2;
  for (DraftRequest& request : requests) {
    const std::span<const int32_t> tokens = request.tokens;
    for (size_t length = kLongest; length >= kShortest && request.guess.empty(); --length) {
      if (tokens.size() <= length) continue;
      const auto ending = tokens.last(length), before = tokens.first(tokens.size() - 1);
      const auto found = std::find_end(before.begin(), before.end(), ending.begin(), ending.end());
      if (found == before.end()) continue;
      const auto from = static_cast<size_t>(found - before.begin()) + length;
      const auto guess = tokens.subspan(from, std::min(static_cast<size_t>(request.count), tokens.size() - from));
      request.guess.assign(guess.begin(), guess.end());
    }
  }
}

}  // namespace fledge::infer
