#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <unordered_map>

#include "grad/linear_distillation.h"
#include "models/formats/safetensors.h"
#include "train/data/batch.h"
#include "train/objectives/distillation/teacher.h"

namespace fledge::train {

/// What stored logits were made from and how. All of it must be the same where they are used.
struct CacheIdentity {
  std::string teacher;    ///< hash of its files
  std::string tokenizer;  ///< hash
  std::string data;       ///< hash of what the source says of itself
  int64_t sequence_length = 0;
  int64_t top_k = 0;
  double temperature = 1.0;
};

/// A hash of the files that a teacher's logits depend on: its configuration and weights.
std::string teacher_hash(const std::filesystem::path& path);

/// A teacher's likeliest tokens at every place of many rows, made once and kept in a safetensors file:
///   keys [N] i64                      hash of a row's tokens and of how it is divided into documents
/// and for every 64 rows C:
///   tails.C [64, T] f32               probability of all other tokens
///   ids.C [64, T, K] u16 or i32       likeliest first
///   log_probabilities.C [64, T, K] f16
/// A row is found by its content, so the order of the samples does not matter.
class TeacherCache {
 public:
  using Visit = std::function<void(const Batch&)>;
  /// Calls `visit` with batch after batch, the same ones each time.
  using EachBatch = std::function<void(const Visit& visit)>;

  /// Throws Error, naming the file and what differs, where it was made from something else.
  static TeacherCache open(const std::filesystem::path& file, const CacheIdentity& identity);

  /// Asks the teacher about every row once and writes its answers. The file appears whole or not at all.
  static void make(const std::filesystem::path& file, const CacheIdentity& identity, Teacher& teacher,
                   tensor::DType activation_type, const EachBatch& each_batch);

  /// The rows of a batch, [B T, K], in memory of `arena`. Throws Error where a row was not stored.
  grad::TeacherTop read(const Batch& batch, tensor::Arena& arena) const;

  int64_t rows() const { return static_cast<int64_t>(row_of_key_.size()); }
  uint64_t bytes() const { return reader_.total_bytes(); }

 private:
  struct Part {
    tensor::Tensor tails, ids, log_probabilities;
  };
  explicit TeacherCache(models::SafetensorsReader reader) : reader_(std::move(reader)) {}

  models::SafetensorsReader reader_;
  tensor::Arena arena_{"stored logits"};  ///< of what cannot be viewed in the file
  std::vector<Part> parts_;
  std::unordered_map<uint64_t, int64_t> row_of_key_;
};

/// The place for what a cache gives, without content: for planning on the shape-only device.
grad::TeacherTop shape_of_top(const Batch& batch, int64_t top_k, tensor::Arena& arena);

}  // namespace fledge::train
