#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "models/formats/gguf.h"

namespace fledge::models {

/// Told of every tensor that has been converted.
using ConvertProgress = std::function<void(int64_t done, int64_t total)>;

/// Writes a model (what resolve_model() finds: a GGUF file, or a folder of either kind) as a Hugging Face folder:
/// config.json, model.safetensors in one file, generation_config.json and the tokenizer. Tensors in bf16 stay bf16;
/// everything else that a GGUF file holds becomes f32. A BERT gets a pooler of zeros, which the file does not have.
/// An older folder of that name is replaced when the new one is whole. With `own_head`, a head that is tied to the
/// embedding becomes a tensor of its own with the same values; throws Error for a family that has none.
void write_hugging_face(const std::filesystem::path& model, const std::filesystem::path& folder,
                        const ConvertProgress& on_progress = {}, bool own_head = false);

/// The type of a tensor in a GGUF file.
struct GgufChoice {
  const GgufType* wanted;  ///< by llama.cpp's convention
  const GgufType* used;    ///< the same, or another one where the rows do not fill its blocks

  bool fell_back() const { return !(*wanted == *used); }
};

/// What write_gguf() did otherwise than asked.
struct GgufReport {
  struct Fallback {
    std::string name;
    int64_t columns;  ///< elements of a row
    GgufChoice choice;
  };
  std::vector<Fallback> fallbacks;
  std::vector<std::string> left_out;  ///< tensors that a GGUF file has no place for (the pooler and the heads of BERT)
};

/// Writes a model (as above) as a GGUF file of version 3 whose matrices have the type `type` where llama.cpp's
/// convention does not say otherwise (gguf_type_for). With a null type each tensor keeps its own: f32, f16, bf16 or the
/// file's blocks. The same model gives the same bytes.
GgufReport write_gguf(const std::filesystem::path& model, const std::filesystem::path& file, const GgufType* type,
                      const ConvertProgress& on_progress = {});

/// The type that a tensor gets in a file of matrices in `type`, after llama.cpp's convention: norms, biases, positions
/// and token types stay F32; in a quantized file the head (or the embedding that it is tied to) has at least Q6_K; with
/// Q4_K, attention's values and the feed-forward's second matrix have Q6_K in the first and last eighth of the layers
/// and in every third one between. Where rows are no whole blocks of 256, Q4_K becomes Q5_0 and Q6_K becomes Q8_0;
/// where they are no whole blocks of 32, F16.
GgufChoice gguf_type_for(const std::string& name, const tensor::Shape& shape, const GgufType& type, int64_t layers,
                         bool tied_head);

}  // namespace fledge::models
