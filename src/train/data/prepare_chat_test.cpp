#include "train/data/prepare_chat.h"
#include "base/error.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/parallel.h"
#include "train/data/chat_test_support.h"
#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

ChatModel model(const std::string& source = kChatMl) {
  ChatModel result;
  result.path = "none";
  result.tokenizer = chat_tokenizer();
  result.chat_template = chat_template(source);
  result.context_length = 100;
  result.generation_config = {{"eos_token_id", 3}, {"temperature", 0.6}};
  return result;
}

class PrepareChat : public testing::Test {
 protected:
  PrepareChatOptions options(const std::string& text, ChatPurpose purpose = ChatPurpose::conversations) {
    base::write_file(folder_ / "chat.jsonl", text);
    PrepareChatOptions result;
    result.inputs = {folder_ / "chat.jsonl"};
    result.out = folder_ / "prepared";
    result.reading.purpose = purpose;
    result.shard_bytes = 200;  // several shards
    return result;
  }
  TemporaryFolder folder_;
};

std::string many(int count) {
  std::string text;
  for (int index = 0; index < count; ++index)
    text += R"({"data": ["question )" + std::to_string(index) +
            R"(", "answer"]})"
            "\n";
  return text;
}

TEST_F(PrepareChat, WritesConversationsThatCanBeReadBack) {
  const ChatIndex index = prepare_chat(options(many(60) + "{\n"), model());
  EXPECT_EQ(index.splits.at(kTrainSplit).examples, 57);
  EXPECT_EQ(index.splits.at(kValidationSplit).examples, 3);
  EXPECT_GT(index.splits.at(kTrainSplit).shards.size(), 2u);
  EXPECT_THAT(index.notes, Contains("1 records were skipped"));
  EXPECT_THAT(index.notes, Contains(HasSubstr("line 61: the record: not valid JSON")));
  const int32_t end = *chat_tokenizer()->token_id("<|im_end|>");
  EXPECT_THAT(index.end_of_turn, ElementsAre(end));

  const ChatData data = ChatData::open(folder_ / "prepared");
  EXPECT_EQ(data.index().text(), index.text());
  const ChatSplit& split = *data.split(kTrainSplit);
  ASSERT_EQ(split.examples(), 57);
  const ChatTokens last = split.read(56, 0);
  EXPECT_THAT(chat_tokenizer()->decode(last.ids), testing::StartsWith("<|im_start|>user\nquestion 59<|im_end|>"));
  ASSERT_EQ(last.trained.size(), 1u);
  EXPECT_EQ(last.trained_count(), 7);
  EXPECT_EQ(split.label(56), -1);
  EXPECT_THROW((void)split.read(57, 0), base::Error);

  // What makes the folder, and the models trained on it, fit to be talked with.
  const base::Json generation = base::read_json(folder_ / "prepared/generation_config.json");
  EXPECT_EQ(generation["eos_token_id"], (std::vector<int32_t>{3, end, *chat_tokenizer()->token_id("<|endoftext|>")}));
  EXPECT_EQ(generation["temperature"], 0.6);
  const auto loaded = nn::ChatTemplate::load(folder_ / "prepared");
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->source(), kChatMl);
  EXPECT_EQ(nn::Tokenizer::load(folder_ / "prepared").end_token(), chat_tokenizer()->end_token());
}

TEST_F(PrepareChat, HoldsOutAFileOfItsOwn) {
  PrepareChatOptions with_file = options(many(30));
  base::write_file(folder_ / "held_out.jsonl", many(4));
  with_file.validation_inputs = {folder_ / "held_out.jsonl"};
  const ChatIndex index = prepare_chat(with_file, model());
  EXPECT_EQ(index.splits.at(kTrainSplit).examples, 30);
  EXPECT_EQ(index.splits.at(kValidationSplit).examples, 4);
  base::write_file(folder_ / "held_out.jsonl", "\n");
  EXPECT_THROW(prepare_chat(with_file, model()), base::Error);
}

TEST_F(PrepareChat, GivesTheSameBytesOnAnyNumberOfThreads) {
  const int threads = base::thread_count();
  std::vector<std::string> results;
  for (const int count : {1, 3}) {
    base::set_thread_count(count);
    prepare_chat(options(many(60)), model());
    std::string bytes;
    for (const char* name : {"index.json", "train-00000.shard", "train-00001.shard"})
      bytes += base::read_file(folder_ / "prepared" / name);
    results.push_back(bytes);
  }
  base::set_thread_count(threads);
  EXPECT_EQ(results[0], results[1]);
}

TEST_F(PrepareChat, WritesPairsAndJudgements) {
  const std::string pair = R"({"prompt": "Hi", "chosen": "Yes", "rejected": "No"})"
                           "\n";
  const std::string equal = R"({"prompt": "Hi", "chosen": "Yes", "rejected": "Yes"})"
                            "\n";
  const ChatIndex pairs = prepare_chat(options(pair + equal, ChatPurpose::preferences), model());
  EXPECT_THAT(pairs.notes, Contains("1 preferences with equal answers were skipped"));
  const ChatData data = ChatData::open(folder_ / "prepared");
  const auto text = [&](const ChatSplit& split, int64_t example, int64_t sequence) {
    const ChatTokens tokens = split.read(example, sequence);
    const TokenSpan span = tokens.trained.at(0);
    return chat_tokenizer()->decode(std::span(tokens.ids).subspan(static_cast<size_t>(span.begin)));
  };
  EXPECT_EQ(text(*data.split(kTrainSplit), 0, 0), "Yes<|im_end|>");
  EXPECT_EQ(text(*data.split(kTrainSplit), 0, 1), "No<|im_end|>");

  prepare_chat(options(R"({"prompt": "a", "completion": "A", "label": true})"
                       "\n"
                       R"({"prompt": "b", "completion": "B", "label": false})"
                       "\n",
                       ChatPurpose::judgements),
               model());
  const ChatData judged = ChatData::open(folder_ / "prepared");
  const ChatSplit& split = *judged.split(kTrainSplit);
  EXPECT_EQ(split.label(0), 1);
  EXPECT_EQ(split.label(1), 0);
  EXPECT_EQ(text(split, 0, 0), "A<|im_end|>");
  EXPECT_EQ(text(split, 0, 1), "B<|im_end|>");  // the answer to another question
  EXPECT_THAT(chat_tokenizer()->decode(split.read(0, 1).ids), HasSubstr("user\na<|im_end|>"));
}

TEST_F(PrepareChat, SaysWhatIsWrongAndLeavesNothingBehind) {
  const char* const forgets =
      "{% for m in messages %}<|im_start|>{% if loop.last %}!{% endif %}{{ m.content }}<|im_end|>{% endfor %}"
      "{% if add_generation_prompt %}<|im_start|>{% endif %}";
  const std::string chat = R"({"data": ["a", "b", "c", "d"]})"
                           "\n";
  EXPECT_THAT(error_of([&] { prepare_chat(options(chat), model(forgets)); }),
              HasSubstr("chat.jsonl, line 1: the trained tokens of message 2 cannot be told"));
  const char* const strict = "{{ raise_exception('only one turn') if messages|length > 2 }}{{ messages[0].content }}";
  EXPECT_THAT(error_of([&] { prepare_chat(options(chat), model(strict)); }), HasSubstr("only one turn"));
  PrepareChatOptions strictly = options(many(2) + "{}\n");
  strictly.reading.strict = true;
  EXPECT_THAT(error_of([&] { prepare_chat(strictly, model()); }), HasSubstr("chat.jsonl, line 3"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "prepared"));
  EXPECT_THAT(error_of([&] { ChatData::open(folder_.path()); }), HasSubstr("no prepared chats"));
  const ChatIndex open = prepare_chat(options(many(3)), model("{% for m in messages %}{{ m.content }}\n{% endfor %}"));
  EXPECT_THAT(open.notes, Contains(HasSubstr("3 examples have an answer that no special token ends")));
}

}  // namespace
}  // namespace fledge::train
