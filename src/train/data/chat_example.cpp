#include "train/data/chat_example.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/terminal.h"
#include "train/data/chat_messages.h"

namespace fledge::train {
namespace {

using base::OrderedJson;

bool has_list(const OrderedJson& record, const char* key) {
  const auto found = record.find(key);
  return found != record.end() && found->is_array();
}

bool has_text(const OrderedJson& record, const char* key) {
  const auto found = record.find(key);
  return found != record.end() && found->is_string();
}

bool has_answer(const OrderedJson& record, const char* key) {
  return has_list(record, key) || has_text(record, key);
}

bool is_list_of_texts(const OrderedJson& list) {
  return std::ranges::all_of(list, [](const OrderedJson& item) { return item.is_string(); });
}

std::string optional_text(const OrderedJson& record, const char* key) {
  return has_text(record, key) ? record[key].get<std::string>() : std::string();
}

/// "role" and "content", or ShareGPT's "from" and "value", whichever the messages have.
OrderedJson read_messages(const OrderedJson& list) {
  const bool is_shared = !list.empty() && list.front().is_object() && list.front().contains("from");
  return is_shared ? normalized_messages(list, "from", "value") : normalized_messages(list, "role", "content");
}

/// A text is one message of that role.
OrderedJson read_side(const OrderedJson& record, const char* key, std::string_view role) {
  const OrderedJson& value = record[key];
  if (value.is_string()) {
    OrderedJson messages = OrderedJson::array();
    messages.push_back(text_message(role, value.get<std::string>()));
    return messages;
  }
  return read_messages(value);
}

void put_system_first(const OrderedJson& record, OrderedJson& messages) {
  const std::string system = optional_text(record, "system");
  if (system.empty()) return;
  if (!messages.empty() && (messages.front()["role"] == "system" || messages.front()["role"] == "developer")) return;
  messages.insert(messages.begin(), text_message("system", system));
}

OrderedJson tools_of(const OrderedJson& record) {
  const auto found = record.find("tools");
  if (found == record.end() || found->is_null()) return nullptr;
  const OrderedJson tools =
      found->is_string() ? base::parse_ordered_json(found->get<std::string>(), "\"tools\"") : *found;
  if (!tools.is_array()) throw base::Error("\"tools\" is not a list");
  return tools.empty() ? OrderedJson(nullptr) : tools;
}

OrderedJson turns_of(const OrderedJson& list) {
  OrderedJson messages = OrderedJson::array();
  for (const OrderedJson& turn : list) {
    if (!turn.is_string()) throw base::Error("turn {} under \"data\" is not a text", messages.size() + 1);
    messages.push_back(text_message(messages.size() % 2 == 0 ? "user" : "assistant", turn.get<std::string>()));
  }
  return messages;
}

OrderedJson instruction_of(const OrderedJson& record) {
  for (const char* key : {"instruction", "output"}) {
    if (!has_text(record, key)) throw base::Error("there is no text under \"{}\"", key);
  }
  std::string question = record["instruction"].get<std::string>();
  const std::string input = optional_text(record, "input");
  if (!input.empty()) question += "\n\n" + input;
  OrderedJson messages = OrderedJson::array();
  messages.push_back(text_message("user", question));
  messages.push_back(text_message("assistant", record["output"].get<std::string>()));
  return messages;
}

OrderedJson joined(OrderedJson beginning, const OrderedJson& end) {
  for (const OrderedJson& message : end) beginning.push_back(message);
  return beginning;
}

size_t common_beginning(const OrderedJson& a, const OrderedJson& b) {
  size_t length = 0;
  while (length < std::min(a.size(), b.size()) && a[length] == b[length]) ++length;
  return length;
}

/// Cuts what nobody answers, and checks the rest.
Conversation checked(OrderedJson messages, size_t first_trained, const OrderedJson& record, bool* had_unanswered_end) {
  put_system_first(record, messages);
  check_message_order(messages);
  const size_t length = answered_length(messages);
  if (had_unanswered_end != nullptr) *had_unanswered_end = length > 0 && length < messages.size();
  if (length < messages.size()) messages.erase(messages.begin() + static_cast<int64_t>(length), messages.end());
  Conversation result{std::move(messages), first_trained, tools_of(record)};
  bool learns = false;
  for (size_t index = first_trained; index < result.messages.size(); ++index)
    learns |= is_learned(result.messages[index]);
  if (!learns) throw base::Error("there is no assistant's message to learn");
  return result;
}

/// The messages before the answer, which are not learned.
OrderedJson prompt_of(const OrderedJson& record) {
  if (!has_answer(record, "prompt")) throw base::Error("there is no \"prompt\"");
  OrderedJson prompt = read_side(record, "prompt", "user");
  put_system_first(record, prompt);
  if (prompt.empty()) throw base::Error("\"prompt\" is empty");
  return prompt;
}

ChatExample parse_completion(const OrderedJson& record, bool is_judged) {
  if (!has_answer(record, "completion")) throw base::Error("there is no \"completion\"");
  ChatExample example;
  const OrderedJson prompt = prompt_of(record);
  example.chosen = checked(joined(prompt, read_side(record, "completion", "assistant")), prompt.size(), record,
                           &example.had_unanswered_end);
  if (!is_judged) return example;
  const auto label = record.find("label");
  if (label == record.end() || !label->is_boolean()) throw base::Error("\"label\" is neither true nor false");
  example.is_desirable = label->get<bool>();
  return example;
}

ChatExample parse_preference(const OrderedJson& record) {
  for (const char* key : {"chosen", "rejected"}) {
    if (!has_answer(record, key)) throw base::Error("there is no \"{}\"", key);
  }
  OrderedJson chosen = read_side(record, "chosen", "assistant"), rejected = read_side(record, "rejected", "assistant");
  if (chosen.empty() || rejected.empty()) throw base::Error("an answer has no messages");
  const bool repeat_prompt = chosen.front()["role"] != "assistant" && rejected.front()["role"] != "assistant";
  if (!repeat_prompt) {
    if (!has_answer(record, "prompt")) {
      throw base::Error(
          "there is no \"prompt\": give one, or let \"chosen\" and \"rejected\" be lists of messages with the user's");
    }
    const OrderedJson prompt = prompt_of(record);
    chosen = joined(prompt, chosen);
    rejected = joined(prompt, rejected);
  }
  put_system_first(record, chosen);
  put_system_first(record, rejected);
  // Where the two conversations go apart; the same answers to the end have no such place.
  size_t begin = common_beginning(chosen, rejected);
  if (begin == chosen.size() || begin == rejected.size()) begin = std::min(answered_length(chosen), begin);
  while (begin > 0 && (begin >= chosen.size() || chosen[begin]["role"] != "assistant" || begin >= rejected.size() ||
                       rejected[begin]["role"] != "assistant")) {
    --begin;
  }
  if (begin == 0) throw base::Error("\"chosen\" and \"rejected\" are not answers to the same question");
  ChatExample example;
  example.chosen = checked(std::move(chosen), begin, record, &example.had_unanswered_end);
  example.rejected = checked(std::move(rejected), begin, record, nullptr);
  return example;
}

std::string found_keys(const OrderedJson& record) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : record.items()) {
    if (keys.size() == 8) {
      keys.emplace_back("...");
      break;
    }
    keys.push_back(base::printable(key.substr(0, 40)));
  }
  return fmt::format("{}", fmt::join(keys, ", "));
}

}  // namespace

std::string_view name_of(ChatFormat format) {
  constexpr std::string_view kNames[] = {"messages",
                                         "ShareGPT conversations",
                                         "UltraChat",
                                         "Alpaca",
                                         "prompt and completion",
                                         "chosen and rejected",
                                         "prompt, completion and label"};
  return kNames[static_cast<size_t>(format)];
}

ChatFormat recognize_chat_format(const OrderedJson& record, ChatPurpose purpose) {
  if (!record.is_object()) throw base::Error("an object was expected");
  const bool is_pair = has_answer(record, "chosen") && has_answer(record, "rejected");
  const bool is_completion = has_answer(record, "prompt") && has_answer(record, "completion");
  const bool is_judged = is_completion && record.contains("label") && record["label"].is_boolean();
  if (purpose == ChatPurpose::preferences) {
    if (is_pair) return ChatFormat::preference;
    throw base::Error("no preferences: \"chosen\" and \"rejected\" were expected, the keys are: {}",
                      found_keys(record));
  }
  if (purpose == ChatPurpose::judgements) {
    if (is_judged) return ChatFormat::judgement;
    if (is_pair) return ChatFormat::preference;
    throw base::Error("no judged answers: \"prompt\", \"completion\" and \"label\" were expected, the keys are: {}",
                      found_keys(record));
  }
  if (has_list(record, "messages")) return ChatFormat::messages;
  if (has_list(record, "conversations")) return ChatFormat::conversations;
  if (has_list(record, "data") && is_list_of_texts(record["data"])) return ChatFormat::turns;
  if (has_text(record, "instruction") && has_text(record, "output")) return ChatFormat::instruction;
  if (is_completion) return ChatFormat::prompt_completion;
  if (is_pair) return ChatFormat::preference;
  throw base::Error(
      "not a known form of chat; known are \"messages\", \"conversations\", \"data\", \"instruction\" with \"output\", "
      "\"prompt\" with \"completion\", and \"chosen\" with \"rejected\"; the keys are: {}",
      found_keys(record));
}

ChatExample parse_chat_record(const OrderedJson& record, ChatFormat format, ChatPurpose purpose) {
  if (!record.is_object()) throw base::Error("an object was expected");
  const auto whole = [&](OrderedJson messages) {
    ChatExample example;
    example.chosen = checked(std::move(messages), 0, record, &example.had_unanswered_end);
    return example;
  };
  const auto list = [&](const char* key) -> const OrderedJson& {
    if (!has_list(record, key)) throw base::Error("there is no list under \"{}\"", key);
    return record[key];
  };
  switch (format) {
    case ChatFormat::messages:
      return whole(read_messages(list("messages")));
    case ChatFormat::conversations:
      return whole(read_messages(list("conversations")));
    case ChatFormat::turns:
      return whole(turns_of(list("data")));
    case ChatFormat::instruction:
      return whole(instruction_of(record));
    case ChatFormat::prompt_completion:
      return parse_completion(record, false);
    case ChatFormat::judgement:
      return parse_completion(record, purpose == ChatPurpose::judgements);
    case ChatFormat::preference:
      break;
  }
  ChatExample example = parse_preference(record);
  if (purpose == ChatPurpose::conversations) example.rejected.reset();
  if (purpose == ChatPurpose::judgements) example.is_desirable = true;
  return example;
}

std::optional<ChatExample> second_judgement(const ChatExample& example) {
  if (!example.is_desirable || !example.rejected) return std::nullopt;
  ChatExample second;
  second.chosen = *example.rejected;
  second.is_desirable = false;
  return second;
}

}  // namespace fledge::train
