#include "infer/stop.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "nn/text/utf8.h"

namespace fledge::infer {
namespace {

/// Bytes at the end of `text` that could become `stop`: the longest proper beginning of it there.
size_t stop_tail(std::string_view text, std::string_view stop) {
  for (size_t size = std::min(stop.size() - 1, text.size()); size > 0; --size) {
    if (text.ends_with(stop.substr(0, size))) return size;
  }
  return 0;
}

/// `bytes` as valid UTF-8.
std::string with_replacements(std::string_view bytes) {
  constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  std::string text;
  for (size_t position = 0; position < bytes.size();) {
    const size_t end = nn::valid_utf8_end(bytes, position);
    text += bytes.substr(position, end - position);
    position = end;
    if (position == bytes.size()) break;
    size_t run = 3;
    while (run > 1 && nn::unfinished_utf8_tail(bytes.substr(position, run)) != run) --run;
    text += kReplacement;
    position += run;
  }
  return text;
}

}  // namespace

StopFilter::StopFilter(std::vector<std::string> stop_strings) : stop_strings_(std::move(stop_strings)) {
  for (const std::string& stop : stop_strings_) {
    if (stop.empty()) throw base::UsageError("a stop string is empty, expected at least one character");
  }
}

std::string StopFilter::push(std::string_view bytes) {
  if (found_) return "";
  held_ += bytes;
  size_t found_begin = 0, found_end = std::string::npos;
  for (const std::string& stop : stop_strings_) {
    const size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (end < found_end || (end == found_end && begin < found_begin)) {
      found_begin = begin;
      found_end = end;
      found_ = stop;
    }
  }
  if (found_) return release(found_begin, true);

  size_t tail = 0;
  for (const std::string& stop : stop_strings_) tail = std::max(tail, stop_tail(held_, stop));
  return release(held_.size() - tail, false);
}

std::string StopFilter::finish() {
  return found_ ? "" : release(held_.size(), true);
}

/// The first `bytes` of what is held, as text; where more may follow, a character that is not complete stays.
std::string StopFilter::release(size_t bytes, bool final) {
  std::string_view text = std::string_view(held_).substr(0, bytes);
  if (!final) text.remove_suffix(nn::unfinished_utf8_tail(text));
  std::string result = with_replacements(text);
  held_.erase(0, text.size());
  return result;
}

}  // namespace fledge::infer
