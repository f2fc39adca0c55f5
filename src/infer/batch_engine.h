#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "infer/batch_scheduler.h"

namespace fledge::infer {

/// A BatchScheduler on a thread of its own. The model and its memory belong to that thread while the engine lives.
class BatchEngine : public TextEngine {
 public:
  /// `drafter` may be null. `model` and `memory` must outlive the engine.
  BatchEngine(models::LanguageModel& model, nn::Memory& memory, const BatchOptions& options,
              std::unique_ptr<Drafter> drafter = nullptr);
  /// Ends every request that is still there with reason `cancelled`.
  ~BatchEngine() override;

  RequestId submit(Request request, std::shared_ptr<RequestListener> listener) override;
  void cancel(RequestId id) override;
  EngineStatistics statistics() const override;
  int64_t context_length() const override { return model_.context_length(); }
  int64_t vocabulary_size() const override { return model_.vocabulary_size(); }

 private:
  struct Arrival {
    RequestId id;
    Request request;
    std::shared_ptr<RequestListener> listener;
  };
  void run();
  bool take_arrivals();

  models::LanguageModel& model_;
  const int64_t most_waiting_;
  BatchScheduler scheduler_;

  mutable std::mutex mutex_;  ///< guards what follows
  std::condition_variable arrived_;
  std::vector<Arrival> arrivals_;
  std::vector<RequestId> cancellations_;
  EngineStatistics statistics_;
  int64_t refused_ = 0;
  RequestId next_id_ = 1;
  bool stopping_ = false;
  bool idle_ = true;

  std::thread thread_;
};

}  // namespace fledge::infer
