#pragma once

#include "tensor/arena.h"

namespace fledge::nn {

/// The arenas of a model, one per purpose. On the meta device they count what a run will need.
struct Memory {
  explicit Memory(tensor::Device device = tensor::Device::cpu)
      : parameters("parameters", device),
        gradients("gradients", device),
        optimizer("optimizer state", device),
        encodings("packed weights", device),
        activations("activations", device) {}

  tensor::Arena parameters, gradients, optimizer, encodings, activations;

  size_t peak_bytes() const {
    return parameters.peak_bytes() + gradients.peak_bytes() + optimizer.peak_bytes() + encodings.peak_bytes() +
           activations.peak_bytes();
  }
};

}  // namespace fledge::nn
