#include "nn/text/encoder_row.h"

#include <algorithm>

#include "base/error.h"

namespace fledge::nn {
namespace {

std::vector<int32_t> plain_tokens(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode(text, {.add_special = false, .match_special = false});
}

/// Cuts the end of `text`, and of the longer of two first, until both together have `most` tokens. Returns what went.
int64_t cut(std::vector<int32_t>& first, std::vector<int32_t>* second, int64_t most) {
  const size_t more = second == nullptr ? 0 : second->size();
  const int64_t excess = std::max<int64_t>(0, static_cast<int64_t>(first.size() + more) - most);
  for (int64_t count = 0; count < excess; ++count) {
    (second != nullptr && second->size() >= first.size() ? *second : first).pop_back();
  }
  return excess;
}

}  // namespace

void EncoderRow::append(int32_t id, int32_t segment, bool is_ordinary) {
  ids.push_back(id);
  segments.push_back(segment);
  ordinary.push_back(is_ordinary);
}

void EncoderRow::finish_text(int64_t begin) {
  const auto length = static_cast<size_t>(size() - begin);
  for (size_t place = 0; place < length; ++place) positions.push_back(static_cast<int32_t>(place));
  starts.insert(starts.end(), length, static_cast<int32_t>(begin));
  ends.insert(ends.end(), length, static_cast<int32_t>(size()));
  ++texts;
}

void EncoderRow::add(std::span<const int32_t> text) {
  const int64_t begin = size();
  append(tokens_.begin, 0, false);
  for (const int32_t id : text) append(id, 0, true);
  append(tokens_.separator, 0, false);
  finish_text(begin);
}

void EncoderRow::add_pair(std::span<const int32_t> first, std::span<const int32_t> second) {
  const int64_t begin = size();
  append(tokens_.begin, 0, false);
  for (const int32_t id : first) append(id, 0, true);
  append(tokens_.separator, 0, false);
  for (const int32_t id : second) append(id, 1, true);
  append(tokens_.separator, 1, false);
  finish_text(begin);
}

void EncoderRow::add_whole(std::span<const int32_t> text, std::span<const int32_t> text_segments) {
  const int64_t begin = size();
  for (size_t place = 0; place < text.size(); ++place) {
    append(text[place], text_segments.empty() ? 0 : text_segments[place], true);
  }
  finish_text(begin);
}

void EncoderRow::pad(int64_t length) {
  const int64_t begin = size();
  if (begin >= length) return;
  while (size() < length) append(tokens_.padding, 0, false);
  finish_text(begin);
}

EncoderTokens encoder_tokens(const Tokenizer& tokenizer, std::string_view origin) {
  const auto begin = tokenizer.class_token(), separator = tokenizer.separator_token();
  if (!begin || !separator) {
    throw base::Error(
        "{}: the tokenizer names no {} in its tokenizer_config.json, and an encoder's texts are set in one: train one "
        "with `fledge tokenizer train --kind wordpiece` or unigram",
        origin, begin ? "sep_token" : "cls_token");
  }
  return {*begin, *separator, tokenizer.padding_token().value_or(*separator)};
}

EncoderText encode_text(const Tokenizer& tokenizer, const EncoderTokens& special, std::string_view first,
                        const std::string* second, int64_t longest) {
  EncoderText result;
  EncoderRow row(special);
  std::vector<int32_t> own = plain_tokens(tokenizer, first);
  if (second == nullptr) {
    result.dropped = cut(own, nullptr, longest - 2);
    row.add(own);
  } else {
    std::vector<int32_t> other = plain_tokens(tokenizer, *second);
    result.dropped = cut(own, &other, longest - 3);
    row.add_pair(own, other);
  }
  result.ids = std::move(row.ids);
  result.segments = std::move(row.segments);
  return result;
}

EncoderText encode_words(const Tokenizer& tokenizer, const EncoderTokens& special, std::span<const std::string> words,
                         int64_t longest) {
  EncoderText result;
  std::vector<int32_t> ids;
  for (const std::string& word : words) {
    const std::vector<int32_t> parts = plain_tokens(tokenizer, word);
    // Behind [CLS].
    result.words.push_back(parts.empty() ? -1 : static_cast<int32_t>(ids.size()) + 1);
    ids.insert(ids.end(), parts.begin(), parts.end());
  }
  result.dropped = cut(ids, nullptr, longest - 2);
  for (int32_t& place : result.words) place = place > static_cast<int32_t>(ids.size()) ? -1 : place;
  EncoderRow row(special);
  row.add(ids);
  result.ids = std::move(row.ids);
  result.segments = std::move(row.segments);
  return result;
}

}  // namespace fledge::nn
