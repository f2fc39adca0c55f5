#include <array>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "models/gguf_tokenizer.h"

namespace fledge::models {
namespace {

using base::Error;
using base::Json;
using nn::SplitPattern;

enum class Split { gpt2, digits_gpt2, llama3, qwen2 };

struct SplitName {
  std::string_view name;
  Split split;
};

// The first name of a split is the one that is written.
constexpr std::array kSplits = {
    SplitName{"gpt-2", Split::gpt2},
    SplitName{"phi-2", Split::gpt2},
    SplitName{"mpt", Split::gpt2},
    SplitName{"olmo", Split::gpt2},
    SplitName{"smollm", Split::digits_gpt2},
    SplitName{"starcoder", Split::digits_gpt2},
    SplitName{"refact", Split::digits_gpt2},
    SplitName{"command-r", Split::digits_gpt2},
    SplitName{"codeshell", Split::digits_gpt2},
    SplitName{"llama-bpe", Split::llama3},
    SplitName{"llama3", Split::llama3},
    SplitName{"llama-v3", Split::llama3},
    SplitName{"qwen2", Split::qwen2},
    SplitName{"deepseek-r1-qwen", Split::qwen2},
};

Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

Json isolated(SplitPattern pattern) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", nn::split_regex(pattern)}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

Json sequence(Json first, Json second) {
  return {{"type", "Sequence"}, {"pretokenizers", Json::array({std::move(first), std::move(second)})}};
}

Json section_of(Split split) {
  switch (split) {
    case Split::gpt2:
      return byte_level(true);
    case Split::digits_gpt2:
      return sequence({{"type", "Digits"}, {"individual_digits", true}}, byte_level(true));
    case Split::llama3:
      return sequence(isolated(SplitPattern::kLlama3), byte_level(false));
    case Split::qwen2:
      return sequence(isolated(SplitPattern::kQwen2), byte_level(false));
  }
  return nullptr;
}

/// What a section does, without what does not change the tokens.
void append_steps(const Json& section, const std::string& origin, std::string& steps) {
  const auto type = base::json_get<std::string>(section, "type", "", origin);
  if (type == "Sequence" && section.contains("pretokenizers") && section["pretokenizers"].is_array()) {
    for (const Json& step : section["pretokenizers"]) append_steps(step, origin, steps);
  } else if (type == "ByteLevel") {
    steps += base::json_get(section, "use_regex", true, origin) ? "bytes split;" : "bytes;";
  } else if (type == "Digits") {
    steps += base::json_get(section, "individual_digits", false, origin) ? "digit;" : "digits;";
  } else if (type == "Split" && section.contains("pattern")) {
    steps += section["pattern"].dump(-1, ' ', false, Json::error_handler_t::replace) + ";";
  } else {
    steps += type + "?;";
  }
}

}  // namespace

GgufSplit split_of_gguf(const std::string& pre, const std::string& origin) {
  std::string known;
  for (const SplitName& entry : kSplits) {
    if (entry.name == pre) {
      const Json normalizer = entry.split == Split::qwen2 ? Json{{"type", "NFC"}} : Json(nullptr);
      return {normalizer, section_of(entry.split), entry.split == Split::llama3};
    }
    known += fmt::format("{}{}", known.empty() ? "" : ", ", entry.name);
  }
  throw Error("{}: splits text before tokenizing as \"{}\" does, which is not known; fledge knows {}", origin, pre,
              known);
}

std::string gguf_name_of_split(const Json& pre_tokenizer, const std::string& origin) {
  std::string steps;
  if (pre_tokenizer.is_object()) append_steps(pre_tokenizer, origin, steps);
  for (const SplitName& entry : kSplits) {
    std::string of_entry;
    append_steps(section_of(entry.split), origin, of_entry);
    if (of_entry == steps) return std::string(entry.name);
  }
  throw Error("{}: splits text in a way for which GGUF files have no name that is known to fledge", origin);
}

}  // namespace fledge::models
