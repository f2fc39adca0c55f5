#include "nn/text/added_tokens.h"

#include <cstring>
#include <memory>

#include "nn/text/character_class.h"
#include "nn/text/pre_tokenizer.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

/// Begin of the character that ends at `end` (> 0); a byte that is part of no character counts as one.
size_t character_before(std::string_view text, size_t end) {
  for (size_t length = 1; length <= std::min<size_t>(4, end); ++length) {
    if (utf8_length(text, end - length) == length) return end - length;
  }
  return end - 1;
}

bool is_space(std::string_view text, size_t position) {
  size_t length = utf8_length(text, position);
  return length > 0 && character_classes()[decode_utf8(text.data() + position, length)] == CharacterClass::kSpace;
}

/// Whether the character at `position` is what regular expressions call \w: a letter, mark, digit, joining
/// punctuation or joiner.
bool is_word(std::string_view text, size_t position) {
  static const auto words =
      make_pcre2_splitter("[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]", "word characters");
  const size_t length = utf8_length(text, position);
  if (length == 0) return false;
  // A second character tells a match from the rest of the text: together they are two pieces only where the first is
  // isolated.
  const std::string probe = std::string(text.substr(position, length)) + "..";
  return split_to_list(*words, probe).size() == 2;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const AddedToken& token) { return token.content.empty(); });
  nodes_.emplace_back();
  for (size_t i = 0; i < tokens_.size(); ++i) {
    int32_t node = 0;
    for (const char c : tokens_[i].content) {
      const auto byte = static_cast<uint8_t>(c);
      int32_t next = child(node, byte);
      if (next < 0) {
        next = static_cast<int32_t>(nodes_.size());
        auto& children = nodes_[static_cast<size_t>(node)].children;
        children.insert(std::upper_bound(children.begin(), children.end(), std::pair{byte, int32_t{0}}), {byte, next});
        nodes_.emplace_back();
      }
      node = next;
    }
    nodes_[static_cast<size_t>(node)].token = static_cast<int32_t>(i);
    const auto first = static_cast<uint8_t>(tokens_[i].content[0]);
    first_bytes_ += begins_token_[first] ? 0 : 1;
    begins_token_[first] = true;
    only_first_byte_ = first;
  }
}

int32_t AddedTokenMatcher::child(int32_t node, uint8_t byte) const {
  const auto& children = nodes_[static_cast<size_t>(node)].children;
  const auto found = std::lower_bound(children.begin(), children.end(), byte,
                                      [](const auto& entry, uint8_t wanted) { return entry.first < wanted; });
  return found != children.end() && found->first == byte ? found->second : -1;
}

size_t AddedTokenMatcher::next_candidate(std::string_view text, size_t from) const {
  if (first_bytes_ == 0 || from >= text.size()) return text.size();
  if (first_bytes_ == 1) {
    const void* found = std::memchr(text.data() + from, only_first_byte_, text.size() - from);
    return found == nullptr ? text.size() : static_cast<size_t>(static_cast<const char*>(found) - text.data());
  }
  while (from < text.size() && !begins_token_[static_cast<uint8_t>(text[from])]) ++from;
  return from;
}

std::optional<AddedTokenMatcher::Match> AddedTokenMatcher::next_match(std::string_view text, size_t from) const {
  for (size_t begin = next_candidate(text, from); begin < text.size(); begin = next_candidate(text, begin + 1)) {
    std::optional<Match> longest;
    int32_t node = 0;
    for (size_t end = begin; end < text.size();) {
      node = child(node, static_cast<uint8_t>(text[end++]));
      if (node < 0) break;
      const int32_t token = nodes_[static_cast<size_t>(node)].token;
      if (token >= 0) longest = Match{begin, end, &tokens_[static_cast<size_t>(token)]};
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

bool AddedTokenMatcher::stands_alone(std::string_view text, const Match& match) {
  if (!match.token->single_word) return true;
  const bool touches_left = match.begin > 0 && is_word(text, character_before(text, match.begin));
  const bool touches_right = match.end < text.size() && is_word(text, match.end);
  return !touches_left && !touches_right;
}

std::pair<size_t, size_t> AddedTokenMatcher::with_stripped_space(std::string_view text, const Match& match,
                                                                 size_t done) {
  size_t begin = match.begin, end = match.end;
  if (match.token->lstrip) {
    while (begin > done && is_space(text, character_before(text, begin))) begin = character_before(text, begin);
    begin = std::max(begin, done);
  }
  if (match.token->rstrip) {
    while (end < text.size() && is_space(text, end)) end += utf8_length(text, end);
  }
  return {begin, end};
}

}  // namespace fledge::nn
