#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace fledge::train {

/// The objects of JSON lines (one a line; empty lines are passed over) or of one JSON array, piece by piece: neither
/// has to fit in memory, only each object. What stands in them is not parsed here.
class JsonRecords {
 public:
  /// `append` appends the next bytes of the input and returns false at its end; `origin` names it in errors.
  JsonRecords(std::function<bool(std::string&)> append, std::string origin);

  /// The next object's text, or a line that is none; false at the end. Throws Error naming the line for a record that
  /// is too long, and for an array in which objects cannot be told apart: nothing behind such a place can be read.
  bool next(std::string& record);
  /// Line of the input, from 1, on which the last record begins.
  int64_t line() const { return record_line_; }

 private:
  bool fill();
  void start();
  int skip_blank();
  bool next_line(std::string& record);
  bool next_element(std::string& record);
  bool take(std::string& record, size_t length);
  [[noreturn]] void fail(std::string_view what) const;

  std::function<bool(std::string&)> append_;
  std::string origin_, buffer_;
  size_t begin_ = 0;
  int64_t line_ = 1, record_line_ = 0;
  bool started_ = false, at_end_ = false, is_array_ = false, is_first_element_ = true, is_closed_ = false;
};

}  // namespace fledge::train
