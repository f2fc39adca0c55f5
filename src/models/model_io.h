#pragma once

#include <filesystem>
#include <functional>
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

/// The content of config.json of a Hugging Face folder, or what a GGUF file says in its place.
base::Json read_config(const std::filesystem::path& path);

/// Says of a parameter whether a file may lack it.
using MayLack = std::function<bool(const std::string& name)>;

/// Reads every parameter of `model`, which has its memory, from a Hugging Face folder or a GGUF file, converted to its
/// type. Parameters that may be lacking keep their values.
void read_values(LanguageModel& model, const std::filesystem::path& path, const MayLack& may_lack = {});

/// Reads every parameter of `model`, but auxiliary ones, from `weights`. Names may lack the family's prefix
/// ("transformer."); buffers that old files carry (attention masks, position ids) and a tied head are passed over.
void load_weights(LanguageModel& model, const SafetensorsReader& weights, const MayLack& may_lack = {});

/// Writes config.json and model.safetensors, without auxiliary parameters, into an existing folder.
void save_model(const LanguageModel& model, const std::filesystem::path& folder);

/// The model that a user means by a path or a name; see resolve_model() in models/store.h.
std::filesystem::path resolve_model_folder(const std::filesystem::path& path);

/// The newest checkpoint under RUN/checkpoints, or empty.
std::filesystem::path newest_checkpoint(const std::filesystem::path& run);

}  // namespace fledge::models
