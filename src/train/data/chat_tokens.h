#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nn/text/chat_encoder.h"
#include "nn/text/chat_template.h"
#include "nn/text/tokenizer.h"
#include "train/data/chat_example.h"

namespace fledge::train {

/// Tokens [begin, end).
struct TokenSpan {
  int32_t begin = 0, end = 0;
  bool operator==(const TokenSpan&) const = default;
};

/// A conversation as a model reads it, and which of its tokens it learns to write.
struct ChatTokens {
  std::vector<int32_t> ids;
  std::vector<TokenSpan> trained;  ///< rising, apart from each other, none empty
  /// A trained turn has no special token at its end: the model does not learn where to stop.
  bool has_open_end = false;

  int64_t trained_count() const;
};

/// Which of the assistant's turns are trained.
enum class TrainedTurns : uint8_t { all, last };

/// Renders conversations through a chat template and finds the assistant's tokens, with the end-of-turn token and
/// without what the generation prompt supplies.
///
/// Where the template marks them ({% generation %}), the marks say. Otherwise by comparing renderings: a turn begins
/// where the rendering of the messages before it, with the generation prompt, ends, and it ends with the turn's last
/// special token in the rendering of the messages up to it. This holds only where each of these is how the next longer
/// one begins; where not, the conversation is refused.
///
/// Immutable; may be used from several threads at once.
class ChatTokenizer {
 public:
  ChatTokenizer(std::shared_ptr<const nn::Tokenizer> tokenizer, std::shared_ptr<const nn::ChatTemplate> chat_template,
                TrainedTurns turns);

  /// Throws AmbiguousTurns where the trained tokens cannot be told, base::Error where the template refuses the
  /// messages.
  ChatTokens tokenize(const Conversation& conversation) const;

  /// The template has {% generation %} marks.
  bool has_marks() const { return has_marks_; }
  const nn::Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  struct KeySpan {
    size_t begin = 0, end = 0;
    bool is_marked = false;  ///< the template itself says where it ends
  };
  std::vector<KeySpan> spans_by_marks(const nn::jinja::Rendered& whole, const std::vector<size_t>& turns,
                                      const base::OrderedJson& messages) const;
  std::vector<KeySpan> spans_by_difference(const std::string& whole, const std::vector<size_t>& turns,
                                           const base::OrderedJson& messages, const base::OrderedJson& tools) const;
  std::string rendered_beginning(const base::OrderedJson& messages, size_t count, const base::OrderedJson& tools,
                                 bool add_generation_prompt) const;
  void add_span(const KeySpan& span, size_t begin, size_t end, ChatTokens& tokens) const;

  std::shared_ptr<const nn::Tokenizer> tokenizer_;
  std::shared_ptr<const nn::ChatTemplate> template_;
  nn::ChatEncoder encoder_;
  TrainedTurns turns_;
  bool has_marks_;
};

/// The trained tokens of a conversation cannot be told apart from the others.
class AmbiguousTurns : public base::Error {
 public:
  using base::Error::Error;
};

}  // namespace fledge::train
