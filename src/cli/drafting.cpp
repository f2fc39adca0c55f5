#include "cli/drafting.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "cli/verb.h"

namespace fledge::cli {
namespace {

/// Nothing for an id that is no token.
std::optional<std::string_view> bytes_of(const nn::Tokenizer& tokenizer, int32_t id) {
  if (id >= tokenizer.vocabulary_size()) return std::nullopt;
  try {
    return tokenizer.token_bytes(id);
  } catch (const base::Error&) {
    return std::nullopt;
  }
}

/// The first id that means something else, or -1.
int32_t first_difference(const nn::Tokenizer& left, const nn::Tokenizer& right) {
  const int32_t size = std::max(left.vocabulary_size(), right.vocabulary_size());
  for (int32_t id = 0; id < size; ++id) {
    if (bytes_of(left, id) != bytes_of(right, id)) return id;
  }
  return -1;
}

}  // namespace

void add_draft_option(Verb verb, std::string& draft) {
  verb.add_option("--draft", draft,
                  "A smaller model of the same vocabulary that guesses tokens ahead; the model (of several, the first) "
                  "checks them at once: the same answers, sooner. 'lookup' guesses from the text itself")
      .type_name("DIR")
      .group("Model");
}

Drafting open_drafting(const std::string& draft, OpenedModel& target, const nn::Tokenizer& tokenizer,
                       const std::string& precision, int64_t cache_tokens) {
  if (draft.empty()) return {};
  if (draft == "lookup") return {nullptr, std::make_unique<infer::LookupDrafter>()};
  auto opened = std::make_shared<OpenedModel>(open_model(draft, precision, false));
  if (!opened->model().is_causal()) {
    throw base::UsageError("--draft: {} is an encoder and writes no text", draft);
  }
  const int32_t difference = first_difference(open_tokenizer(*opened), tokenizer);
  if (difference >= 0) {
    throw base::UsageError("--draft: {} has another vocabulary than the model it guesses for; token {} differs", draft,
                           difference);
  }
  if (opened->model().vocabulary_size() > target.model().vocabulary_size()) {
    throw base::UsageError("--draft: {} has {} rows of vocabulary, more than the {} of the model it guesses for", draft,
                           opened->model().vocabulary_size(), target.model().vocabulary_size());
  }
  if (cache_tokens == 0) cache_tokens = 4 * opened->model().context_length();
  auto drafter =
      std::make_unique<infer::ModelDrafter>(opened->model(), opened->memory(), opened->activation_type, cache_tokens);
  return {std::move(opened), std::move(drafter)};
}

std::string describe(const infer::DraftCounts& drafts) {
  return fmt::format("{} of {} guessed tokens were right", drafts.right, drafts.guessed);
}

}  // namespace fledge::cli
