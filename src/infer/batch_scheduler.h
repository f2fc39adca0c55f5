#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "infer/drafter.h"
#include "infer/engine.h"
#include "infer/page_pool.h"
#include "models/language_model.h"

namespace fledge::infer {

struct BatchOptions {
  tensor::DType activation_type = tensor::DType::f32;  ///< of the arithmetic and of the cache
  int64_t cache_tokens = 0;    ///< tokens whose keys and values are kept, of all sequences; 0: from the memory
  int64_t most_running = 64;   ///< sequences that are worked on at once
  int64_t most_waiting = 512;  ///< requests in the queue; more are refused
  int64_t step_tokens = 512;   ///< tokens of one forward pass: long prompts are read in parts of at most this
  bool share_prefixes = true;  ///< keep what was computed for use by prompts that begin alike
  int64_t draft_tokens = 4;    ///< guessed ahead in a step where there is a drafter
};

/// Works on many requests at once, step by step. A step is one forward pass over a token or more of every sequence:
/// the last token of those that make text, and parts of the prompts of those that do not yet (continuous batching: Yu
/// et al., "Orca", 2022; keys and values in pages: Kwon et al., "PagedAttention", 2023).
///
/// What a request gets depends on neither the other requests, nor on parts, pages, shared prefixes or drafts: the
/// arithmetic of a token is the same in all of them, bit for bit.
///
/// Requests may name an adapter of the model each: the products with the base's weights are made once for all of them,
/// the small ones with A and B for the rows of each adapter.
///
/// When pages run out, the sequence that came last gives its own back and waits; it is computed again later.
/// Not thread-safe; BatchEngine is.
class BatchScheduler {
 public:
  /// `drafter` may be null.
  BatchScheduler(models::LanguageModel& model, nn::Memory& memory, const BatchOptions& options,
                 std::unique_ptr<Drafter> drafter = nullptr);
  ~BatchScheduler();

  /// Throws as TextEngine::submit does where a request could never be answered.
  void check(const Request& request) const;
  /// Puts a checked request into the queue, however long that is.
  void submit(TextEngine::RequestId id, Request request, std::shared_ptr<RequestListener> listener);
  void cancel(TextEngine::RequestId id);

  /// One forward pass and what follows from it. Returns whether there is more to do.
  bool step();
  /// Ends every request with an error.
  void fail_all(const std::string& error);

  EngineStatistics statistics() const;

 private:
  struct Sequence;
  using SequencePointer = std::unique_ptr<Sequence>;
  struct Row;

  void remove_cancelled();
  void admit();
  void begin(Sequence& sequence);
  void draft();
  int64_t prompt_budget() const;
  void plan();
  bool reserve(Sequence& sequence, int64_t tokens);
  void preempt_last();
  void order();
  void set_adapters(grad::Graph& graph, std::span<const Row> rows = {}) const;
  grad::Variable forward(grad::Graph& graph);
  std::vector<Row> rows_to_read() const;
  tensor::Tensor logits_of(grad::Graph& graph, const grad::Variable& hidden, std::span<const Row> rows);
  void score_prompts(grad::Graph& graph, const grad::Variable& hidden, std::span<const Row> rows);
  void sample(grad::Graph& graph, const grad::Variable& hidden, std::span<const Row> rows);
  void advance();
  void report(Sequence& sequence);
  void finish(Sequence& sequence, FinishReason reason, const std::string& error = {});
  void remember(Sequence& sequence, int64_t tokens);
  void give_back(Sequence& sequence);
  void remove_finished();

  models::LanguageModel& model_;
  nn::Memory& memory_;
  BatchOptions options_;
  nn::SequenceState cache_;
  PagePool pool_;
  std::unique_ptr<Drafter> drafter_;
  std::deque<SequencePointer> waiting_;
  std::vector<SequencePointer> running_;  ///< in the order in which they were admitted
  std::vector<Sequence*> computed_;       ///< those with tokens in this step, the ones of an adapter together
  bool has_adapters_ = false;
  EngineStatistics statistics_;
};

/// Tokens that a cache may hold where the user does not say: a quarter of the memory that is free now, at least one
/// whole context and at most 64 of them.
int64_t default_cache_tokens(const models::LanguageModel& model, tensor::DType type);

}  // namespace fledge::infer
