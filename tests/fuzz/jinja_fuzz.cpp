// Any bytes as a chat template: refused in a sentence, or rendered within its limits.
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "nn/text/chat_template.h"

using namespace fledge;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  nn::jinja::Limits limits;
  limits.steps = 100000;
  limits.text_bytes = limits.output_bytes = 1 << 20;
  limits.items = 10000;
  const base::OrderedJson variables = {
      {"messages", {{{"role", "user"}, {"content", "Hi \xC3\xA9"}}, {{"role", "assistant"}, {"content", nullptr}}}},
      {"n", 3},
      {"f", 2.5},
      {"l", {3, 1, 2}},
      {"tools", nullptr}};
  try {
    const nn::jinja::Template parsed(source, "input", limits);
    parsed.render(variables);
  } catch (const base::Error&) {
    // One clear sentence is the right answer to bad input.
  }
  return 0;
}
