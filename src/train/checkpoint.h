#pragma once

#include <filesystem>

#include "models/adapters/model_adapter.h"
#include "models/language_model.h"
#include "tensor/process_group.h"
#include "train/optimizer.h"

namespace fledge::train {

/// What a run must remember beside weights and moments; everything else (order of the data, dropout) is a function of
/// the recipe and the step.
struct TrainingState {
  int64_t step = 0;           ///< optimizer steps done
  int64_t target_tokens = 0;  ///< trained on so far
  double best_validation_loss = 0.0;
  int64_t best_step = -1;       ///< -1: no evaluation yet
  std::string recipe_identity;  ///< of the keys that decide what is computed; a resumed run must have the same
};

/// RUN/checkpoints/step-000500.
std::filesystem::path checkpoint_folder(const std::filesystem::path& run, int64_t step);

/// Writes a model folder, or where `adapter` is given that adapter's, plus optimizer.safetensors and trainer.json,
/// atomically. `tokenizer` (may be empty) is the
/// folder whose files go along. All processes call it; process 0 writes. The content does not depend on the number of
/// processes.
void save_checkpoint(const std::filesystem::path& folder, const models::LanguageModel& model,
                     const models::ModelAdapter* adapter, AdamW& optimizer, nn::Memory& memory,
                     const TrainingState& state, const std::filesystem::path& tokenizer,
                     tensor::ProcessGroup& processes);

/// Brings model (or adapter) and optimizer to where a checkpoint was. Throws Error naming the file that is missing or
/// wrong.
TrainingState load_checkpoint(const std::filesystem::path& folder, models::LanguageModel& model,
                              models::ModelAdapter* adapter, AdamW& optimizer, nn::Memory& memory);

/// Removes the checkpoints that the policy does not keep: all but the newest `keep_last` (0: all are kept) and, with
/// `keep_best`, the best one.
void remove_old_checkpoints(const std::filesystem::path& run, int64_t keep_last, bool keep_best, int64_t best_step);

}  // namespace fledge::train
