#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tensor/arena.h"
#include "train/data/batch.h"
#include "train/data/token_data.h"

namespace fledge::train {

/// Which rows of a step's global batch one process computes, and in how many micro-batches. The global batch of a step
/// is the samples [step * global_rows, (step + 1) * global_rows), whatever the number of processes and micro-batches.
struct BatchPlan {
  int64_t global_rows = 0;  ///< rows of a step over all processes and micro-batches
  int64_t rows = 0;         ///< rows of one micro-batch of one process
  int64_t processes = 1;
  int64_t rank = 0;

  /// Throws UsageError where the rows of the processes do not make up the global batch.
  void check() const;
  int64_t micro_batches() const { return global_rows / (rows * processes); }
  /// Global number of the first sample of a micro-batch of this process; the others follow it.
  int64_t first_sample(int64_t step, int64_t micro_batch) const {
    return step * global_rows + (micro_batch * processes + rank) * rows;
  }
};

struct LoaderOptions {
  int64_t sequence_length = 0;      ///< T
  uint64_t seed = 0;                ///< of the order of samples
  bool separate_documents = false;  ///< positions restart and attention ends at documents; the token that ends a
                                    ///< document has no target
};

/// Training samples without end. The split is cut into windows of T tokens (and the token behind each, as the last
/// target); an epoch visits every window once, in an order drawn from (seed, epoch). Where the split is not a multiple
/// of T, each epoch's cut begins at another place, so that no token is left out for good. A sample is a function of
/// (options, its global number) and nothing else: a resumed run needs the step number alone.
class TrainingLoader {
 public:
  /// Throws Error where the split has fewer than T + 1 tokens.
  TrainingLoader(std::shared_ptr<const TokenData> data, const std::string& split, LoaderOptions options);

  int64_t windows_per_epoch() const { return windows_; }
  /// First token of a sample's window.
  int64_t window_start(int64_t sample) const;
  /// Fills `batch` with samples [first_sample, first_sample + rows). The tensors of an earlier batch of the same size
  /// are used again; others come from `arena`. Safe to call from several threads with different batches.
  void load(int64_t first_sample, int64_t rows, tensor::Arena& arena, Batch& batch) const;

 private:
  std::shared_ptr<const TokenData> data_;
  const TokenSplit& split_;
  LoaderOptions options_;
  int64_t windows_;
  int64_t slack_;  ///< tokens that an epoch's windows leave over
};

/// Evaluation batches: the split from its beginning to its end, every token but the first being the target of exactly
/// one place. (A document's first token has no target where documents are separated.) The last batch is filled up with
/// places whose targets are ignored.
class EvaluationLoader {
 public:
  /// Throws Error where the split has fewer than 2 tokens.
  EvaluationLoader(std::shared_ptr<const TokenData> data, const std::string& split, LoaderOptions options,
                   int64_t rows);

  int64_t batches() const { return batches_; }
  /// Fills `batch` with batch `index` of batches(); processes share the work by index.
  void load(int64_t index, tensor::Arena& arena, Batch& batch) const;

 private:
  std::shared_ptr<const TokenData> data_;
  const TokenSplit& split_;
  LoaderOptions options_;
  int64_t rows_, batches_;
};

}  // namespace fledge::train
