#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "nn/text/jinja/template.h"

namespace fledge::nn {

/// How a chat becomes text.
struct ChatRenderOptions {
  /// End with the beginning of an answer, so that the model writes one.
  bool add_generation_prompt = false;
  base::OrderedJson documents;                                ///< a list, or null
  base::OrderedJson variables = base::OrderedJson::object();  ///< more variables ("enable_thinking", ...)
};

/// A model's chat template: the program that turns a list of messages into the text that the model was trained on.
/// As in Hugging Face's apply_chat_template: keys of a message whose value is null are left out, and a message's
/// reasoning is found under `reasoning_content` and `thinking` whatever its name was.
///
/// Immutable; may be used from several threads at once.
class ChatTemplate {
 public:
  /// One template, such as GGUF's `tokenizer.chat_template`. `special_tokens` are variables ("bos_token": "<s>").
  ChatTemplate(std::string_view source, std::string origin, std::map<std::string, std::string> special_tokens);

  /// The template of a model's folder: chat_template.jinja, or `chat_template` of tokenizer_config.json (a text, or a
  /// list of named templates, of which `tool_use` is taken where there are tools). Nothing where the folder has none:
  /// a base model, which continues text. Throws base::Error naming the file and the line of the template.
  static std::optional<ChatTemplate> load(const std::filesystem::path& folder);

  /// `messages`: a list of objects with "role" and mostly "content"; `tools`: a list of JSON schemas, or null. Throws
  /// base::Error where the template refuses the messages.
  jinja::Rendered render(const base::OrderedJson& messages, const base::OrderedJson& tools,
                         const ChatRenderOptions& options) const;

  /// The template that is used where there are no tools.
  const std::string& source() const { return main_.source(); }
  /// Whether the template speaks of tools at all.
  bool knows_tools() const;

 private:
  jinja::Template main_;
  std::optional<jinja::Template> with_tools_;
  std::map<std::string, std::string> special_tokens_;
};

/// The names and texts of the special tokens that a tokenizer_config.json names ("bos_token", "eos_token", ...).
std::map<std::string, std::string> special_token_texts(const base::Json& tokenizer_config);

}  // namespace fledge::nn
