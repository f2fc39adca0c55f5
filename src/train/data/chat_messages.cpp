#include "train/data/chat_messages.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/json.h"
#include "base/terminal.h"

namespace fledge::train {
namespace {

using base::OrderedJson;

struct RoleName {
  std::string_view found, role;
};
constexpr std::array kRoles = {
    RoleName{"system", "system"},    RoleName{"developer", "developer"}, RoleName{"user", "user"},
    RoleName{"human", "user"},       RoleName{"prompter", "user"},       RoleName{"assistant", "assistant"},
    RoleName{"gpt", "assistant"},    RoleName{"chatgpt", "assistant"},   RoleName{"bing", "assistant"},
    RoleName{"bard", "assistant"},   RoleName{"model", "assistant"},     RoleName{"tool", "tool"},
    RoleName{"observation", "tool"}, RoleName{"function", "tool"},
};

std::string_view role_named(const std::string& name, size_t number) {
  const auto* found = std::ranges::find(kRoles, std::string_view(name), &RoleName::found);
  if (found != kRoles.end()) return found->role;
  throw base::Error(
      "message {} has the role \"{}\"; it can be system, developer, user, assistant or tool (also human and gpt)",
      number, base::printable(name.substr(0, 40)));
}

/// The text of a list of parts: [{"type": "text", "text": ...}, ...].
std::string text_of_parts(const OrderedJson& parts, size_t number) {
  std::string text;
  for (const OrderedJson& part : parts) {
    const bool is_text = part.is_object() && part.value("type", OrderedJson("text")) == "text" &&
                         part.contains("text") && part["text"].is_string();
    if (!is_text) throw base::Error("message {} has a part that is not text; only text can be learned", number);
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

bool has_tool_calls(const OrderedJson& message) {
  const auto found = message.find("tool_calls");
  return found != message.end() && found->is_array() && !found->empty();
}

OrderedJson normalized_message(const OrderedJson& message, std::string_view role_key, std::string_view content_key,
                               size_t number) {
  if (!message.is_object()) throw base::Error("message {} is not an object", number);
  const std::string role_name(role_key), content_name(content_key);
  if (!message.contains(role_name) || !message[role_name].is_string())
    throw base::Error("message {} has no \"{}\"", number, role_key);
  OrderedJson result = {{"role", role_named(message[role_name].get<std::string>(), number)}};
  const auto content = message.find(content_name);
  if (content != message.end() && content->is_string()) {
    result["content"] = *content;
  } else if (content != message.end() && content->is_array()) {
    result["content"] = text_of_parts(*content, number);
  } else if (has_tool_calls(message) && (content == message.end() || content->is_null())) {
    result["content"] = "";
  } else {
    throw base::Error("message {} has no text under \"{}\"", number, content_key);
  }
  for (const auto& [name, value] : message.items()) {
    if (name != role_name && name != content_name && !value.is_null()) result[name] = value;
  }
  return result;
}

std::string_view role_of(const OrderedJson& message) {
  return message["role"].get_ref<const std::string&>();
}

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n\f\v") == std::string::npos;
}

}  // namespace

OrderedJson text_message(std::string_view role, const std::string& text) {
  return {{"role", role}, {"content", text}};
}

OrderedJson normalized_messages(const OrderedJson& list, std::string_view role_key, std::string_view content_key) {
  if (!list.is_array()) throw base::Error("a list of messages was expected");
  OrderedJson messages = OrderedJson::array();
  for (const OrderedJson& message : list) {
    messages.push_back(normalized_message(message, role_key, content_key, messages.size() + 1));
  }
  return messages;
}

void check_message_order(const OrderedJson& messages) {
  std::string_view before;
  bool after_calls = false;
  for (size_t index = 0; index < messages.size(); ++index) {
    const OrderedJson& message = messages[index];
    const std::string_view role = role_of(message);
    const size_t number = index + 1;
    const bool is_system = role == "system" || role == "developer";
    if (is_system && index > 0)
      throw base::Error("message {} is a {} message, which can only be the first one", number, role);
    if (role == "user" && before == "user") throw base::Error("messages {} and {} are both the user's", index, number);
    if (role == "assistant" && before != "user" && before != "tool") {
      if (before == "assistant") throw base::Error("messages {} and {} are both the assistant's", index, number);
      throw base::Error("message {} is the assistant's, before the user said anything", number);
    }
    if (role == "user" && after_calls)
      throw base::Error("message {} is the user's, but the tool that message {} calls has not answered", number, index);
    if (role == "tool" && !after_calls && before != "tool")
      throw base::Error("message {} is a tool's answer, but message {} calls no tool", number, index);
    if (is_blank(message["content"].get_ref<const std::string&>()) && !has_tool_calls(message) && role != "tool")
      throw base::Error("message {} ({}) is empty", number, role);
    after_calls = role == "assistant" && has_tool_calls(message);
    before = role;
  }
}

size_t answered_length(const OrderedJson& messages) {
  size_t length = messages.size();
  while (length > 0 && role_of(messages[length - 1]) != "assistant") --length;
  return length;
}

bool is_learned(const OrderedJson& message) {
  if (role_of(message) != "assistant") return false;
  const auto weight = message.find("weight");
  return weight == message.end() || !weight->is_number() || weight->get<double>() != 0.0;
}

}  // namespace fledge::train
