#include "nn/text/chat_template.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace fledge::nn {
namespace {

struct Sources {
  std::string main, with_tools, origin;
};

/// `chat_template` of tokenizer_config.json: a text, or [{"name": ..., "template": ...}, ...].
Sources sources_of(const base::Json& value, const std::string& origin) {
  if (value.is_string()) return {value.get<std::string>(), "", origin};
  if (!value.is_array()) throw base::Error("{}: \"chat_template\" is neither a text nor a list of templates", origin);
  Sources sources{"", "", origin};
  for (const base::Json& entry : value) {
    const auto name = base::json_require<std::string>(entry, "name", origin);
    const auto text = base::json_require<std::string>(entry, "template", origin);
    if (name == "default") sources.main = text;
    if (name == "tool_use") sources.with_tools = text;
  }
  if (sources.main.empty())
    throw base::Error("{}: \"chat_template\" has no template with the name \"default\"", origin);
  return sources;
}

/// A message as templates expect it.
base::OrderedJson normalized(const base::OrderedJson& message) {
  if (!message.is_object()) throw base::Error("a message of a chat is a JSON object with \"role\" and \"content\"");
  base::OrderedJson result = base::OrderedJson::object();
  const base::OrderedJson* reasoning = nullptr;
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const auto found = message.find(name);
    if (reasoning == nullptr && found != message.end() && !found->is_null()) reasoning = &*found;
  }
  if (reasoning != nullptr && !(message.contains("thinking") && !message["thinking"].is_null()))
    result["thinking"] = *reasoning;
  for (const auto& [name, value] : message.items()) {
    if (!value.is_null()) result[name] = value;
  }
  if (reasoning != nullptr) result["reasoning_content"] = *reasoning;
  return result;
}

}  // namespace

std::map<std::string, std::string> special_token_texts(const base::Json& tokenizer_config) {
  std::map<std::string, std::string> texts;
  if (!tokenizer_config.is_object()) return texts;
  for (const char* name :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
    const auto found = tokenizer_config.find(name);
    if (found == tokenizer_config.end()) continue;
    if (found->is_string()) {
      texts[name] = found->get<std::string>();
    } else if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) {
      texts[name] = (*found)["content"].get<std::string>();
    }
  }
  return texts;
}

ChatTemplate::ChatTemplate(std::string_view source, std::string origin,
                           std::map<std::string, std::string> special_tokens)
    : main_(source, std::move(origin)), special_tokens_(std::move(special_tokens)) {}

std::optional<ChatTemplate> ChatTemplate::load(const std::filesystem::path& folder) {
  const auto config_path = folder / "tokenizer_config.json", file_path = folder / "chat_template.jinja";
  base::Json config = base::Json::object();
  if (std::filesystem::exists(config_path)) config = base::read_json(config_path);
  Sources sources;
  if (std::filesystem::exists(file_path)) {
    sources = {base::read_file(file_path), "", file_path.string()};
  } else if (config.is_object() && config.contains("chat_template") && !config["chat_template"].is_null()) {
    sources = sources_of(config["chat_template"], config_path.string());
  } else {
    return std::nullopt;
  }
  ChatTemplate result(sources.main, sources.origin, special_token_texts(config));
  if (!sources.with_tools.empty()) result.with_tools_.emplace(sources.with_tools, sources.origin);
  return result;
}

bool ChatTemplate::knows_tools() const {
  return with_tools_.has_value() || main_.source().find("tools") != std::string::npos;
}

jinja::Rendered ChatTemplate::render(const base::OrderedJson& messages, const base::OrderedJson& tools,
                                     const ChatRenderOptions& options) const {
  if (!messages.is_array()) throw base::Error("the messages of a chat are a JSON array");
  base::OrderedJson variables = base::OrderedJson::object();
  for (const auto& [name, text] : special_tokens_) variables[name] = text;
  for (const auto& [name, value] : options.variables.items()) variables[name] = value;
  base::OrderedJson list = base::OrderedJson::array();
  for (const auto& message : messages) list.push_back(normalized(message));
  variables["messages"] = std::move(list);
  variables["tools"] = tools;
  variables["documents"] = options.documents;
  variables["add_generation_prompt"] = options.add_generation_prompt;
  const bool has_tools = tools.is_array() && !tools.empty();
  return (has_tools && with_tools_ ? *with_tools_ : main_).render(variables);
}

}  // namespace fledge::nn
