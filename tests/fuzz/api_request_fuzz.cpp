// Bodies of requests from outside: each parser gives a request or an ApiError; the finder of tool calls finds the same
// calls in a model's text however it is cut.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/json.h"
#include "serve/json_fields.h"
#include "serve/requests.h"
#include "serve/tool_calls.h"

using namespace fledge;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  const auto attempt = [&](auto parse) {
    try {
      parse(serve::parse_body(input));
    } catch (const serve::ApiError& error) {
      if (error.status() != 400 || std::string(error.what()).empty()) std::abort();
      serve::error_response(error);
    }
  };
  attempt([](const base::OrderedJson& body) { serve::parse_chat_request(body); });
  attempt([](const base::OrderedJson& body) { serve::parse_completion_request(body); });
  attempt([](const base::OrderedJson& body) { serve::parse_embedding_request(body); });

  const auto find = [&](size_t piece, size_t& calls) {
    serve::ToolCallParser parser({"add"});
    std::string text;
    for (size_t i = 0; i < input.size(); i += piece) text += parser.push(input.substr(i, piece));
    text += parser.finish();
    calls = parser.take_calls().size();
    return text;
  };
  size_t calls_whole = 0, calls_cut = 0;
  find(input.size() + 1, calls_whole);
  find(1, calls_cut);
  if (calls_whole != calls_cut) std::abort();
  return 0;
}
