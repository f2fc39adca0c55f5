#pragma once

#include "serve/text_run.h"
#include "serve/tool_calls.h"

namespace fledge::serve {

/// POST /v1/chat/completions under way.
class ChatRun : public TextRun {
 public:
  /// `given`: text that the prompt was made to end with and that belongs to the answer (the beginning of a call).
  ChatRun(const ServedModel& model, std::shared_ptr<HttpReply> reply, EventThread& events, Metrics& metrics,
          ChatRequest request, std::string given);

 protected:
  void on_begin() override;
  void on_piece(size_t answer, Piece piece) override;
  void on_answer_end(size_t answer) override;
  base::OrderedJson response() override;
  base::OrderedJson envelope(base::OrderedJson choices) const override;

 private:
  struct Message {
    explicit Message(std::vector<std::string> names) : parser(std::move(names)) {}
    ToolCallParser parser;
    std::string content;
    base::OrderedJson calls = base::OrderedJson::array();
    std::vector<infer::SampledToken> tokens;
    std::vector<infer::SampledToken> waiting;  ///< tokens that no chunk has told of
  };
  void add(size_t answer, const std::string& text);
  base::OrderedJson choice(size_t answer, base::OrderedJson delta, const char* finish_reason);

  const ChatRequest request_;
  const std::string given_;
  const bool finds_calls_;
  std::vector<Message> messages_;
};

/// The prompt of a chat: the rendered template, then what the answer is made to begin with. Throws ApiError.
nn::EncodedChat encode_chat(const ServedModel& model, const ChatRequest& request, const std::string& answer_begin = "");

/// The engine's requests of a chat, and what the answers begin with.
std::vector<infer::Request> chat_engine_requests(const ServedModel& model, const ChatRequest& request,
                                                 std::string& given);

/// The engine's options that all kinds of requests share. Throws ApiError where they do not fit the model.
infer::Request engine_request(const ServedModel& model, const TextRequest& request, std::vector<int32_t> prompt);

}  // namespace fledge::serve
