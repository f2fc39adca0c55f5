#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json_fwd.h"

namespace fledge::train {

/// What distillation needs to know of a model's shape.
struct ModelShape {
  int64_t layers = 0, width = 0, heads = 0, key_heads = 0;
};

/// Reads it from a model's config.json, in GPT-2's or in the other families' words. Throws Error naming `origin`.
ModelShape shape_of(const base::Json& config, const std::string& origin);

/// A block of the student and the block of the teacher whose output it imitates, counted from 0.
struct LayerPair {
  int64_t student = 0, teacher = 0;
  bool operator==(const LayerPair&) const = default;
};

/// Reads distillation.layers: "STUDENT:TEACHER" pairs, or one word:
///   uniform  every block of the student, and the teacher's at the same share of its depth: (s + 1) T / S - 1
///            (TinyBERT's g(m) = 3 m where T = 3 S)
///   last     the last blocks of both
/// Throws UsageError where a pair cannot be read or a block does not exist.
std::vector<LayerPair> parse_layer_map(const std::vector<std::string>& entries, int64_t student_layers,
                                       int64_t teacher_layers);

}  // namespace fledge::train
