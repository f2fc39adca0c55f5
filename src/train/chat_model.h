#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "nn/text/chat_template.h"
#include "nn/text/tokenizer.h"
#include "train/recipe.h"

namespace fledge::train {

/// What turns conversations into tokens of a model.
struct ChatModel {
  std::filesystem::path path;  ///< folder or GGUF file
  std::shared_ptr<const nn::Tokenizer> tokenizer;
  std::shared_ptr<const nn::ChatTemplate> chat_template;
  bool has_own_template = false;  ///< the model brought it, unchanged
  int64_t context_length = 0;
  base::Json generation_config;  ///< an empty object where the model has none
};

/// Opens the tokenizer and the chat template of a model (a path or a name). `chat_template`: empty for the model's own,
/// "chatml", "zephyr", or a file with a template. `add_tokens` become special tokens, those that the tokenizer has
/// already stay as they are. Throws Error where the model has no template and none is given, or where a template of
/// this program needs a special token that is missing.
ChatModel open_chat_model(const std::string& model, const std::string& chat_template,
                          const std::vector<std::string>& add_tokens);

/// Writes what a folder needs to be talked with: tokenizer.json, tokenizer_config.json with the template,
/// chat_template.jinja where the template is not the model's own, and generation_config.json, whose end tokens hold
/// `end_of_turn` beside those that the model had.
void write_chat_files(const ChatModel& model, const std::vector<int32_t>& end_of_turn,
                      const std::filesystem::path& folder);

}  // namespace fledge::train
