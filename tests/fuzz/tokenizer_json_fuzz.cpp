// Any bytes as a tokenizer.json (or, after a zero byte, as a rank file): refused in a sentence, or a tokenizer that
// encodes without a fault and whose own file reads back.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "nn/text/tokenizer.h"
#include "nn/text/tokenizer_parts.h"

using namespace fledge;

namespace {

nn::TokenizerParts parse(std::string_view text) {
  if (text.starts_with('\0')) return nn::parse_tiktoken(text.substr(1), "input", nn::SplitPattern::kLlama3);
  return nn::parse_tokenizer_json(text, "input");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const nn::Tokenizer tokenizer(parse(text));
    const auto ids = tokenizer.encode("It's the 1st light\n\n on \xC3\xA9\xFF <mask>  x", {.add_special = true});
    nn::StreamDecoder stream(tokenizer, false);
    std::string parts;
    for (const int32_t id : ids) {
      tokenizer.token_bytes(id);
      parts += stream.push(id);
    }
    if (parts + stream.finish() != tokenizer.decode(ids)) std::abort();
    const nn::Tokenizer again(nn::parse_tokenizer_json(nn::tokenizer_json(tokenizer.parts()), "its own file"));
  } catch (const base::Error&) {
    // One clear sentence is the right answer to bad input.
  }
  return 0;
}
