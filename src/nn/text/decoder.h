#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"

namespace fledge::nn {

/// Receives pieces of decoded text in order.
using TextSink = std::function<void(std::string_view)>;

/// One step on the way from tokens to text, for one text: takes tokens one by one and gives on what is certain. What a
/// step gives on are tokens of its own for the next step, until a step has joined them: then pieces of one long text.
class DecoderStep {
 public:
  virtual ~DecoderStep() = default;
  virtual void push(std::string_view token, const TextSink& next) = 0;
  /// No more tokens come.
  virtual void finish(const TextSink& /*next*/) {}
};

/// The section "decoder" of tokenizer.json: makes the steps for a text. Immutable; threads may share it.
class Decoder {
 public:
  /// For a null section the tokens are joined by spaces, as Hugging Face does. Throws base::Error naming `origin` and
  /// what is not supported.
  Decoder(const base::Json& section, std::string_view origin);

  /// Decodes one text, token by token. Keeps a reference to the decoder.
  class Stream {
   public:
    explicit Stream(const Decoder& decoder);
    /// The text that became certain with this token.
    std::string push(std::string_view token);
    /// The text that was held back. The stream is then as new.
    std::string finish();

   private:
    void pass(size_t step, std::string_view token, std::string& text);

    const Decoder* decoder_;
    std::vector<std::unique_ptr<DecoderStep>> steps_;
  };

 private:
  using Factory = std::function<std::unique_ptr<DecoderStep>()>;
  void add(const base::Json& section, std::string_view origin);

  std::vector<Factory> factories_;
  bool joined_ = false;  // while reading the section: the steps so far give one text
};

}  // namespace fledge::nn
