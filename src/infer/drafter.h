#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "infer/page_pool.h"
#include "models/language_model.h"

namespace fledge::infer {

/// One sequence that wants tokens guessed.
struct DraftRequest {
  uint64_t id = 0;                  ///< of the sequence
  std::span<const int32_t> tokens;  ///< all of it so far
  int64_t count = 0;                ///< tokens wanted
  std::vector<int32_t> guess;       ///< receives up to `count` tokens
};

/// How guesses went.
struct DraftCounts {
  int64_t guessed = 0;  ///< tokens
  int64_t right = 0;    ///< of these, tokens that became part of the text

  DraftCounts& operator+=(const DraftCounts& other);
};

/// Tokens to guess in one step at most, where at most `room` tokens may still be made. One of a step's tokens is made
/// without a guess.
int64_t draft_length(int64_t wanted, int64_t room);

/// Guesses how sequences go on, so that the model can check several tokens in one pass (Leviathan et al., "Fast
/// inference from transformers via speculative decoding", 2023). A wrong guess costs time and changes nothing.
class Drafter {
 public:
  virtual ~Drafter() = default;
  virtual void guess(std::span<DraftRequest> requests) = 0;
  /// The sequence has ended.
  virtual void forget(uint64_t id) = 0;
};

/// Guesses with a smaller model of the same vocabulary, greedily.
class ModelDrafter : public Drafter {
 public:
  /// `model` and `memory` must outlive it. `cache_tokens`: room for keys and values of all sequences together; a
  /// sequence that finds none gets no guess.
  ModelDrafter(models::LanguageModel& model, nn::Memory& memory, tensor::DType activation_type, int64_t cache_tokens);

  void guess(std::span<DraftRequest> requests) override;
  void forget(uint64_t id) override;

 private:
  struct Known {
    std::vector<int32_t> tokens;  ///< whose keys and values are in the pages
    std::vector<int32_t> pages;
  };
  bool prepare(const DraftRequest& request, Known& known);
  std::vector<int32_t> run(std::span<Known* const> sequences, std::span<const std::vector<int32_t>> fresh);

  models::LanguageModel& model_;
  nn::Memory& memory_;
  tensor::DType activation_type_;
  nn::SequenceState cache_;
  PagePool pool_;
  std::map<uint64_t, Known> known_;
};

/// Guesses that a sequence goes on as it did where its last few tokens stood before (Saxena, "Prompt lookup decoding",
/// 2023). Costs nothing and helps where text is repeated.
class LookupDrafter : public Drafter {
 public:
  void guess(std::span<DraftRequest> requests) override;
  void forget(uint64_t) override {}
};

}  // namespace fledge::infer
