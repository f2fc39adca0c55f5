#include "train/data/chat_reader.h"

#include "base/error.h"
#include "base/json.h"
#include "train/data/input_file.h"

namespace fledge::train {
namespace {

constexpr size_t kShownFaults = 5;

}  // namespace

ChatReader::ChatReader(const std::filesystem::path& path, const ChatReadOptions& options)
    : file_(std::make_unique<InputFile>(path)), origin_(path.string()), options_(options) {
  records_ = std::make_unique<JsonRecords>([this](std::string& text) { return file_->append_to(text); }, origin_);
}

ChatReader::ChatReader(std::function<bool(std::string&)> append, std::string origin, const ChatReadOptions& options)
    : origin_(std::move(origin)), options_(options) {
  records_ = std::make_unique<JsonRecords>(std::move(append), origin_);
}

ChatReader::~ChatReader() = default;

std::string ChatReader::place() const {
  return fmt::format("{}, line {}", origin_, line());
}

int64_t ChatReader::bytes_read() const {
  return file_ ? file_->offset() : 0;
}

void ChatReader::skip(const std::string& sentence) {
  if (options_.strict) throw base::Error("{}", sentence);
  ++report_.broken;
  if (report_.first_faults.size() < kShownFaults) report_.first_faults.push_back(sentence);
}

/// One record; false where it is skipped.
bool ChatReader::read_record(ChatExample& example) {
  ++report_.records;
  try {
    const base::OrderedJson record = base::parse_ordered_json(text_, "the record");
    const ChatFormat format = report_.format ? *report_.format : recognize_chat_format(record, options_.purpose);
    example = parse_chat_record(record, format, options_.purpose);
    report_.format = format;
  } catch (const base::Error& error) {
    skip(fmt::format("{}: {}", place(), error.what()));
    return false;
  }
  if (example.rejected && example.chosen.messages == example.rejected->messages) {
    if (options_.strict) throw base::Error("{}: both answers are the same, so neither can be preferred", place());
    ++report_.equal_answers;
    return false;
  }
  report_.unanswered_ends += example.had_unanswered_end ? 1 : 0;
  return true;
}

bool ChatReader::next(ChatExample& example) {
  if (waiting_) {
    example = std::move(*waiting_);
    waiting_.reset();
    return true;
  }
  while (records_->next(text_)) {
    if (!read_record(example)) continue;
    if (options_.purpose == ChatPurpose::judgements) {
      waiting_ = second_judgement(example);
      example.rejected.reset();
    }
    return true;
  }
  if (report_.broken > 0 && report_.broken == report_.records) {
    throw base::Error("no record can be used; the first: {}", report_.first_faults.front());
  }
  return false;
}

}  // namespace fledge::train
