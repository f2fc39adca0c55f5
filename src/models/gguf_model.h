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

/// Builds the model of a GGUF file and fills its parameters. With f32 and without `trainable`, quantized and bf16
/// matrices stay as they are stored, views of the mapped file where their rows need not be moved. Throws Error naming
/// what is missing, unexpected or of the wrong shape.
LoadedModel load_gguf_model(const std::filesystem::path& file, tensor::DType type, bool trainable);

/// Reads every parameter of `model` from a GGUF file of its architecture, converted to its type. What GGUF files do not
/// hold (BERT's pooler) becomes 0; parameters that may be lacking keep their values.
void read_gguf_values(LanguageModel& model, const GgufReader& file, const MayLack& may_lack = {});

/// The tokenizer of a model: of a GGUF file, or of a Hugging Face folder.
nn::Tokenizer load_tokenizer(const std::filesystem::path& path);

/// A tensor of the file as Hugging Face's folder has it, in f32 or f64.
tensor::Tensor read_as_hugging_face(const GgufReader& file, const std::string& name, GgufChange change,
                                    const GgufHeads& heads, tensor::DType type, tensor::Arena& arena);

/// The opposite change of an f32 tensor of a Hugging Face folder; `name` is for errors.
tensor::Tensor as_gguf(const tensor::Tensor& values, const std::string& name, GgufChange change, const GgufHeads& heads,
                       tensor::Arena& arena);

}  // namespace fledge::models
