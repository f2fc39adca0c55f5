#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/chat_settings.h"
#include "cli/drafting.h"
#include "cli/loaded_model.h"
#include "infer/batch_engine.h"
#include "nn/text/chat_encoder.h"

namespace fledge::cli {

enum class AnswerEnd : uint8_t { end_token, stop_text, length, context, interrupted };

/// What the model said, and how.
struct Answer {
  std::string text;
  std::vector<infer::SampledToken> tokens;
  std::vector<int32_t> prompt;  ///< what it read
  int64_t new_from = 0;         ///< in `prompt`: behind the earlier turns
  int64_t cached_tokens = 0;    ///< of the prompt, not computed again
  infer::DraftCounts drafts;
  AnswerEnd end = AnswerEnd::end_token;
};

/// The conversation leaves no room in the model's context; the sentence has the numbers.
class ConversationTooLong : public base::Error {
 public:
  using base::Error::Error;
};

/// A conversation: messages, settings, and the engine with the model. Keys and values of earlier turns are kept, so
/// each answer reads only what is new.
class ChatSession {
 public:
  ChatSession(OpenedModel opened, nn::Tokenizer tokenizer, nn::ChatTemplate chat_template, ChatSettings settings,
              Drafting drafting);

  /// Adds the user's message and the model's answer, which `show` receives as it is made: whole characters, nothing of
  /// a stop text. Ctrl+C (a base::InterruptGuard lives) ends it early. Where the model said nothing, because of Ctrl+C
  /// or of an error, the message is taken back. Throws ConversationTooLong.
  Answer ask(const std::string& message, const std::function<void(const std::string&)>& show);
  /// Another answer to the last message. Throws base::UsageError where there is none; on errors and where Ctrl+C comes
  /// before the first word, the old answer stays.
  Answer answer_again(const std::function<void(const std::string&)>& show);

  /// An empty text: none. Throws base::Error, and changes nothing, where the template takes no such message.
  void set_system(const std::string& text);
  std::string system() const;
  /// Forgets everything but the system message.
  void clear();

  /// The text that the model would read now.
  std::string rendered() const;
  /// Nothing before the first answer, and after clear().
  const std::optional<Answer>& last_answer() const { return last_answer_; }
  const base::OrderedJson& messages() const { return messages_; }

  base::OrderedJson to_json() const;
  /// Takes over a saved conversation. Throws base::Error naming `origin`, and changes nothing, where it is not one.
  void load(const base::OrderedJson& saved, const std::string& origin);

  ChatSettings& settings() { return settings_; }
  const nn::Tokenizer& tokenizer() const { return tokenizer_; }
  int64_t context_length() const { return engine_.context_length(); }
  std::string model_name() const { return opened_.folder.string(); }
  /// How many of the likeliest tokens are kept beside each one.
  void keep_alternatives(int64_t count) { alternatives_ = count; }

 private:
  nn::EncodedChat encode(const base::OrderedJson& messages, bool begin_answer) const;
  infer::Request request_of(const nn::EncodedChat& chat);
  Answer answer(const base::OrderedJson& messages, const std::function<void(const std::string&)>& show);
  Answer keep(base::OrderedJson messages, Answer answer);

  OpenedModel opened_;
  nn::Tokenizer tokenizer_;
  nn::ChatTemplate template_;
  nn::ChatEncoder encoder_;
  std::vector<int32_t> end_tokens_;
  std::shared_ptr<OpenedModel> draft_model_;  ///< null: none
  infer::BatchEngine engine_;
  ChatSettings settings_;
  base::OrderedJson messages_ = base::OrderedJson::array();
  std::vector<nn::EncodedChat> known_;  ///< the conversation after each answer
  std::optional<Answer> last_answer_;
  int64_t alternatives_ = 0;
  uint64_t answers_ = 0;  ///< drawn so far: each has a seed of its own
};

/// The messages of a saved chat, with their roles and contents alone. Throws base::Error naming `origin` and the
/// message that is not one.
base::OrderedJson saved_messages(const base::OrderedJson& saved, const std::string& origin);

/// The model's generation_config.json, with what its config.json says where that is silent.
base::Json generation_config_of(OpenedModel& opened);

}  // namespace fledge::cli
