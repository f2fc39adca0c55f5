#include "grad/adapter.h"

#include <algorithm>

#include "grad/parameter.h"

namespace fledge::grad {

bool Adapter::has_magnitude() const {
  return std::ranges::any_of(parts, [](const Part& part) { return part.magnitude != nullptr; });
}

std::vector<Parameter*> Adapter::parameters() const {
  std::vector<Parameter*> all{down};
  for (const Part& part : parts) {
    all.push_back(part.up);
    if (part.magnitude != nullptr) all.push_back(part.magnitude);
  }
  return all;
}

std::vector<Parameter*> Adapter::trainable_parameters() const {
  std::vector<Parameter*> all = parameters();
  std::erase_if(all, [](const Parameter* parameter) { return !parameter->trainable(); });
  return all;
}

bool Adapter::trainable() const {
  return !trainable_parameters().empty();
}

}  // namespace fledge::grad
