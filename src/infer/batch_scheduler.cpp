#include "infer/batch_scheduler.h"

#include <unistd.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"
#include "grad/graph.h"
#include "infer/batch_sequence.h"
#include "tensor/elementwise.h"
#include "tensor/gather.h"

namespace fledge::infer {
namespace {

using tensor::Tensor;

/// Rows of logits that are held at once while a prompt is scored.
constexpr size_t kScoredRows = 64;
/// With more sequences than this the products are wide enough and guesses do not pay.
constexpr size_t kMostDrafting = 8;

std::span<float> row_of(const Tensor& logits, size_t row) {
  const auto columns = static_cast<size_t>(logits.dim(1));
  return {logits.data<float>() + row * columns, columns};
}

}  // namespace

BatchScheduler::BatchScheduler(models::LanguageModel& model, nn::Memory& memory, const BatchOptions& options,
                               std::unique_ptr<Drafter> drafter)
    : model_(model),
      memory_(memory),
      options_(options),
      pool_(std::max<int64_t>(1, (options.cache_tokens > 0 ? options.cache_tokens
                                                           : default_cache_tokens(model, options.activation_type)) /
                                     tensor::attention_page_tokens(options.activation_type)),
            tensor::attention_page_tokens(options.activation_type)),
      drafter_(std::move(drafter)) {
  cache_ = nn::make_pages(model.state_layout(), pool_.page_count(), options.activation_type, memory.activations);
  has_adapters_ = std::ranges::any_of(model.parameters().entries(), [](const auto& e) { return e.options.of_adapter; });
}

BatchScheduler::~BatchScheduler() = default;

void BatchScheduler::check(const Request& request) const {
  const auto length = static_cast<int64_t>(request.prompt.size());
  const int64_t context = model_.context_length(), room = pool_.page_count() * pool_.page_tokens();
  if (length == 0) throw base::UsageError("a prompt needs at least one token");
  if (length >= context) {
    throw base::UsageError("the prompt has {} tokens and the model's context is {}: no room is left for an answer",
                           length, context);
  }
  if (length >= room) {
    throw base::UsageError("the prompt has {} tokens and the cache has room for {}", length, room);
  }
  if (request.options.max_tokens < 1) {
    throw base::UsageError("max_tokens is {}, expected at least 1", request.options.max_tokens);
  }
  for (const int32_t token : request.prompt) {
    if (token < 0 || token >= model_.vocabulary_size()) {
      throw base::UsageError("the prompt has token {}, but the vocabulary has {} tokens", token,
                             model_.vocabulary_size());
    }
  }
  check_sampling_options(request.options.sampling);
}

void BatchScheduler::submit(TextEngine::RequestId id, Request request, std::shared_ptr<RequestListener> listener) {
  waiting_.push_back(std::make_unique<Sequence>(id, std::move(request), std::move(listener)));
}

void BatchScheduler::cancel(TextEngine::RequestId id) {
  const auto mark = [&](const SequencePointer& sequence) {
    if (sequence->id == id) sequence->cancelled = true;
  };
  std::ranges::for_each(waiting_, mark);
  std::ranges::for_each(running_, mark);
}

bool BatchScheduler::step() {
  remove_cancelled();
  admit();
  draft();
  plan();
  remove_finished();
  if (!running_.empty()) {
    grad::Graph graph(memory_.activations, memory_.encodings, options_.activation_type, false);
    const grad::Variable hidden = forward(graph);
    const std::vector<Row> rows = rows_to_read();
    const auto made = std::ranges::find_if(rows, [](const Row& row) { return row.position >= row.sequence->size(); });
    const auto scored = static_cast<size_t>(made - rows.begin());
    score_prompts(graph, hidden, std::span(rows).first(scored));
    sample(graph, hidden, std::span(rows).subspan(scored));
    advance();
    remove_finished();
    ++statistics_.steps;
  }
  return !running_.empty() || !waiting_.empty();
}

void BatchScheduler::fail_all(const std::string& error) {
  for (SequencePointer& sequence : waiting_) running_.push_back(std::move(sequence));
  waiting_.clear();
  for (SequencePointer& sequence : running_) {
    if (!sequence->finished) finish(*sequence, FinishReason::cancelled, error);
  }
  remove_finished();
}

EngineStatistics BatchScheduler::statistics() const {
  EngineStatistics result = statistics_;
  result.running = static_cast<int64_t>(running_.size());
  result.waiting = static_cast<int64_t>(waiting_.size());
  result.pages = pool_.page_count();
  result.free_pages = pool_.available();
  return result;
}

void BatchScheduler::remove_cancelled() {
  for (SequencePointer& sequence : waiting_) {
    if (sequence->cancelled) finish(*sequence, FinishReason::cancelled);
  }
  std::erase_if(waiting_, [](const SequencePointer& sequence) { return sequence->finished; });
  for (SequencePointer& sequence : running_) {
    if (sequence->cancelled) finish(*sequence, FinishReason::cancelled);
  }
  remove_finished();
}

/// Lets waiting requests in, in their order, as long as there are pages for what they hold.
void BatchScheduler::admit() {
  while (!waiting_.empty() && static_cast<int64_t>(running_.size()) < options_.most_running) {
    const int64_t needed = waiting_.front()->size() / pool_.page_tokens() + 1;
    if (needed > pool_.available() && !running_.empty()) return;
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    begin(*running_.back());
  }
}

/// Takes over what is remembered of the sequence's tokens; the last one is always computed, for its logits.
void BatchScheduler::begin(Sequence& sequence) {
  if (!sequence.started) {
    sequence.begun = Sequence::Clock::now();
    sequence.started = true;
  }
  if (!options_.share_prefixes || (sequence.scores_prompt() && sequence.answer_size() == 0)) return;
  PagePool::Match match = pool_.find(sequence.tokens, sequence.size() - 1, sequence.request.adapter);
  sequence.pages = std::move(match.pages);
  sequence.remembered = static_cast<int64_t>(sequence.pages.size());
  sequence.length = sequence.remembered * pool_.page_tokens();
  if (match.partial_tokens > 0) {
    if (const std::optional<int32_t> page = pool_.take()) {
      for (const tensor::PagedKeyValues& layer : cache_.layers) {
        if (*page == match.partial_page) break;
        tensor::copy(layer.keys.select(0, match.partial_page), layer.keys.select(0, *page));
        tensor::copy(layer.values.select(0, match.partial_page), layer.values.select(0, *page));
      }
      sequence.pages.push_back(*page);
      sequence.length += match.partial_tokens;
    }
  }
  if (sequence.answer_size() == 0) sequence.cached_tokens = sequence.length;
}

void BatchScheduler::draft() {
  for (SequencePointer& sequence : running_) sequence->guess.clear();
  if (drafter_ == nullptr || running_.size() > kMostDrafting) return;
  std::vector<DraftRequest> requests;
  std::vector<Sequence*> asking;
  for (SequencePointer& sequence : running_) {
    // A constraint would have to be taken back after a wrong guess.
    if (sequence->pending() != 1 || sequence->request.constraint != nullptr) continue;
    const int64_t room = std::min(sequence->request.options.max_tokens - sequence->answer_size(),
                                  model_.context_length() - sequence->size());
    const int64_t count = draft_length(options_.draft_tokens, room);
    if (count < 1) continue;
    requests.push_back({sequence->id, sequence->tokens, count, {}});
    asking.push_back(sequence.get());
  }
  if (requests.empty()) return;
  drafter_->guess(requests);
  for (size_t index = 0; index < asking.size(); ++index) asking[index]->guess = std::move(requests[index].guess);
}

/// Tokens of prompts in a step. Where several prompts wait, a step takes the first one and few more, so that who came
/// first has the first token while others are still being read: short products are about as fast as long ones.
int64_t BatchScheduler::prompt_budget() const {
  constexpr int64_t kFewTokens = 128;
  const auto reads = [](const SequencePointer& sequence) { return sequence->pending() > 1; };
  const auto first = std::ranges::find_if(running_, reads);
  if (first == running_.end() || std::find_if(first + 1, running_.end(), reads) == running_.end()) {
    return options_.step_tokens;
  }
  return std::min(options_.step_tokens, std::max(kFewTokens, (*first)->pending()));
}

/// Shares the step's tokens out: one to each sequence that makes text, the rest to prompts, first come first served.
void BatchScheduler::plan() {
  int64_t budget = prompt_budget();
  for (const SequencePointer& sequence : running_) {
    sequence->count = 0;
    if (sequence->pending() == 1) budget -= 1 + static_cast<int64_t>(sequence->guess.size());
  }
  for (size_t index = 0; index < running_.size(); ++index) {
    Sequence& sequence = *running_[index];
    int64_t count = 1;
    if (sequence.pending() > 1) {
      count = std::min(sequence.pending(), budget);
      if (count < 1) continue;
      budget -= count;
    }
    const int64_t needed = sequence.length + count;
    bool fits = reserve(sequence, needed + std::ssize(sequence.guess));
    if (!fits) {
      // A guess neither takes others' pages nor ends an answer.
      sequence.guess.clear();
      fits = reserve(sequence, needed);
    }
    while (!fits && running_.size() > index + 1) {
      preempt_last();
      fits = reserve(sequence, needed);
    }
    if (fits) {
      sequence.count = count;
    } else if (index == 0) {
      finish(sequence, FinishReason::context);  // all pages are its own
    } else {
      preempt_last();
    }
  }
}

/// Takes pages until the sequence has room for `tokens`; false where there are none.
bool BatchScheduler::reserve(Sequence& sequence, int64_t tokens) {
  while (static_cast<int64_t>(sequence.pages.size()) * pool_.page_tokens() < tokens) {
    const std::optional<int32_t> page = pool_.take();
    if (!page) return false;
    sequence.pages.push_back(*page);
  }
  return true;
}

void BatchScheduler::preempt_last() {
  SequencePointer sequence = std::move(running_.back());
  running_.pop_back();
  if (sequence->finished) return;
  give_back(*sequence);
  ++statistics_.preemptions;
  sequence->count = 0;
  waiting_.push_front(std::move(sequence));
}

/// The sequences of this step, those that share an adapter side by side.
void BatchScheduler::order() {
  computed_.clear();
  for (const SequencePointer& sequence : running_) {
    if (sequence->count > 0) computed_.push_back(sequence.get());
  }
  std::ranges::stable_sort(computed_, std::less<>(), [](const Sequence* own) { return own->request.adapter; });
}

/// Tells the graph whose adapter each row of the next products goes through: of all tokens, or of `rows`.
void BatchScheduler::set_adapters(grad::Graph& graph, std::span<const Row> rows) const {
  if (!has_adapters_) return;
  std::vector<grad::Graph::AdapterRun> runs;
  const auto add = [&](const grad::AdapterIdentity* adapter, int64_t count) {
    if (runs.empty() || runs.back().adapter != adapter) runs.push_back({adapter, 0});
    runs.back().rows += count;
  };
  for (const Row& row : rows) add(row.sequence->request.adapter, 1);
  if (rows.empty()) {
    for (const Sequence* own : computed_) add(own->request.adapter, own->count + std::ssize(own->guess));
  }
  graph.set_adapter_runs(std::move(runs));
}

grad::Variable BatchScheduler::forward(grad::Graph& graph) {
  std::vector<int32_t> ids;
  cache_.sequences.clear();
  order();
  set_adapters(graph);
  for (const Sequence* sequence : computed_) {
    const auto first = sequence->tokens.begin() + sequence->length;
    ids.insert(ids.end(), first, first + sequence->count);
    ids.insert(ids.end(), sequence->guess.begin(), sequence->guess.end());
    const auto guessed = static_cast<int64_t>(sequence->guess.size());
    cache_.sequences.push_back({sequence->length, sequence->count + guessed, sequence->pages});
  }
  models::ForwardInput input;
  input.ids = Tensor::from(ids, {1, static_cast<int64_t>(ids.size())}, memory_.activations);
  input.state = &cache_;
  return model_.forward(graph, input).hidden;
}

/// Rows that score a prompt's tokens, then those from which tokens are made.
std::vector<BatchScheduler::Row> BatchScheduler::rows_to_read() const {
  std::vector<Row> scored, made;
  int32_t first = 0;
  for (Sequence* sequence : computed_) {
    const auto guessed = static_cast<int64_t>(sequence->guess.size());
    for (int64_t index = 0; index < sequence->count + guessed; ++index) {
      const Row row{sequence, first + static_cast<int32_t>(index), sequence->length + index + 1};
      if (row.position >= sequence->size()) {
        made.push_back(row);
      } else if (sequence->scores_prompt() && row.position < sequence->prompt_size() &&
                 row.position > static_cast<int64_t>(sequence->scored.size())) {
        scored.push_back(row);
      }
    }
    first += static_cast<int32_t>(sequence->count + guessed);
  }
  scored.insert(scored.end(), made.begin(), made.end());
  return scored;
}

/// Logits [rows, V], f32.
Tensor BatchScheduler::logits_of(grad::Graph& graph, const grad::Variable& hidden, std::span<const Row> rows) {
  std::vector<int32_t> indices;
  for (const Row& row : rows) indices.push_back(row.hidden_row);
  const Tensor all = hidden.value();
  const auto count = static_cast<int64_t>(indices.size());
  Tensor kept = graph.empty({count, all.dim(2)}, all.dtype());
  tensor::gather_rows(all.reshape({-1, all.dim(2)}), Tensor::from(indices, {count}, memory_.activations), kept);
  set_adapters(graph, rows);
  const Tensor logits = models::logits(graph, model_, grad::Variable(kept)).value();
  if (logits.dtype() == tensor::DType::f32) return logits;
  Tensor narrow = graph.empty(logits.shape(), tensor::DType::f32);
  tensor::copy(logits, narrow);
  return narrow;
}

void BatchScheduler::score_prompts(grad::Graph& graph, const grad::Variable& hidden, std::span<const Row> rows) {
  while (!rows.empty()) {
    const auto part = rows.first(std::min(rows.size(), kScoredRows));
    rows = rows.subspan(part.size());
    const Tensor logits = logits_of(graph, hidden, part);
    for (size_t index = 0; index < part.size(); ++index) {
      Sequence& sequence = *part[index].sequence;
      sequence.scored.push_back(sequence.sampler.score(row_of(logits, index),
                                                       sequence.tokens[static_cast<size_t>(part[index].position)],
                                                       sequence.request.prompt_alternatives));
    }
  }
}

/// Makes the next token of every sequence whose logits are there, and those behind a right guess.
void BatchScheduler::sample(grad::Graph& graph, const grad::Variable& hidden, std::span<const Row> rows) {
  if (rows.empty()) return;
  const Tensor logits = logits_of(graph, hidden, rows);
  std::vector<size_t> firsts;  // row of each sequence's first
  for (size_t index = 0; index < rows.size(); ++index) {
    if (index == 0 || rows[index].sequence != rows[index - 1].sequence) firsts.push_back(index);
  }
  base::parallel_dynamic(static_cast<int64_t>(firsts.size()), [&](int64_t item) {
    const size_t first = firsts[static_cast<size_t>(item)];
    Sequence& sequence = *rows[first].sequence;
    try {
      for (size_t index = 0; index <= sequence.guess.size(); ++index) {
        if (!sequence.make_token(row_of(logits, first + index))) return;
        if (index < sequence.guess.size() && sequence.tokens.back() != sequence.guess[index]) return;
      }
    } catch (const std::exception& error) {
      sequence.error = error.what();
    }
  });
}

/// Moves every sequence on by what was computed and tells its listener.
void BatchScheduler::advance() {
  for (const SequencePointer& pointer : running_) {
    Sequence& sequence = *pointer;
    if (sequence.count == 0) continue;
    const int64_t prompt_part =
        std::max<int64_t>(0, std::min(sequence.count, sequence.prompt_size() - sequence.length));
    statistics_.prompt_tokens += prompt_part;
    // The tokens of a right guess have been computed with the step.
    const auto made = static_cast<int64_t>(sequence.made.size()), right = std::max<int64_t>(0, made - 1);
    sequence.drafts += {static_cast<int64_t>(sequence.guess.size()), right};
    sequence.length = std::min(sequence.length + sequence.count + right, sequence.size());
    remember(sequence, sequence.length / pool_.page_tokens() * pool_.page_tokens());
    if (!sequence.error.empty()) {
      finish(sequence, FinishReason::cancelled, sequence.error);
    } else if (made > 0 || sequence.ends_here) {
      report(sequence);
    }
  }
}

void BatchScheduler::report(Sequence& sequence) {
  if (sequence.delivered == 0) {
    sequence.answered = Sequence::Clock::now();
    if (sequence.scores_prompt()) sequence.listener->on_prompt(sequence.scored);
  }
  const std::vector<SampledToken> made = std::exchange(sequence.made, {});
  for (const SampledToken& token : made) {
    if (sequence.is_end(token.token)) return finish(sequence, FinishReason::end_token);
    ++sequence.delivered;
    ++statistics_.answer_tokens;
    if (!sequence.listener->on_token(token)) return finish(sequence, FinishReason::cancelled);
  }
  if (sequence.ends_here) return finish(sequence, FinishReason::end_token);
  if (sequence.delivered >= sequence.request.options.max_tokens) return finish(sequence, FinishReason::length);
  if (sequence.size() >= model_.context_length()) return finish(sequence, FinishReason::context);
}

void BatchScheduler::finish(Sequence& sequence, FinishReason reason, const std::string& error) {
  const RequestResult result = sequence.result(reason, error);
  sequence.finished = true;
  give_back(sequence);
  if (drafter_ != nullptr) drafter_->forget(sequence.id);
  statistics_.cached_tokens += sequence.cached_tokens;
  statistics_.drafts += sequence.drafts;
  ++(!error.empty()                      ? statistics_.requests_failed
     : reason == FinishReason::cancelled ? statistics_.requests_cancelled
                                         : statistics_.requests_finished);
  sequence.listener->on_finish(result);
}

/// Lets the pool remember the pages of the sequence's first `tokens` tokens, which have been computed.
void BatchScheduler::remember(Sequence& sequence, int64_t tokens) {
  const int64_t page_tokens = pool_.page_tokens(), pages = (tokens + page_tokens - 1) / page_tokens;
  if (!options_.share_prefixes || pages <= sequence.remembered) return;
  std::vector<int32_t> held(sequence.pages.begin(), sequence.pages.begin() + pages);
  pool_.remember(std::span<const int32_t>(sequence.tokens).first(static_cast<size_t>(tokens)), held,
                 sequence.request.adapter);
  std::ranges::copy(held, sequence.pages.begin());
  sequence.remembered = tokens / page_tokens;
}

/// Gives all pages back; what stands in them may serve later prompts, or the sequence itself.
void BatchScheduler::give_back(Sequence& sequence) {
  remember(sequence, sequence.length);
  for (const int32_t page : sequence.pages) pool_.release(page);
  sequence.pages.clear();
  sequence.length = sequence.remembered = 0;
}

void BatchScheduler::remove_finished() {
  std::erase_if(running_, [](const SequencePointer& sequence) { return sequence->finished; });
}

int64_t default_cache_tokens(const models::LanguageModel& model, tensor::DType type) {
  int64_t token_bytes = 0;
  for (const nn::StateLayer& layer : model.state_layout()) {
    token_bytes += layer.heads * (layer.key_size + layer.value_size) * static_cast<int64_t>(tensor::size_of(type));
  }
  const int64_t free = int64_t{sysconf(_SC_AVPHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  constexpr int64_t kMostContexts = 64;
  const int64_t context = model.context_length();
  return std::clamp(free / 4 / std::max<int64_t>(1, token_bytes), context, kMostContexts * context);
}

}  // namespace fledge::infer
