#pragma once

#include <span>

#include "models/language_model.h"
#include "train/data/batch.h"

namespace fledge::train {

struct OnPolicyOptions {
  double share = 0.0;       ///< of the rows
  int32_t token_count = 0;  ///< only ids below this are made
  int32_t end_token = -1;   ///< ends a text and is part of it
  tensor::DType activation_type = tensor::DType::f32;
};

/// Replaces some rows by what the model writes itself (Agarwal et al., "On-policy distillation of language models",
/// 2024). Of a row's longest document it keeps the prompt: what stands before its first target, or where the whole text
/// is a target, the first half. The model continues it to the row's end or to the end of the text, at temperature 1;
/// the tokens that it wrote are the row's targets. Which rows, and what is drawn, are functions of the seed, the step
/// and the sample's number. `batches[i]` begins with the sample first_samples[i].
void write_own_samples(models::LanguageModel& model, nn::Memory& memory, const OnPolicyOptions& options,
                       std::span<Batch> batches, std::span<const int64_t> first_samples, uint64_t seed, uint64_t step);

}  // namespace fledge::train
