#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace fledge::train {

/// What a pull is doing ("downloading model.safetensors", "checking"), with bytes where they are known.
struct PullProgress {
  std::string stage;
  int64_t done = 0, total = 0;
};
using PullObserver = std::function<void(const PullProgress&)>;

}  // namespace fledge::train
