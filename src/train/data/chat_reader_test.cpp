#include "train/data/chat_reader.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "train/data/test_support.h"

namespace fledge::train {
namespace {

using base::OrderedJson;
using testing::HasSubstr;

struct Read {
  std::vector<ChatExample> examples;
  ChatReadReport report;
};

/// Reads `text` in pieces of `piece` bytes.
Read read(const std::string& text, ChatPurpose purpose = ChatPurpose::conversations, bool strict = false,
          size_t piece = 7) {
  size_t given = 0;
  const auto append = [&](std::string& buffer) {
    const size_t count = std::min(piece, text.size() - given);
    buffer.append(text, given, count);
    given += count;
    return count > 0;
  };
  Read result;
  ChatReader reader(append, "FILE", {purpose, strict});
  ChatExample example;
  while (reader.next(example)) result.examples.push_back(example);
  result.report = reader.report();
  return result;
}

/// "user: Hi | assistant: Yes?"
std::string brief(const Conversation& conversation) {
  std::string text;
  for (const OrderedJson& message : conversation.messages) {
    text +=
        (text.empty() ? "" : " | ") + message["role"].get<std::string>() + ": " + message["content"].get<std::string>();
  }
  return text;
}

std::string only(const std::string& line) {
  const Read result = read(line + "\n");
  EXPECT_EQ(result.examples.size(), 1u) << line;
  return result.examples.empty() ? "" : brief(result.examples.front().chosen);
}

/// What is wrong with the one record of a file, read strictly.
std::string fault(const std::string& line, ChatPurpose purpose = ChatPurpose::conversations) {
  return error_of([&] { read(line, purpose, true); });
}

constexpr const char* kYes = "user: Hi | assistant: Yes";

TEST(ChatReader, RecognizesEachForm) {
  for (
      const auto& [line, format] : std::vector<std::pair<std::string, ChatFormat>>{
          {R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]})",
           ChatFormat::messages},
          {R"({"prompt": "x", "prompt_id": 3, "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]},
               {"role": "assistant", "content": "Yes", "name": null}]})",
           ChatFormat::messages},
          {R"({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes"}]})",
           ChatFormat::conversations},
          {R"({"id": "7", "data": ["Hi", "Yes"]})", ChatFormat::turns},
          {R"({"instruction": "Hi", "input": "", "output": "Yes"})", ChatFormat::instruction},
          {R"({"prompt": "Hi", "completion": "Yes"})", ChatFormat::prompt_completion},
          {R"({"prompt": "Hi", "chosen": "Yes", "rejected": "No"})", ChatFormat::preference}}) {
    std::string one_line = line;
    std::erase(one_line, '\n');
    const Read result = read(one_line);
    ASSERT_EQ(result.examples.size(), 1u) << line;
    EXPECT_EQ(result.report.format, format) << line;
    EXPECT_EQ(brief(result.examples[0].chosen), kYes);
    EXPECT_FALSE(result.examples[0].rejected);
  }
  EXPECT_EQ(only(R"({"instruction": "Add", "input": "1 2", "output": "3", "system": "Count."})"),
            "system: Count. | user: Add\n\n1 2 | assistant: 3");
  EXPECT_EQ(
      only(R"({"system": "S", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Y"}]})"),
      "system: S | user: Hi | assistant: Y");
}

TEST(ChatReader, ReadsLinesAndArraysInAnyPieces) {
  const std::string record = R"({"data": ["a \"}] {", "b\\"]})";
  const std::string lines = "\n" + record + "\n\n  " + record + "\r\n" + record;
  const std::string array = "\xef\xbb\xbf [\n" + record + " ,\n" + record + "," + record + "]\n";
  for (const size_t piece : {1, 2, 3, 1000}) {
    for (const std::string& text : {lines, array}) {
      const Read result = read(text, ChatPurpose::conversations, true, piece);
      ASSERT_EQ(result.examples.size(), 3u);
      EXPECT_EQ(brief(result.examples[2].chosen), "user: a \"}] { | assistant: b\\");
    }
  }
  EXPECT_EQ(read("[]").examples.size(), 0u);
  EXPECT_EQ(read("").examples.size(), 0u);
  EXPECT_THAT(fault("[" + record + "\n" + record + "]"), HasSubstr("FILE, line 2: a comma"));
  EXPECT_THAT(fault("[" + record), HasSubstr("cut short"));
  EXPECT_THAT(fault("[\n{\"data\": [\"a\""), HasSubstr("line 2: the object that begins here is not closed"));
  EXPECT_THAT(fault("[" + record + "] x"), HasSubstr("behind the array"));
  EXPECT_THAT(fault("[3]"), HasSubstr("an object was expected"));
}

TEST(ChatReader, SkipsAndCountsWhatItCannotUse) {
  const std::string good = R"({"data": ["Hi", "Yes"]})";
  const std::string text = good + "\n{\"data\": [\n" + R"({"messages": []})" + "\n" + R"({"data": ["Hi", ""]})" + "\n" +
                           R"({"data": ["Hi", "Yes", "And?"]})" + "\n";
  const Read result = read(text);
  ASSERT_EQ(result.examples.size(), 2u);
  EXPECT_EQ(result.report.records, 5);
  EXPECT_EQ(result.report.broken, 3);
  EXPECT_EQ(result.report.unanswered_ends, 1);
  EXPECT_EQ(brief(result.examples[1].chosen), kYes);
  ASSERT_EQ(result.report.first_faults.size(), 3u);
  EXPECT_THAT(result.report.first_faults[0], HasSubstr("FILE, line 2: the record: not valid JSON at byte 11"));
  EXPECT_THAT(result.report.first_faults[1], HasSubstr("FILE, line 3: there is no list under \"data\""));
  EXPECT_EQ(result.report.first_faults[2], "FILE, line 4: message 2 (assistant) is empty");
  EXPECT_EQ(error_of([&] { read(text, ChatPurpose::conversations, true); }), result.report.first_faults[0]);
  EXPECT_THAT(error_of([&] { read("{\"text\": \"x\"}\n{}\n"); }),
              HasSubstr("no record can be used; the first: FILE, line 1: not a known form of chat"));
}

TEST(ChatReader, NamesMessagesThatAreOutOfOrder) {
  const auto messages = [](const std::string& list) { return R"({"messages": [)" + list + "]}"; };
  const std::string user = R"({"role": "user", "content": "Hi"})", answer = R"({"role": "assistant", "content": "Y"})",
                    system = R"({"role": "system", "content": "S"})", tool = R"({"role": "tool", "content": "3"})",
                    call = R"({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]})";
  EXPECT_EQ(fault(messages(user + "," + user + "," + answer)), "FILE, line 1: messages 1 and 2 are both the user's");
  EXPECT_EQ(fault(messages(user + "," + answer + "," + answer)),
            "FILE, line 1: messages 2 and 3 are both the assistant's");
  EXPECT_THAT(fault(messages(answer)), HasSubstr("message 1 is the assistant's, before the user said anything"));
  EXPECT_THAT(fault(messages(user + "," + system + "," + answer)), HasSubstr("message 2 is a system message"));
  EXPECT_THAT(fault(messages(user + "," + answer + "," + tool)), HasSubstr("message 2 calls no tool"));
  EXPECT_THAT(fault(messages(user + "," + call + "," + user + "," + answer)), HasSubstr("has not answered"));
  EXPECT_THAT(fault(messages(user)), HasSubstr("no assistant's message to learn"));
  EXPECT_THAT(fault(messages(user + R"(,{"role": "assistant", "content": "Y", "weight": 0})")),
              HasSubstr("no assistant's message to learn"));
  EXPECT_THAT(fault(messages(user + R"(,{"role": "judge", "content": "Y"})")), HasSubstr("the role \"judge\""));
  EXPECT_THAT(fault(messages(user + R"(,{"role": "assistant"})")), HasSubstr("message 2 has no text"));
  EXPECT_THAT(fault(messages(user + R"(,{"content": "Y"})")), HasSubstr("message 2 has no \"role\""));
  EXPECT_THAT(fault(messages(R"({"role": "user", "content": [{"type": "image"}]},)" + answer)),
              HasSubstr("message 1 has a part that is not text"));
  EXPECT_EQ(only(messages(system + "," + user + "," + call + "," + tool + "," + tool + "," + answer)),
            "system: S | user: Hi | assistant:  | tool: 3 | tool: 3 | assistant: Y");
}

TEST(ChatReader, LearnsOnlyTheCompletion) {
  const std::string list = R"({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                              {"role": "user", "content": "c"})";
  std::string line = R"({"prompt": [)" + list + R"(], "completion": [{"role": "assistant", "content": "d"}]})";
  std::erase(line, '\n');
  const Read result = read(line);
  ASSERT_EQ(result.examples.size(), 1u);
  EXPECT_EQ(brief(result.examples[0].chosen), "user: a | assistant: b | user: c | assistant: d");
  EXPECT_EQ(result.examples[0].chosen.first_trained, 3u);
}

TEST(ChatReader, ReadsPreferences) {
  const std::string shared = R"({"role": "user", "content": "Hi"})";
  const auto answer = [](const std::string& text) { return R"({"role": "assistant", "content": ")" + text + "\"}"; };
  const std::vector<std::string> lines = {
      R"({"prompt": "Hi", "chosen": "Yes", "rejected": "No"})",
      R"({"prompt": [)" + shared + R"(], "chosen": [)" + answer("Yes") + R"(], "rejected": [)" + answer("No") + "]}",
      // The answers repeat the prompt, whether it is given or not.
      R"({"chosen": [)" + shared + "," + answer("Yes") + R"(], "rejected": [)" + shared + "," + answer("No") + "]}",
      R"({"prompt": "Hi", "chosen": [)" + shared + "," + answer("Yes") + R"(], "rejected": [)" + shared + "," +
          answer("No") + "]}"};
  for (const std::string& line : lines) {
    const Read result = read(line, ChatPurpose::preferences, true);
    ASSERT_EQ(result.examples.size(), 1u) << line;
    EXPECT_EQ(brief(result.examples[0].chosen), kYes);
    EXPECT_EQ(brief(*result.examples[0].rejected), "user: Hi | assistant: No");
    EXPECT_EQ(result.examples[0].chosen.first_trained, 1u);
    EXPECT_EQ(result.examples[0].rejected->first_trained, 1u);
  }
  const std::string equal = R"({"prompt": "Hi", "chosen": "No", "rejected": "No"})";
  const Read result = read(lines[0] + "\n" + equal + "\n", ChatPurpose::preferences);
  EXPECT_EQ(result.examples.size(), 1u);
  EXPECT_EQ(result.report.equal_answers, 1);
  EXPECT_EQ(result.report.broken, 0);
  EXPECT_THAT(fault(equal, ChatPurpose::preferences), HasSubstr("FILE, line 1: both answers are the same"));
  EXPECT_THAT(fault(R"({"chosen": "Yes", "rejected": "No"})", ChatPurpose::preferences),
              HasSubstr("there is no \"prompt\""));
  EXPECT_THAT(fault(R"({"data": ["a", "b"]})", ChatPurpose::preferences), HasSubstr("no preferences"));
  EXPECT_THAT(fault(R"({"chosen": [)" + shared + "," + answer("Y") + R"(], "rejected": [{"role": "user", "content":
                    "Ho"},)" +
                        answer("N") + "]}",
                    ChatPurpose::preferences),
              HasSubstr("line 1"));
}

TEST(ChatReader, ReadsJudgements) {
  const Read judged = read(R"({"prompt": "Hi", "completion": "Yes", "label": false})", ChatPurpose::judgements, true);
  ASSERT_EQ(judged.examples.size(), 1u);
  EXPECT_EQ(judged.examples[0].is_desirable, false);
  const Read pair = read(R"({"prompt": "Hi", "chosen": "Yes", "rejected": "No"})", ChatPurpose::judgements, true);
  ASSERT_EQ(pair.examples.size(), 2u);
  EXPECT_EQ(brief(pair.examples[0].chosen), kYes);
  EXPECT_EQ(pair.examples[0].is_desirable, true);
  EXPECT_EQ(brief(pair.examples[1].chosen), "user: Hi | assistant: No");
  EXPECT_EQ(pair.examples[1].is_desirable, false);
  EXPECT_THAT(fault(R"({"prompt": "Hi", "completion": "Yes"})", ChatPurpose::judgements), HasSubstr("\"label\""));
}

TEST(ChatReader, ReadsFiles) {
  const TemporaryFolder folder;
  const auto path = folder / "chat.jsonl";
  base::write_file(path, "{\"data\": [\"Hi\", \"Yes\"]}\n");
  ChatReader reader(path, {});
  ChatExample example;
  ASSERT_TRUE(reader.next(example));
  EXPECT_EQ(brief(example.chosen), kYes);
  EXPECT_FALSE(reader.next(example));
  EXPECT_EQ(reader.bytes_read(), 24);
  EXPECT_THAT(error_of([&] { ChatReader(folder / "none", {}); }), HasSubstr("there is no such file"));
}

}  // namespace
}  // namespace fledge::train
