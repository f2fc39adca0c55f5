// Any bytes as a JSON Schema (first byte 's') or as a regular expression: refused in a sentence, or a constraint whose
// walks never end in a dead end and, for a schema, end in JSON.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "infer/constraint/constraint.h"

using namespace fledge;

namespace {

const std::shared_ptr<const infer::VocabularyTrie>& vocabulary() {
  static const auto kVocabulary = [] {
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
    for (const char* token : {"{\"", "\":", "true", "ab", "12", "\xE2\x82", "\\u00"}) tokens.emplace_back(token);
    return std::make_shared<const infer::VocabularyTrie>(tokens);
  }();
  return kVocabulary;
}

infer::Grammar parse(std::string_view text, bool schema) {
  if (!schema) return infer::parse_regex(text);
  return infer::compile_json_schema(base::parse_ordered_json(text, "input"));
}

void walk(infer::TokenConstraint& constraint, bool schema, uint64_t choices) {
  std::string text;
  std::vector<uint64_t> mask((vocabulary()->size() + 63) / 64);
  for (int step = 0; step < 40; ++step) {
    constraint.allowed(mask);
    if (constraint.may_end() && schema) (void)base::parse_json(text, "walk");
    std::vector<int32_t> allowed;
    for (size_t token = 0; token < vocabulary()->size(); ++token) {
      if ((mask[token / 64] >> token % 64 & 1) != 0) allowed.push_back(static_cast<int32_t>(token));
    }
    if (allowed.empty()) {
      if (!constraint.may_end()) std::abort();
      return;
    }
    choices = choices * 6364136223846793005U + 1442695040888963407U;
    const int32_t token = allowed[(choices >> 33) % allowed.size()];
    constraint.accept(token);
    text += vocabulary()->bytes(token);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const bool schema = text.starts_with('s');
  if (!text.empty()) text.remove_prefix(1);
  std::shared_ptr<infer::CompiledConstraint> compiled;
  try {
    compiled = infer::CompiledConstraint::make(parse(text, schema), vocabulary());
  } catch (const base::Error&) {
    return 0;  // One clear sentence is the right answer to bad input.
  }
  for (uint64_t number = 0; number < 3; ++number) {
    const auto constraint = compiled->begin();
    try {
      walk(*constraint, schema, number + size);
    } catch (const base::Error& error) {
      // A grammar may be too ambiguous to follow; every byte is a token here, so nothing else may happen.
      if (std::string_view(error.what()).find("simplify") == std::string_view::npos) std::abort();
    }
  }
  return 0;
}
