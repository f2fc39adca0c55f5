#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "grad/graph.h"
#include "nn/parameter_set.h"
#include "tensor/process_group.h"

namespace fledge::train {

/// A run of parameters whose gradients lie side by side and are exchanged together: flat elements [begin, end), entries
/// [first, last).
struct GradientBucket {
  size_t first = 0, last = 0;
  int64_t begin = 0, end = 0;
};

/// Cuts a set into buckets of at least `bucket_bytes`, the last parameters first: in that order the backward pass
/// completes them.
std::vector<GradientBucket> plan_gradient_buckets(const nn::ParameterSet& parameters, size_t bucket_bytes);

/// Sums the gradients of a step over the processes, bucket by bucket, while the backward pass still computes the others
/// (Li et al., "PyTorch Distributed", 2020, section 3.2). One thread of communication lives as long as the object. All
/// processes exchange the buckets in the same order. An error in the exchange is thrown by finish().
class GradientExchange {
 public:
  GradientExchange(nn::ParameterSet& parameters, tensor::ProcessGroup& processes);
  ~GradientExchange();
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;

  /// To be called before the backward pass of a step's last micro-batch.
  void watch(grad::Graph& graph);
  /// Waits until every gradient is the sum over all processes.
  void finish();

 private:
  void parameter_ready(const grad::Parameter& parameter);
  void queue_complete_buckets();
  void communicate();

  nn::ParameterSet& parameters_;
  tensor::ProcessGroup& processes_;
  std::vector<GradientBucket> buckets_;
  std::unordered_map<const grad::Parameter*, size_t> bucket_of_;
  std::vector<size_t> missing_;  ///< parameters of each bucket that are not ready
  size_t queued_ = 0;            ///< buckets handed to the thread in this step

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<size_t> queue_;
  size_t exchanged_ = 0;
  bool ending_ = false;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace fledge::train
