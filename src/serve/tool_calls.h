#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "serve/requests.h"

namespace fledge::serve {

/// A call that a model wrote.
struct ToolCall {
  std::string name;
  std::string arguments;  ///< JSON
};

/// How a family of models writes calls, told from its chat template.
enum class ToolConvention : uint8_t {
  hermes,   ///< <tool_call>{"name": ..., "arguments": {...}}</tool_call>: Hermes, Qwen and other ChatML models
  mistral,  ///< [TOOL_CALLS][{"name": ..., "arguments": {...}}]
  llama,    ///< {"name": ..., "parameters": {...}} and nothing else: Llama 3.1 and later
};
ToolConvention convention_of(std::string_view template_source);

/// Finds calls in a model's text as it comes, in any of the conventions. What is no call goes on as text, nothing of it
/// lost; a call comes out whole when it is complete.
class ToolCallParser {
 public:
  /// `names`: the tools that exist. A text that is bare JSON counts as a call only where it names one of them.
  explicit ToolCallParser(std::vector<std::string> names) : names_(std::move(names)) {}

  /// Takes more text; returns what is certainly text for the user.
  std::string push(std::string_view text);
  /// The text has ended.
  std::string finish();
  /// Calls that were found since this was last asked.
  std::vector<ToolCall> take_calls();

 private:
  enum class State : uint8_t { text, tagged, bare_json, listed };
  bool step(std::string& out);
  bool read_text(std::string& out);
  bool read_tagged(std::string& out);
  bool add_call(std::string_view text, bool known_names_only);
  bool add_bare_json();
  bool add_listed();

  std::vector<std::string> names_;
  State state_ = State::text;
  bool began_ = false;  ///< text other than white space was seen
  std::string buffer_;
  std::string marker_;  ///< that opened the state
  std::vector<ToolCall> calls_;
};

/// The JSON Schema of a call's text where one of the tools must be called; `chosen`: that one, or empty for any.
base::OrderedJson call_schema(const std::vector<Tool>& tools, const std::string& chosen, ToolConvention convention);
/// What the answer begins with where a call must follow.
std::string call_prefix(ToolConvention convention);

}  // namespace fledge::serve
