#pragma once

#include <cstdint>
#include <vector>

#include "tensor/attention.h"
#include "tensor/tensor.h"

namespace fledge::nn {

/// What one layer keeps of a token: the key and the value of each head.
struct StateLayer {
  int64_t heads = 0, key_size = 0, value_size = 0;
};
using StateLayout = std::vector<StateLayer>;

/// What a model remembers between forward passes: keys and values of every layer in pages, and the sequences of the
/// next pass. A forward pass reads sequence s's new tokens, `count` of them, after those of the sequences before it,
/// and moves each sequence on by its count. Pages are handed out by the caller.
struct SequenceState {
  std::vector<tensor::PagedKeyValues> layers;
  std::vector<tensor::PagedSequence> sequences;

  void advance() {
    for (tensor::PagedSequence& sequence : sequences) {
      sequence.length += sequence.count;
      sequence.count = 0;
    }
  }
};

/// Memory for `pages` pages of every layer; no sequence yet.
inline SequenceState make_pages(const StateLayout& layout, int64_t pages, tensor::DType type, tensor::Arena& arena) {
  SequenceState state;
  for (const StateLayer& layer : layout) {
    state.layers.push_back(
        tensor::make_paged_key_values(pages, layer.heads, layer.key_size, layer.value_size, type, arena));
  }
  for (size_t layer = 0; layer < state.layers.size(); ++layer) {
    const tensor::PagedKeyValues& next = state.layers[(layer + 1) % state.layers.size()];
    state.layers[layer].next_keys = next.keys;
    state.layers[layer].next_values = next.values;
  }
  return state;
}

/// One sequence with room for `capacity` tokens.
inline SequenceState make_sequence(const StateLayout& layout, int64_t capacity, tensor::DType type,
                                   tensor::Arena& arena) {
  const int64_t tokens = tensor::attention_page_tokens(type), pages = (capacity + tokens - 1) / tokens;
  SequenceState state = make_pages(layout, pages, type, arena);
  state.sequences.resize(1);
  for (int64_t page = 0; page < pages; ++page) state.sequences[0].pages.push_back(static_cast<int32_t>(page));
  return state;
}

}  // namespace fledge::nn
