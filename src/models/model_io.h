#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/adapters/model_adapter.h"
#include "models/formats/safetensors.h"
#include "models/language_model.h"

namespace fledge::models {

/// A model with its values and the arenas that hold them.
struct LoadedModel {
  std::unique_ptr<nn::Memory> memory;
  std::unique_ptr<LanguageModel> model;
  std::vector<std::unique_ptr<ModelAdapter>> adapters;  ///< in the order in which they were asked for
};

/// An adapter's folder, the name that tells it from others, and how much of it counts.
struct AdapterSource {
  std::string name;
  std::filesystem::path folder;
  double weight = 1.0;
};

struct LoadOptions {
  tensor::DType type = tensor::DType::f32;  ///< of values; f64 for reference computations
  bool trainable = false;                   ///< gradients get their memory too
  bool widen = false;                       ///< keep nothing as it is stored, so that values can be changed
  std::vector<AdapterSource> adapters;
};

/// Opens a Hugging Face folder (config.json and safetensors), or a GGUF file or folder that holds one. With f32 and
/// without `trainable`, matrices in bf16 or quantized blocks stay as they are stored (keep_matrices). Throws Error
/// naming what is missing, unexpected or of the wrong shape.
LoadedModel load_model(const std::filesystem::path& path, const LoadOptions& options);
LoadedModel load_model(const std::filesystem::path& path, tensor::DType type, bool trainable);

struct KeepOptions {
  bool round_to_bf16 =
      false;  ///< wider matrices of linear layers too, so that arithmetic in bf16 needs no f32 beside it
  std::optional<tensor::BlockType> quantize = std::nullopt;  ///< matrices [out, in] that are not in blocks
};

/// Before memory is allocated: keeps the matrices of frozen layers and tables as they are stored, in bf16 or in
/// quantized blocks, as views of the mapped file where that is possible. On the meta device sizes alone.
void keep_matrices(LanguageModel& model, const std::filesystem::path& path, const KeepOptions& options,
                   tensor::Arena& arena);

/// The content of config.json of a Hugging Face folder, or what a GGUF file says in its place.
base::Json read_config(const std::filesystem::path& path);

/// Says of a parameter whether a file may lack it.
using MayLack = std::function<bool(const std::string& name)>;

/// Reads every parameter of `model`, which has its memory, from a Hugging Face folder or a GGUF file, converted to its
/// type. Parameters that may be lacking keep their values, and so do those that keep_matrices() has bound.
void read_values(LanguageModel& model, const std::filesystem::path& path, const MayLack& may_lack = {});

/// Reads every parameter of `model`, but auxiliary ones, from `weights`. Names may lack the family's prefix
/// ("transformer."); buffers that old files carry (attention masks, position ids) and a tied head are passed over.
void load_weights(LanguageModel& model, const SafetensorsReader& weights, const MayLack& may_lack = {});

/// Writes config.json and model.safetensors, without auxiliary parameters, into an existing folder. `stored_type` says
/// in which type a parameter is stored: f32, or bf16 (rounded); without it, its own.
using StoredTypeOf = std::function<tensor::DType(const std::string& name)>;
void save_model(const LanguageModel& model, const std::filesystem::path& folder, const StoredTypeOf& stored_type = {});

/// The model that a user means by a path or a name; see resolve_model() in models/store.h.
std::filesystem::path resolve_model_folder(const std::filesystem::path& path);

/// The newest checkpoint under RUN/checkpoints, or empty.
std::filesystem::path newest_checkpoint(const std::filesystem::path& run);

/// The folder of the adapter that a path means: itself, or the newest checkpoint of a run that trained one; empty where
/// it means something else.
std::filesystem::path find_adapter(const std::filesystem::path& path);

}  // namespace fledge::models
