#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/model_io.h"
#include "nn/text/chat_template.h"
#include "nn/text/tokenizer.h"

namespace fledge::cli {

/// A model folder as the verbs use it.
struct OpenedModel {
  std::filesystem::path folder;
  models::LoadedModel loaded;
  tensor::DType activation_type = tensor::DType::f32;

  models::LanguageModel& model() { return *loaded.model; }
  nn::Memory& memory() { return *loaded.memory; }
};

/// "bf16", "f32", or "auto": bf16 where the machine multiplies it faster than f32.
tensor::DType activation_type_of(const std::string& precision);

/// The same for making text, where "auto" is also bf16 where that halves what is read from memory.
std::string precision_for_text(const std::string& precision);

/// Opens a model, or the newest checkpoint of a run, with adapters (see parse_adapter). A path that means an adapter
/// opens the base that it names, with the adapter on it.
OpenedModel open_model(const std::string& path, const std::string& precision, bool trainable,
                       const std::vector<std::string>& adapters = {});
OpenedModel open_model(const std::string& path, const std::string& precision, bool trainable,
                       std::vector<models::AdapterSource> adapters);

/// The tokenizer in a model's folder; throws Error where there is none, or where it has more tokens than the model.
nn::Tokenizer open_tokenizer(OpenedModel& opened);

/// The token that ends a text, for generation: eos of the tokenizer, or of generation_config.json; -1 where none.
int32_t end_token_of(OpenedModel& opened, const nn::Tokenizer& tokenizer);

/// Every token that ends an answer: the tokenizer's, and one or several of generation_config.json.
std::vector<int32_t> end_tokens_of(OpenedModel& opened, const nn::Tokenizer& tokenizer);

/// The model's chat template: of its folder, or in its GGUF file. Nothing: a base model.
std::optional<nn::ChatTemplate> chat_template_of(const OpenedModel& opened, const nn::Tokenizer& tokenizer);

}  // namespace fledge::cli
