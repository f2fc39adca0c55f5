#include "train/objectives/distillation/on_policy.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "infer/batch_scheduler.h"

namespace fledge::train {
namespace {

// Streams of random numbers, one per use.
constexpr uint64_t kChoiceStream = 0x6f776e726f77;  // "ownrow"
constexpr uint64_t kSeedStream = 0x6f776e746578;    // "owntex"

/// One row of a batch.
struct Row {
  int64_t length;
  int32_t *ids, *targets, *positions, *document_starts;  ///< the last two may be null

  Row(const Batch& batch, int64_t row) : length(batch.at("ids").dim(1)) {
    const auto line = [&](const char* name) {
      return batch.has(name) ? batch.at(name).data<int32_t>() + row * length : nullptr;
    };
    ids = line("ids");
    targets = batch.at("targets").data<int32_t>() + row * length;
    positions = line("positions");
    document_starts = line("document_starts");
  }
};

/// The places [first, last) of the longest document of a row.
struct Document {
  int64_t first, last;
};

Document longest_document(const Row& row) {
  if (row.document_starts == nullptr) return {0, row.length};
  Document longest{0, 0};
  for (int64_t first = 0; first < row.length;) {
    int64_t last = first + 1;
    while (last < row.length && row.document_starts[last] == row.document_starts[first]) ++last;
    if (last - first > longest.last - longest.first) longest = {first, last};
    first = last;
  }
  return longest;
}

/// The tokens that are given; empty where the row has no target to replace.
std::vector<int32_t> prompt_of(const Row& row) {
  const Document document = longest_document(row);
  int64_t first_target = document.first;
  while (first_target < document.last && row.targets[first_target] < 0) ++first_target;
  if (first_target == document.last) return {};
  const int64_t half = std::max<int64_t>(1, (document.last - document.first) / 2);
  const int64_t count = first_target == document.first ? half : first_target - document.first + 1;
  if (count >= row.length) return {};
  return {row.ids + document.first, row.ids + document.first + count};
}

/// The row becomes this one text, with targets behind the prompt.
void write_row(const Row& row, const std::vector<int32_t>& text, int64_t prompt) {
  const auto count = std::min(static_cast<int64_t>(text.size()), row.length);
  for (int64_t place = 0; place < row.length; ++place) {
    const bool own = place < count, has_target = place + 1 >= prompt && place + 1 < count;
    const int64_t start = own ? 0 : count;
    row.ids[place] = own ? text[static_cast<size_t>(place)] : 0;
    row.targets[place] = has_target ? text[static_cast<size_t>(place) + 1] : kIgnoredTarget;
    if (row.positions != nullptr) row.positions[place] = static_cast<int32_t>(place - start);
    if (row.document_starts != nullptr) row.document_starts[place] = static_cast<int32_t>(start);
  }
}

/// Collects one continuation.
class Continuation : public infer::RequestListener {
 public:
  bool on_token(const infer::SampledToken& token) override {
    tokens.push_back(token.token);
    return true;
  }
  void on_finish(const infer::RequestResult& finished) override { result = finished; }

  std::vector<int32_t> tokens;
  infer::RequestResult result;
};

struct Task {
  Row row;
  std::vector<int32_t> prompt;
  std::shared_ptr<Continuation> continuation;
};

}  // namespace

void write_own_samples(models::LanguageModel& model, nn::Memory& memory, const OnPolicyOptions& options,
                       std::span<Batch> batches, std::span<const int64_t> first_samples, uint64_t seed, uint64_t step) {
  models::require_causal(model, "write texts of its own");
  const base::Random choices(seed, kChoiceStream), seeds(seed, kSeedStream);
  std::vector<Task> tasks;
  std::vector<infer::Request> requests;
  int64_t tokens = 0;
  for (size_t index = 0; index < batches.size(); ++index) {
    for (int64_t number = 0; number < batches[index].at("ids").dim(0); ++number) {
      const auto sample = static_cast<uint64_t>(first_samples[index] + number);
      const auto draw = [&](const base::Random& random) {
        const auto words = random.block(sample, step);
        return (uint64_t{words[0]} << 32) | words[1];
      };
      if (static_cast<double>(draw(choices) >> 11) * 0x1p-53 >= options.share) continue;
      Task task{Row(batches[index], number), {}, std::make_shared<Continuation>()};
      task.prompt = prompt_of(task.row);
      if (task.prompt.empty()) continue;
      infer::Request request;
      request.prompt = task.prompt;
      request.options.sampling.temperature = 1.0;
      request.options.sampling.seed = draw(seeds);
      request.options.max_tokens = task.row.length - static_cast<int64_t>(task.prompt.size());
      request.options.token_count = options.token_count;
      if (options.end_token >= 0) request.options.end_tokens = {options.end_token};
      requests.push_back(std::move(request));
      tokens += task.row.length + 1;
      tasks.push_back(std::move(task));
    }
  }
  if (tasks.empty()) return;

  infer::BatchOptions batch_options;
  batch_options.activation_type = options.activation_type;
  batch_options.share_prefixes = false;
  batch_options.most_running = static_cast<int64_t>(tasks.size());
  const int64_t page = tensor::attention_page_tokens(options.activation_type);
  batch_options.cache_tokens = tokens + static_cast<int64_t>(tasks.size()) * page;
  infer::BatchScheduler scheduler(model, memory, batch_options);
  for (size_t index = 0; index < tasks.size(); ++index) {
    scheduler.submit(index + 1, std::move(requests[index]), tasks[index].continuation);
  }
  while (scheduler.step()) {
  }
  for (Task& task : tasks) {
    const infer::RequestResult& result = task.continuation->result;
    if (!result.error.empty()) throw base::Error("a text of the student's own: {}", result.error);
    std::vector<int32_t> text = task.prompt;
    text.insert(text.end(), task.continuation->tokens.begin(), task.continuation->tokens.end());
    if (result.reason == infer::FinishReason::end_token) text.push_back(options.end_token);
    write_row(task.row, text, static_cast<int64_t>(task.prompt.size()));
  }
  for (Batch& batch : batches) {
    const tensor::Tensor& targets = batch.at("targets");
    const int32_t* first = targets.data<int32_t>();
    batch.target_tokens = std::count_if(first, first + targets.elements(), [](int32_t target) { return target >= 0; });
  }
}

}  // namespace fledge::train
