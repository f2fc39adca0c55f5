#pragma once
// A small tokenizer and chats for the tests of chat data.

#include <map>
#include <memory>
#include <string>

#include "nn/text/byte_alphabet.h"
#include "nn/text/chat_template.h"
#include "nn/text/tokenizer.h"
#include "nn/text/tokenizer_parts.h"
#include "train/data/chat_example.h"

namespace fledge::train {

inline constexpr const char* kChatMl =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Byte-level BPE: the bytes, a merge of two newlines, and special tokens.
inline std::shared_ptr<const nn::Tokenizer> chat_tokenizer() {
  base::Json vocabulary = base::Json::object();
  int32_t id = 0;
  const auto letters = [](const std::string& bytes) { return nn::to_byte_alphabet(bytes); };
  for (int byte = 0; byte < 256; ++byte) vocabulary[letters(std::string(1, static_cast<char>(byte)))] = id++;
  vocabulary[letters("\n\n")] = id++;
  base::Json added = base::Json::array();
  for (const char* name : {"<|im_start|>", "<|im_end|>", "<|endoftext|>"}) {
    added.push_back({{"id", id++},
                     {"content", name},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const base::Json section = {
      {"version", "1.0"},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer", nn::pre_tokenizer_section(nn::SplitPattern::kGpt2)},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {letters("\n") + " " + letters("\n")}}}}};
  nn::TokenizerParts parts = nn::parse_tokenizer_json(section.dump(), "test");
  parts.config = {{"eos_token", "<|endoftext|>"}};
  return std::make_shared<const nn::Tokenizer>(std::move(parts));
}

inline std::shared_ptr<const nn::ChatTemplate> chat_template(const std::string& source) {
  return std::make_shared<const nn::ChatTemplate>(source, "test",
                                                  std::map<std::string, std::string>{{"eos_token", "<|endoftext|>"}});
}

/// user, assistant, user, ... with these contents.
inline Conversation conversation(const std::vector<std::string>& turns) {
  Conversation result;
  for (const std::string& turn : turns) {
    result.messages.push_back({{"role", result.messages.size() % 2 == 0 ? "user" : "assistant"}, {"content", turn}});
  }
  return result;
}

}  // namespace fledge::train
