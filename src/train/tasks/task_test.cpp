// Reading tasks as the common data sets write them, and hostile ones.
#include "train/tasks/task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace fledge::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Task, ReadsTheChoicesOfCommonDataSets) {
  // A list with a number; a number in quotes (HellaSwag); a letter (MMLU); ARC's labels; PIQA; the text itself.
  const Task task = parse_task(R"({"question": "1 + 1?", "choices": ["1", "2"], "gold": 1}
{"ctx": "He sat", "endings": ["up.", "down."], "label": "1"}
{"query": "q", "options": ["a", "b", "c", "d"], "answer": "D"}
{"question": {"stem": "s", "choices": {"text": ["x", "y"], "label": ["1", "2"]}}, "answerKey": "2"}
{"goal": "g", "sol1": "one", "sol2": "two", "label": 0}

{"context": "c", "choices": ["red", "blue"], "answer": "blue"}
)",
                               "some/facts.jsonl");
  EXPECT_EQ(task.name, "facts");
  EXPECT_EQ(task.kind, TaskKind::choice);
  std::vector<int64_t> golds;
  std::vector<std::string> contexts;
  for (const TaskExample& example : task.examples) {
    golds.push_back(example.gold);
    contexts.push_back(example.context);
  }
  EXPECT_THAT(golds, ElementsAre(1, 1, 3, 1, 0, 1));
  EXPECT_THAT(contexts, ElementsAre("1 + 1?", "He sat", "q", "s", "g", "c"));
}

TEST(Task, ReadsContinuationsAnswersAndTexts) {
  EXPECT_EQ(parse_task(R"({"context": "a", "target": "b"})", "t").kind, TaskKind::continuation);
  const Task generation = parse_task(R"({"question": "a", "answer": ["b", 3]})", "t");
  EXPECT_EQ(generation.kind, TaskKind::generation);
  EXPECT_THAT(generation.examples[0].answers, ElementsAre("b", "3"));
  EXPECT_EQ(parse_task(R"({"text": "a"})", "t").kind, TaskKind::text);
}

TEST(Task, TheFirstLineMayHoldSettings) {
  const Task task =
      parse_task(R"({"task": {"name": "sums", "template": "Q: {a} + {b}\nA:", "until": ["\n"], "max_tokens": 5}}
{"a": 1, "b": "2", "answer": "3"})",
                 "t");
  EXPECT_EQ(task.name, "sums");
  EXPECT_EQ(task.examples[0].context, "Q: 1 + 2\nA:");
  EXPECT_THAT(task.until, ElementsAre("\n"));
  EXPECT_EQ(task.max_tokens, 5);
}

TEST(Task, RefusesInOneSentenceWithTheLine) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"", "no examples"},
      {"[1]", "t:1: holds no JSON object"},
      {"{\"question\": \"q\"}", "neither choices"},
      {"{\"question\": \"q\", \"choices\": [\"a\"], \"gold\": 0}", "1 choices"},
      {"{\"question\": \"q\", \"choices\": [\"a\", \"b\"]}", "right choice is missing"},
      {"{\"question\": \"q\", \"choices\": [\"a\", \"b\"], \"gold\": 2}", "expected 0 to 1"},
      {"{\"question\": \"q\", \"choices\": [\"a\", \"b\"], \"gold\": -1}", "expected 0 to 1"},
      {"{\"question\": \"q\", \"choices\": [\"a\", \"b\"], \"gold\": \"z\"}", "none of the 2 choices"},
      {"{\"question\": \"q\", \"choices\": [\"a\", {}], \"gold\": 0}", "expected a text"},
      {"{\"choices\": [\"a\", \"b\"], \"gold\": 0}", "context is missing"},
      {"{\"text\": \"a\"}\n{\"context\": \"a\", \"target\": \"b\"}", "t:2: is an example of the kind continuation"},
      {"{\"task\": {\"untill\": \"x\"}}", "did you mean until"},
      {"{\"task\": {\"template\": \"{c}\"}}\n{\"a\": 1, \"answer\": 2}", "has no \"c\""},
      {"{\"context\": \"a\", \"answers\": []}", "list of answers is empty"},
  };
  for (const auto& [text, sentence] : cases) {
    try {
      parse_task(text, "t");
      FAIL() << text;
    } catch (const base::Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(sentence)) << text;
    }
  }
}

}  // namespace
}  // namespace fledge::train
