#pragma once

#include <filesystem>
#include <memory>

#include "models/formats/safetensors.h"
#include "models/language_model.h"

namespace fledge::models {

/// A model with its values and the arenas that hold them.
struct LoadedModel {
  std::unique_ptr<nn::Memory> memory;
  std::unique_ptr<LanguageModel> model;
};

/// Opens a Hugging Face folder (config.json and safetensors), or a GGUF file or folder that holds one (see
/// load_gguf_model). Values are converted to `type` (f32, or f64 for reference
/// computations). With `trainable`, gradients get their memory too. Throws Error naming what is missing, unexpected or
/// of the wrong shape.
LoadedModel load_model(const std::filesystem::path& folder, tensor::DType type, bool trainable);

/// Reads every parameter of `model` from `weights`. Names may lack the family's prefix ("transformer."); buffers that
/// old files carry (attention masks, position ids) and a tied head are passed over.
void load_weights(LanguageModel& model, const SafetensorsReader& weights);

/// Writes config.json and model.safetensors into an existing folder.
void save_model(const LanguageModel& model, const std::filesystem::path& folder);

/// The model that a user means by a path or a name; see resolve_model() in models/store.h.
std::filesystem::path resolve_model_folder(const std::filesystem::path& path);

/// The newest checkpoint under RUN/checkpoints, or empty.
std::filesystem::path newest_checkpoint(const std::filesystem::path& run);

}  // namespace fledge::models
