#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "infer/engine.h"
#include "infer/token_constraint.h"
#include "nn/text/chat_encoder.h"
#include "nn/text/tokenizer.h"

namespace fledge::serve {

/// Turns texts into vectors of one length. Called from several threads.
class Embedder {
 public:
  virtual ~Embedder() = default;
  /// One vector per text. Throws base::UsageError, with the numbers, where a text is too long.
  virtual std::vector<std::vector<float>> embed(const std::vector<std::vector<int32_t>>& texts) = 0;
  virtual int64_t dimensions() const = 0;
};

/// What a chat template is rendered with.
struct ChatInput {
  base::OrderedJson messages;
  base::OrderedJson tools;  ///< null: none
  bool add_generation_prompt = true;
  base::OrderedJson arguments = base::OrderedJson::object();  ///< further names
  nn::ChatEnding ending;
};

/// A model as clients see it. What it cannot do is null.
struct ServedModel {
  std::string id;
  int64_t created = 0;  ///< seconds since 1970
  std::shared_ptr<const nn::Tokenizer> tokenizer;
  std::shared_ptr<infer::TextEngine> engine;
  std::vector<int32_t> end_tokens;
  std::string template_source;
  /// Renders the chat template and encodes it; special tokens are the template's own, and what messages spell is text.
  /// Throws base::Error with what the template says, and nn::ChatEndingError.
  std::function<nn::EncodedChat(const ChatInput&)> encode_chat;
  /// A constraint at the beginning of its text, from a JSON Schema; throws base::UsageError where it is not one.
  std::function<std::shared_ptr<infer::TokenConstraint>(const base::OrderedJson& schema)> constrain;
  std::shared_ptr<Embedder> embedder;
};

}  // namespace fledge::serve
