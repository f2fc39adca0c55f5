#include "train/gradient_exchange.h"

#include <algorithm>

#include "tensor/elementwise.h"

namespace fledge::train {
namespace {

// Large enough that the latency of an exchange does not count, small enough that the first one starts early.
constexpr size_t kBucketBytes = size_t{25} << 20;

}  // namespace

std::vector<GradientBucket> plan_gradient_buckets(const nn::ParameterSet& parameters, size_t bucket_bytes) {
  const auto& entries = parameters.entries();
  std::vector<GradientBucket> buckets;
  size_t last = entries.size();
  int64_t end = parameters.flat_size();
  for (size_t first = entries.size(); first-- > 0;) {
    const auto bytes = static_cast<size_t>(end - entries[first].offset) * sizeof(float);
    if (bytes < bucket_bytes && first > 0) continue;
    buckets.push_back({first, last, entries[first].offset, end});
    last = first;
    end = entries[first].offset;
  }
  return buckets;
}

GradientExchange::GradientExchange(nn::ParameterSet& parameters, tensor::ProcessGroup& processes)
    : parameters_(parameters), processes_(processes), buckets_(plan_gradient_buckets(parameters, kBucketBytes)) {
  for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    for (size_t entry = buckets_[bucket].first; entry < buckets_[bucket].last; ++entry) {
      bucket_of_[parameters.entries()[entry].parameter.get()] = bucket;
    }
  }
  thread_ = std::thread([this] { communicate(); });
}

GradientExchange::~GradientExchange() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void GradientExchange::watch(grad::Graph& graph) {
  missing_.clear();
  for (const GradientBucket& bucket : buckets_) {
    const auto first = parameters_.entries().begin();
    missing_.push_back(static_cast<size_t>(
        std::count_if(first + static_cast<int64_t>(bucket.first), first + static_cast<int64_t>(bucket.last),
                      [](const auto& entry) { return entry.parameter->trainable(); })));
  }
  queued_ = 0;
  exchanged_ = 0;
  graph.on_parameter_ready([this](grad::Parameter& parameter) { parameter_ready(parameter); });
}

void GradientExchange::parameter_ready(const grad::Parameter& parameter) {
  --missing_[bucket_of_.at(&parameter)];
  queue_complete_buckets();
}

void GradientExchange::queue_complete_buckets() {
  const std::lock_guard lock(mutex_);
  while (queued_ < buckets_.size() && missing_[queued_] == 0) queue_.push_back(queued_++);
  changed_.notify_all();
}

void GradientExchange::finish() {
  for (const auto& entry : parameters_.entries()) {
    // A parameter that the batch did not use counts as zero here, whatever the other processes have.
    if (entry.parameter->trainable() && !entry.parameter->has_gradient()) {
      tensor::fill(entry.parameter->gradient_to_add_to(), 0.0);
    }
  }
  for (size_t& missing : missing_) missing = 0;
  queue_complete_buckets();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return exchanged_ == buckets_.size() || error_; });
  if (error_) std::rethrow_exception(error_);
}

void GradientExchange::communicate() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || !queue_.empty(); });
    if (queue_.empty()) return;
    const GradientBucket& bucket = buckets_[queue_.front()];
    queue_.pop_front();
    lock.unlock();
    std::exception_ptr error;
    try {
      processes_.all_reduce_sum(parameters_.flat_gradients().slice(0, bucket.begin, bucket.end - bucket.begin));
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error) error_ = error;
    ++exchanged_;
    changed_.notify_all();
  }
}

}  // namespace fledge::train
