#include "train/data/chat_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "train/data/chat_test_support.h"
#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using testing::HasSubstr;

const std::shared_ptr<const nn::Tokenizer>& tokenizer() {
  static const auto shared = chat_tokenizer();
  return shared;
}

ChatTokens tokenize(const std::string& source, const Conversation& chat, TrainedTurns turns = TrainedTurns::all) {
  return ChatTokenizer(tokenizer(), chat_template(source), turns).tokenize(chat);
}

/// The text with the trained parts in brackets.
std::string shown(const ChatTokens& tokens) {
  std::string text;
  int32_t done = 0;
  const auto decode = [&](int32_t begin, int32_t end) {
    return tokenizer()->decode(
        std::span(tokens.ids).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
  };
  for (const TokenSpan& span : tokens.trained) {
    text += decode(done, span.begin) + "[" + decode(span.begin, span.end) + "]";
    done = span.end;
  }
  return text + decode(done, static_cast<int32_t>(tokens.ids.size()));
}

TEST(ChatTokenizer, TrainsTheAnswersWithTheirEnds) {
  const ChatTokens tokens = tokenize(kChatMl, conversation({"a", "b", "c", "d"}));
  EXPECT_EQ(shown(tokens),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[b<|im_end|>]\n<|im_start|>user\nc<|im_end|>\n"
            "<|im_start|>assistant\n[d<|im_end|>]");
  EXPECT_FALSE(tokens.has_open_end);
  EXPECT_EQ(tokens.trained_count(), 4);
  EXPECT_EQ(tokens.ids, tokenizer()->encode(tokenizer()->decode(tokens.ids), {.match_special = true}));
  EXPECT_EQ(shown(tokenize(kChatMl, conversation({"a", "b", "c", "d"}), TrainedTurns::last)),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
            "<|im_start|>assistant\n[d<|im_end|>]");
}

TEST(ChatTokenizer, FollowsTheTemplatesOwnMarks) {
  const char* const marked =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
      "<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}{{ '\\n' }}{% endfor %}"
      "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
  const Conversation chat = conversation({"a", "b", "c", "d"});
  const ChatTokens tokens = tokenize(marked, chat), plain = tokenize(kChatMl, chat);
  EXPECT_TRUE(ChatTokenizer(tokenizer(), chat_template(marked), TrainedTurns::all).has_marks());
  EXPECT_FALSE(ChatTokenizer(tokenizer(), chat_template(kChatMl), TrainedTurns::all).has_marks());
  EXPECT_EQ(tokens.ids, plain.ids);
  EXPECT_EQ(tokens.trained, plain.trained);
  EXPECT_EQ(tokenize(marked, chat, TrainedTurns::last).trained, (std::vector<TokenSpan>{plain.trained[1]}));

  // A mark that leaves the end of the turn out.
  const char* const open =
      "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
      "{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}";
  EXPECT_TRUE(tokenize(open, chat).has_open_end);
  // Marks inside a macro are not found: nothing is trained rather than everything.
  const char* const macro =
      "{% macro say(m) %}{% generation %}{{ m.content }}{% endgeneration %}{% endmacro %}"
      "{% for m in messages %}{{ say(m) }}<|im_end|>{% endfor %}";
  EXPECT_THAT(error_of([&] { tokenize(macro, chat); }), HasSubstr("marks 0 passages as generated"));
}

TEST(ChatTokenizer, DoesNotTrainWhatTheGenerationPromptSupplies) {
  const char* const thinking =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif "
      "%}"
      "{{ m.content }}<|im_end|>\n{% endfor %}"
      "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}";
  EXPECT_THAT(shown(tokenize(thinking, conversation({"a", "b"}))), HasSubstr("</think>\n\n[b<|im_end|>]"));
}

TEST(ChatTokenizer, RefusesTemplatesThatRewriteEarlierTurns) {
  // As Qwen3's: reasoning is kept in the last turn and taken out of the earlier ones.
  const char* const forgets =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}<think>\nso\n"
      "</think>\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
      "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
  const ChatTokenizer all(tokenizer(), chat_template(forgets), TrainedTurns::all);
  EXPECT_NO_THROW(all.tokenize(conversation({"a", "b"})));
  EXPECT_THROW(all.tokenize(conversation({"a", "b", "c", "d"})), AmbiguousTurns);
  EXPECT_THAT(error_of([&] {
                all.tokenize(conversation({"a", "b", "c", "d"}));
              }),
              HasSubstr("the trained tokens of message 2 cannot be told"));
  EXPECT_THAT(shown(tokenize(forgets, conversation({"a", "b", "c", "d"}), TrainedTurns::last)),
              HasSubstr("assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n"
                        "[<think>\nso\n</think>\nd<|im_end|>]"));
  // A generation prompt that is not how answers begin.
  const char* const other =
      "{% for m in messages %}{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"
      "{% if add_generation_prompt %}model: {% endif %}";
  EXPECT_THROW(tokenize(other, conversation({"a", "b"})), AmbiguousTurns);
  // The template's own refusal.
  EXPECT_THAT(error_of([&] {
                tokenize("{{ raise_exception('no such chats') }}", conversation({"a", "b"}));
              }),
              HasSubstr("no such chats"));
}

TEST(ChatTokenizer, SaysWhereNothingEndsATurn) {
  const char* const plain =
      "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
      "{% if add_generation_prompt %}assistant: {% endif %}";
  const ChatTokens tokens = tokenize(plain, conversation({"a", "b", "c", "d"}));
  EXPECT_TRUE(tokens.has_open_end);
  EXPECT_EQ(shown(tokens), "user: a\nassistant: [b\n]user: c\nassistant: [d\n]");
  // The same characters in a message are no end.
  EXPECT_TRUE(tokenize(plain, conversation({"a", "b<|im_end|>"})).has_open_end);
}

TEST(ChatTokenizer, CutsTokensThatReachAcrossTheBeginningOfAnAnswer) {
  // "\n\n" is one token; the model reads the first newline and writes the second.
  const ChatTokens tokens = tokenize(kChatMl, conversation({"a", "\nb", "c", "\nd"}));
  EXPECT_THAT(shown(tokens), HasSubstr("assistant\n[\nb<|im_end|>]\n<|im_start|>user\nc"));
  EXPECT_THAT(shown(tokens), HasSubstr("assistant\n[\nd<|im_end|>]"));
  const std::string prompt = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n";
  const std::vector<int32_t> read = tokenizer()->encode(prompt, {.match_special = true});
  ASSERT_EQ(tokens.trained.size(), 2u);
  EXPECT_EQ(tokens.trained[0].begin, static_cast<int32_t>(read.size()));
  EXPECT_TRUE(std::equal(read.begin(), read.end(), tokens.ids.begin()));
}

TEST(ChatTokenizer, KeepsToTheMessagesThatAreLearned) {
  Conversation chat = conversation({"a", "b", "c", "d"});
  chat.first_trained = 3;
  EXPECT_EQ(tokenize(kChatMl, chat).trained.size(), 1u);
  chat.first_trained = 0;
  chat.messages[3]["weight"] = 0;
  EXPECT_EQ(shown(tokenize(kChatMl, chat)), "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[b<|im_end|>]");
}

}  // namespace
}  // namespace fledge::train
