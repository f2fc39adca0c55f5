#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "models/formats/gguf.h"

namespace fledge::models {

/// Told of every tensor that has been converted.
using ConvertProgress = std::function<void(int64_t done, int64_t total)>;

/// Writes a model (a GGUF file, a folder that holds one, or a Hugging Face folder) as a Hugging Face folder:
/// config.json, model.safetensors in one file, generation_config.json and the tokenizer. Tensors in bf16 stay bf16;
/// everything else that a GGUF file holds becomes f32. An older folder of that name is replaced when the new one is
/// whole.
void write_hugging_face(const std::filesystem::path& model, const std::filesystem::path& folder,
                        const ConvertProgress& on_progress = {});

/// Writes a model (as above) as a GGUF file of version 3 whose matrices have the type `type` where llama.cpp's
/// convention does not say otherwise (gguf_type_for). With a null type each tensor keeps its own: f32, f16, bf16 or the
/// file's blocks. The same model gives the same bytes.
void write_gguf(const std::filesystem::path& model, const std::filesystem::path& file, const GgufType* type,
                const ConvertProgress& on_progress = {});

/// The type that a tensor gets in a file of matrices in `type`, after llama.cpp's convention: norms, biases, positions
/// and token types stay F32; in a quantized file the head (or the embedding that it is tied to) has at least Q6_K; with
/// Q4_K, attention's values and the feed-forward's second matrix have Q6_K in the first and last eighth of the layers
/// and in every third one between. Rows that are no whole blocks of 256 get Q8_0, and those of no whole blocks of 32
/// F16.
const GgufType& gguf_type_for(const std::string& name, const tensor::Shape& shape, const GgufType& type, int64_t layers,
                              bool tied_head);

}  // namespace fledge::models
