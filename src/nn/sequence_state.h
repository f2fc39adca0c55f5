#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace fledge::nn {

/// What one attention layer remembers of the tokens it has seen: keys and values, [B, capacity, H, D] in the activation
/// type, of which the first SequenceState::length positions count.
struct KeyValueState {
  tensor::Tensor keys, values;
};

/// What a model remembers between forward passes of one batch of sequences, layer by layer.
struct SequenceState {
  std::vector<KeyValueState> layers;
  int64_t length = 0;    ///< tokens seen
  int64_t capacity = 0;  ///< tokens that fit
};

/// Keys and values for `layers` layers.
inline SequenceState make_key_value_state(int64_t layers, int64_t batch, int64_t capacity, int64_t heads,
                                          int64_t head_size, tensor::DType type, tensor::Arena& arena) {
  SequenceState state;
  state.capacity = capacity;
  for (int64_t layer = 0; layer < layers; ++layer) {
    state.layers.push_back({tensor::Tensor::empty({batch, capacity, heads, head_size}, type, arena),
                            tensor::Tensor::empty({batch, capacity, heads, head_size}, type, arena)});
  }
  return state;
}

}  // namespace fledge::nn
