#pragma once

#include <filesystem>

#include "models/formats/gguf.h"
#include "models/gguf_config.h"
#include "models/gguf_names.h"
#include "models/model_io.h"
#include "nn/text/tokenizer.h"

namespace fledge::models {

/// The GGUF file that a user means: `path` itself, or the only *.gguf in a folder that has no config.json; empty where
/// it is neither. Throws Error where a folder holds several.
std::filesystem::path find_gguf(const std::filesystem::path& path);

/// Fills a model's parameters, as read_values() in models/model_io.h.
void read_gguf_values(LanguageModel& model, const GgufReader& file, const MayLack& may_lack);

/// As keep_matrices() in models/model_io.h.
void keep_gguf_matrices(LanguageModel& model, const GgufReader& file, const KeepOptions& options, tensor::Arena& arena);

/// Binds a parameter to blocks of the values that `read` puts into an f32 tensor.
void keep_quantized(grad::Parameter& parameter, tensor::BlockType type, tensor::Arena& arena,
                    const std::function<void(const tensor::Tensor&)>& read);

/// A parameter that keep_matrices() may keep as it is stored; one that it may round.
bool may_be_kept(const nn::ParameterSet::Entry& entry);
bool may_be_quantized(const nn::ParameterSet::Entry& entry);
bool may_be_rounded(LanguageModel& model, const nn::ParameterSet::Entry& entry);

/// The tokenizer of a model: of a GGUF file, or of a Hugging Face folder.
nn::Tokenizer load_tokenizer(const std::filesystem::path& path);

/// A tensor of the file as Hugging Face's folder has it, in f32 or f64.
tensor::Tensor read_as_hugging_face(const GgufReader& file, const std::string& name, GgufChange change,
                                    const GgufHeads& heads, tensor::DType type, tensor::Arena& arena);

/// The opposite change of an f32 tensor of a Hugging Face folder; `name` is for errors.
tensor::Tensor as_gguf(const tensor::Tensor& values, const std::string& name, GgufChange change, const GgufHeads& heads,
                       tensor::Arena& arena);

}  // namespace fledge::models
