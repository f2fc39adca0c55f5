#include "train/data/json_records.h"

#include <algorithm>

#include "base/error.h"
#include "train/data/input_file.h"

namespace fledge::train {
namespace {

constexpr size_t kMaximumRecordBytes = size_t{1} << 30;

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

}  // namespace

JsonRecords::JsonRecords(std::function<bool(std::string&)> append, std::string origin)
    : append_(std::move(append)), origin_(std::move(origin)) {}

void JsonRecords::fail(std::string_view what) const {
  throw base::Error("{}, line {}: {}", origin_, line_, what);
}

/// More bytes at the end of the buffer; what was taken goes first. False where there are none.
bool JsonRecords::fill() {
  if (at_end_) return false;
  buffer_.erase(0, begin_);
  begin_ = 0;
  if (buffer_.size() > kMaximumRecordBytes) fail("longer than 1 GiB");
  at_end_ = !append_(buffer_);
  return !at_end_;
}

/// The next character that is not blank, which stays in the buffer; -1 at the end.
int JsonRecords::skip_blank() {
  while (true) {
    for (; begin_ < buffer_.size(); ++begin_) {
      if (!is_blank(buffer_[begin_])) return static_cast<unsigned char>(buffer_[begin_]);
      line_ += buffer_[begin_] == '\n' ? 1 : 0;
    }
    if (!fill()) return -1;
  }
}

void JsonRecords::start() {
  started_ = true;
  while (buffer_.size() < kByteOrderMark.size() && fill()) {
  }
  if (buffer_.starts_with(kByteOrderMark)) begin_ = kByteOrderMark.size();
  is_array_ = skip_blank() == '[';
  if (is_array_) ++begin_;
}

bool JsonRecords::next(std::string& record) {
  if (!started_) start();
  return is_array_ ? next_element(record) : next_line(record);
}

bool JsonRecords::take(std::string& record, size_t length) {
  record.assign(buffer_, begin_, length);
  record_line_ = line_;
  line_ += std::count(record.begin(), record.end(), '\n');
  begin_ += length;
  return true;
}

bool JsonRecords::next_line(std::string& record) {
  if (skip_blank() < 0) return false;
  size_t scanned = 0;
  while (true) {
    const size_t newline = buffer_.find('\n', begin_ + scanned);
    if (newline != std::string::npos) return take(record, newline - begin_);
    scanned = buffer_.size() - begin_;
    if (!fill()) return take(record, buffer_.size() - begin_);
  }
}

bool JsonRecords::next_element(std::string& record) {
  if (is_closed_) return false;
  int next = skip_blank();
  if (next == ',' && !is_first_element_) {
    ++begin_;
    next = skip_blank();
  } else if (next != ']' && !is_first_element_) {
    fail(next < 0 ? "the array is not closed: the file was cut short" : "a comma or ] was expected behind an object");
  }
  if (next == ']') {
    ++begin_;
    if (skip_blank() >= 0) fail("there is text behind the array");
    is_closed_ = true;
    return false;
  }
  if (next != '{') fail(next < 0 ? "the array is not closed: the file was cut short" : "an object was expected");
  is_first_element_ = false;
  int64_t depth = 0;
  bool in_string = false, is_escaped = false;
  for (size_t place = 0;; ++place) {
    if (begin_ + place >= buffer_.size() && !fill()) fail("the object that begins here is not closed");
    const char c = buffer_[begin_ + place];
    if (in_string) {
      if (is_escaped) {
        is_escaped = false;
      } else if (c == '\\') {
        is_escaped = true;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if ((c == '}' || c == ']') && --depth == 0) {
      return take(record, place + 1);
    }
  }
}

}  // namespace fledge::train
