// Any bytes as a chat file, for each purpose: examples whose messages are sound, records that are counted as broken, or
// a sentence.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "train/data/chat_messages.h"
#include "train/data/chat_reader.h"

using namespace fledge;

namespace {

void check(const train::Conversation& conversation) {
  train::check_message_order(conversation.messages);
  if (conversation.first_trained >= conversation.messages.size()) std::abort();
  if (conversation.messages.back()["role"] != "assistant") std::abort();
}

void read_all(const std::string& bytes, train::ChatPurpose purpose) {
  size_t given = 0;
  // In pieces of odd sizes, as a file is read.
  const auto append = [&](std::string& text) {
    const size_t count = std::min<size_t>(1 + given % 7, bytes.size() - given);
    text.append(bytes, given, count);
    given += count;
    return count > 0;
  };
  try {
    train::ChatReader reader(append, "input", {.purpose = purpose});
    train::ChatExample example;
    int64_t examples = 0;
    while (reader.next(example)) {
      check(example.chosen);
      if (example.rejected) check(*example.rejected);
      ++examples;
    }
    const train::ChatReadReport& report = reader.report();
    const int64_t used = report.records - report.broken - report.equal_answers;
    if (examples < used || examples > 2 * used) std::abort();
  } catch (const base::Error&) {
    // One clear sentence is the right answer to bad input.
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  read_all(bytes, train::ChatPurpose::conversations);
  read_all(bytes, train::ChatPurpose::preferences);
  read_all(bytes, train::ChatPurpose::judgements);
  return 0;
}
