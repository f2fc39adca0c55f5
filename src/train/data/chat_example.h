#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace fledge::train {

/// A conversation, whose assistant messages from `first_trained` on are learned, but for those with "weight": 0.
struct Conversation {
  /// [{"role": "user", "content": "..."}, ...], checked: see parse_chat_record().
  base::OrderedJson messages = base::OrderedJson::array();
  size_t first_trained = 0;
  base::OrderedJson tools;  ///< a list of JSON schemas, or null

  bool operator==(const Conversation&) const = default;
};

/// What one record of a chat file says.
struct ChatExample {
  /// The conversation; of a preference the one with the better answer.
  Conversation chosen;
  /// Of a preference: the same beginning with the worse answer.
  std::optional<Conversation> rejected;
  /// Of an answer that was judged alone: whether it was liked.
  std::optional<bool> is_desirable;
  /// The conversation ended with messages that nobody answers; they are left out.
  bool had_unanswered_end = false;
};

/// What examples are wanted for.
enum class ChatPurpose : uint8_t {
  conversations,  ///< supervised: every format; of preferences the better answer
  preferences,    ///< pairs of answers
  judgements,     ///< answers with a label; of preferences both, the better one liked
};

/// How a file's records are laid out. The first record that is sound decides for the whole file.
enum class ChatFormat : uint8_t {
  messages,           ///< OpenAI: {"messages": [{"role", "content"}, ...]}
  conversations,      ///< ShareGPT: {"conversations": [{"from": "human" | "gpt", "value"}, ...]}
  turns,              ///< UltraChat: {"id", "data": ["user's", "assistant's", ...]}
  instruction,        ///< Alpaca: {"instruction", "input", "output"}
  prompt_completion,  ///< {"prompt", "completion"}, texts or lists of messages
  preference,         ///< {"prompt", "chosen", "rejected"}, texts or lists of messages; "prompt" may be missing
  judgement,          ///< {"prompt", "completion", "label": true | false}
};

/// "messages", "ShareGPT conversations", ...
std::string_view name_of(ChatFormat format);

/// The format of a record for a purpose. Throws Error that names the keys that were found where it is none of them.
ChatFormat recognize_chat_format(const base::OrderedJson& record, ChatPurpose purpose);

/// A record of that format, checked: every message has a role (system, developer, user, assistant, tool) and text; a
/// system message may come first, then user and assistant take turns, tools answering in between; there is an answer
/// to learn, and no message is empty. Texts under prompt, completion, chosen and rejected are one user's or one
/// assistant's message. A conversation's end without an answer is left out. Throws Error with a sentence about the
/// message that is wrong (the caller knows file and line).
ChatExample parse_chat_record(const base::OrderedJson& record, ChatFormat format, ChatPurpose purpose);

/// The same of a judgement, which a preference is twice: the better answer, then the worse one.
std::optional<ChatExample> second_judgement(const ChatExample& example);

}  // namespace fledge::train
