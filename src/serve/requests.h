#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/json.h"
#include "infer/sampler.h"

namespace fledge::serve {

/// What requests for text have in common.
struct TextRequest {
  std::string model;
  infer::SamplingOptions sampling;  ///< with a seed where none was given
  std::vector<std::string> stop;
  std::optional<int64_t> max_tokens;
  int64_t answers = 1;  ///< "n"
  bool stream = false;
  bool include_usage = false;
  /// Report log-probabilities in OpenAI's form, with this many alternatives.
  std::optional<int64_t> top_log_probabilities;
  /// Report tokens in fledge's own form ("fledge": {"probabilities": k}), with this many alternatives.
  std::optional<int64_t> probabilities;
  std::vector<std::string> ignored;  ///< fields that nobody knows
};

struct Tool {
  std::string name;
  base::OrderedJson parameters;  ///< a JSON Schema of the arguments
};

enum class ToolChoice : uint8_t { none, automatic, required, named };

/// The form that the answer's text must have: `schema` is a JSON Schema; nothing: free text.
struct ResponseFormat {
  std::optional<base::OrderedJson> schema;
};

/// POST /v1/chat/completions
struct ChatRequest : TextRequest {
  base::OrderedJson messages;  ///< as chat templates want them: contents are strings
  base::OrderedJson tool_definitions = base::OrderedJson::array();
  std::vector<Tool> tools;
  ToolChoice tool_choice = ToolChoice::none;
  std::string chosen_tool;
  bool parallel_tool_calls = true;
  ResponseFormat format;
  bool continue_final_message = false;
  bool add_generation_prompt = true;
  base::OrderedJson template_arguments =
      base::OrderedJson::object();  ///< "chat_template_kwargs": further names for the template
};

/// A prompt is text, or tokens.
using Prompt = std::variant<std::string, std::vector<int32_t>>;

/// POST /v1/completions
struct CompletionRequest : TextRequest {
  std::vector<Prompt> prompts;
  bool echo = false;
};

/// POST /v1/embeddings
struct EmbeddingRequest {
  std::string model;
  std::vector<Prompt> inputs;
  bool base64 = false;
  std::optional<int64_t> dimensions;
};

/// Each throws ApiError 400 naming the field that is wrong.
ChatRequest parse_chat_request(const base::OrderedJson& body);
CompletionRequest parse_completion_request(const base::OrderedJson& body);
EmbeddingRequest parse_embedding_request(const base::OrderedJson& body);

/// Messages of a chat, checked, with contents that are lists of text parts joined to strings. `path` names them in
/// errors.
base::OrderedJson parse_messages(const base::OrderedJson& messages, const std::string& path);

}  // namespace fledge::serve
