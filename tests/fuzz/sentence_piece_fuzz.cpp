// Any bytes as a SentencePiece model: refused in a sentence, or a tokenizer that encodes and decodes without a fault
// and whose tokenizer.json reads back.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "nn/text/tokenizer.h"
#include "nn/text/tokenizer_parts.h"

using namespace fledge;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const nn::Tokenizer tokenizer(nn::parse_sentence_piece(bytes, "input"));
    const auto ids = tokenizer.encode("  It's the 1st light\n on \xC3\xA9\xFF <usr> \xEF\xBC\xA1<s>x ");
    const std::string whole = tokenizer.decode(ids);
    nn::StreamDecoder stream(tokenizer, false);
    std::string parts;
    for (const int32_t id : ids) parts += stream.push(id);
    if (parts + stream.finish() != whole) std::abort();
    const nn::Tokenizer again(nn::parse_tokenizer_json(nn::tokenizer_json(tokenizer.parts()), "its own file"));
  } catch (const base::Error&) {
    // One clear sentence is the right answer to bad input.
  }
  return 0;
}
