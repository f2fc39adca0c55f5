#pragma once

#include <memory>
#include <string>

#include "cli/loaded_model.h"
#include "infer/drafter.h"

namespace fledge::cli {

class Verb;

/// What guesses how answers go on, with the model that it needs.
struct Drafting {
  std::shared_ptr<OpenedModel> model;  ///< null: none is needed
  std::unique_ptr<infer::Drafter> drafter;
};

/// Adds --draft.
void add_draft_option(Verb verb, std::string& draft);

/// What `--draft` names: a smaller model with the vocabulary of `target`, or "lookup", the text itself. `cache_tokens`:
/// see ModelDrafter; 0: four times the draft model's context. An empty `draft`: nothing guesses. Throws UsageError
/// where the vocabularies differ, or where the model writes no text.
Drafting open_drafting(const std::string& draft, OpenedModel& target, const nn::Tokenizer& tokenizer,
                       const std::string& precision, int64_t cache_tokens);

/// "61 of 90 guessed tokens were right".
std::string describe(const infer::DraftCounts& drafts);

}  // namespace fledge::cli
