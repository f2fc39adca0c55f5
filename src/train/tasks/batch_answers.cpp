#include "train/tasks/batch_answers.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "infer/batch_scheduler.h"
#include "infer/stop.h"

namespace fledge::train {
namespace {

/// Collects one answer.
class Collector : public infer::RequestListener {
 public:
  Collector(const nn::Tokenizer& tokenizer, std::vector<std::string> until)
      : decoder_(tokenizer), filter_(std::move(until)) {}

  bool on_token(const infer::SampledToken& token) override {
    answer_.tokens += 1;
    answer_.text += filter_.push(decoder_.push(token.token));
    return !filter_.found();
  }
  void on_finish(const infer::RequestResult& result) override {
    if (!filter_.found()) answer_.text += filter_.push(decoder_.finish()) + filter_.finish();
    answer_.ended = filter_.found() || result.reason == infer::FinishReason::end_token;
    error_ = result.error;
    finished_ = true;
  }

  const Answer& answer() const { return answer_; }
  const std::string& error() const { return error_; }
  bool finished() const { return finished_; }

 private:
  nn::StreamDecoder decoder_;
  infer::StopFilter filter_;
  Answer answer_;
  std::string error_;
  bool finished_ = false;
};

}  // namespace

std::vector<Answer> answer_all(models::LanguageModel& model, nn::Memory& memory, const nn::Tokenizer& tokenizer,
                               const std::vector<AnswerRequest>& requests, tensor::DType activation_type,
                               const std::function<void(int64_t, int64_t)>& on_progress) {
  infer::BatchOptions options;
  options.activation_type = activation_type;
  options.most_running = 32;
  infer::BatchScheduler scheduler(model, memory, options);
  std::vector<std::shared_ptr<Collector>> collectors;
  for (const AnswerRequest& request : requests) {
    collectors.push_back(std::make_shared<Collector>(tokenizer, request.until));
    infer::Request asked;
    asked.prompt = request.prompt;
    asked.options = request.options;
    scheduler.check(asked);
    scheduler.submit(collectors.size(), std::move(asked), collectors.back());
  }
  bool more = true;
  while (more) {
    more = scheduler.step();
    if (!on_progress) continue;
    const auto done = std::ranges::count_if(collectors, [](const auto& collector) { return collector->finished(); });
    on_progress(done, static_cast<int64_t>(requests.size()));
  }
  std::vector<Answer> answers;
  for (const auto& collector : collectors) {
    if (!collector->error().empty()) throw base::Error("{}", collector->error());
    answers.push_back(collector->answer());
  }
  return answers;
}

}  // namespace fledge::train
