#pragma once

#include "base/json.h"

namespace fledge::nn {

/// The value under `key`, or null where there is none or `object` is no object. A reference into `object`.
inline const base::Json& section_of(const base::Json& object, const char* key) {
  static const base::Json null;
  if (!object.is_object()) return null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

}  // namespace fledge::nn
