#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "infer/generator.h"
#include "models/language_model.h"
#include "nn/text/tokenizer.h"

namespace fledge::train {

/// A question for a model.
struct AnswerRequest {
  std::vector<int32_t> prompt;
  infer::GenerationOptions options;
  std::vector<std::string> until;  ///< texts that end the answer and are no part of it
};

/// What a model wrote.
struct Answer {
  std::string text;
  int64_t tokens = 0;
  bool ended = false;  ///< by an end token or one of `until`; otherwise it was cut off
};

/// Answers of a model to many prompts, made at once. Each is what the prompt alone would get. `on_progress` is called
/// with the number of finished ones; it may throw to stop. Throws Error where a prompt leaves no room for an answer.
std::vector<Answer> answer_all(models::LanguageModel& model, nn::Memory& memory, const nn::Tokenizer& tokenizer,
                               const std::vector<AnswerRequest>& requests, tensor::DType activation_type,
                               const std::function<void(int64_t done, int64_t total)>& on_progress = {});

}  // namespace fledge::train
