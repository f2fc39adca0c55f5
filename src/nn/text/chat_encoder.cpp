#include "nn/text/chat_encoder.h"

#include <algorithm>
#include <optional>

#include "base/json.h"
#include "nn/text/normalization.h"
#include "nn/text/tokenizer_parts.h"

namespace fledge::nn {
namespace {

constexpr std::string_view kMarkBegin = "\uFDD0", kMarkEnd = "\uFDD1";
constexpr std::string_view kSpace = " \t\r\n\f\v";

std::string marked(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string result(kMarkBegin);
  for (const char character : text) {
    const auto byte = static_cast<uint8_t>(character);
    result += kDigits[byte >> 4];
    result += kDigits[byte & 15];
  }
  return result.append(kMarkEnd);
}

int digit_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;  // a template may turn letters to capitals
}

/// The bytes that a mark stands for; nothing where it is none.
std::optional<std::string> unmarked(std::string_view digits) {
  if (digits.size() % 2 != 0) return std::nullopt;
  std::string bytes;
  for (size_t i = 0; i < digits.size(); i += 2) {
    const int high = digit_value(digits[i]), low = digit_value(digits[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes += static_cast<char>(high * 16 + low);
  }
  return bytes;
}

/// Calls plain(text) for what stands between marks and guarded(bytes) for what they stand for.
template <typename Plain, typename Guarded>
void split_key(std::string_view key, const Plain& plain, const Guarded& guarded) {
  size_t done = 0, from = 0;
  while (true) {
    const size_t begin = key.find(kMarkBegin, from);
    if (begin == std::string_view::npos) break;
    const size_t digits = begin + kMarkBegin.size(), end = key.find(kMarkEnd, digits);
    if (end == std::string_view::npos) break;
    from = digits;
    const auto bytes = unmarked(key.substr(digits, end - digits));
    if (!bytes) continue;
    if (begin > done) plain(key.substr(done, begin - done));
    guarded(*bytes);
    done = from = end + kMarkEnd.size();
  }
  if (done < key.size()) plain(key.substr(done));
}

std::vector<std::string> special_texts(const Tokenizer& tokenizer) {
  std::vector<std::string> texts;
  for (const AddedToken& token : tokenizer.added_tokens()) {
    if (token.special && !token.content.empty()) texts.push_back(token.content);
  }
  return texts;
}

/// Finds special tokens wherever they stand, and the characters that marks are made of.
AddedTokenMatcher matcher_of(std::vector<std::string> texts) {
  texts.emplace_back(kMarkBegin);
  texts.emplace_back(kMarkEnd);
  std::vector<AddedToken> tokens;
  for (std::string& text : texts) {
    AddedToken token;
    token.id = static_cast<int32_t>(tokens.size());
    token.content = std::move(text);
    tokens.push_back(std::move(token));
  }
  return AddedTokenMatcher(std::move(tokens));
}

}  // namespace

ChatEncoder::ChatEncoder(const ChatTemplate& chat_template, const Tokenizer& tokenizer)
    : template_(chat_template), tokenizer_(tokenizer), matcher_(matcher_of(special_texts(tokenizer))) {
  find_dangerous_ends(chat_template.source(), special_texts(tokenizer));
}

/// A special token may also come from both: a message that ends with "<|im_end" and a template that goes on with "|>".
/// Only what the template's source holds outside of whole special tokens can do this.
void ChatEncoder::find_dangerous_ends(const std::string& template_source, const std::vector<std::string>& special) {
  std::string bare;
  matcher_.split(
      template_source, true, [&](std::string_view text) { bare += text; }, [&](const AddedToken&) { bare += '\0'; });
  for (const std::string& token : special) {
    longest_special_ = std::max(longest_special_, token.size());
    for (size_t cut = 1; cut < token.size(); ++cut) {
      const std::string head = token.substr(0, cut), tail = token.substr(cut);
      if (bare.find(tail) != std::string::npos) dangerous_ends_.insert(head);
      if (bare.find(head) != std::string::npos) dangerous_beginnings_.insert(tail);
    }
  }
}

/// Whether the tokenizer leaves the text as it is, as far as a quick look can tell.
bool ChatEncoder::is_normal(std::string_view text) const {
  const TokenizerParts& parts = tokenizer_.parts();
  return !parts.normalization && (!parts.normalize_to_nfc || is_surely_nfc(text));
}

void ChatEncoder::append_guarded(std::string_view plain, std::string& result) const {
  // Normalization can make a special token of characters that look otherwise (a tokenizer that lowers letters).
  if (is_normal(plain) ||
      tokenizer_.encode(plain, {.match_special = true}) == tokenizer_.encode(plain, {.match_special = false})) {
    result += plain;
    return;
  }
  const size_t begin = plain.find_first_not_of(kSpace), end = plain.find_last_not_of(kSpace);
  if (begin == std::string_view::npos) {
    result += marked(plain);
    return;
  }
  result += plain.substr(0, begin);
  result += marked(plain.substr(begin, end + 1 - begin));
  result += plain.substr(end + 1);
}

std::string ChatEncoder::guarded(std::string_view text) const {
  // Templates trim messages: what counts are the ends without white space.
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return std::string(text);
  const size_t last = text.find_last_not_of(kSpace) + 1;
  const std::string_view core = text.substr(first, last - first);
  size_t head = std::min(core.size(), longest_special_), tail = head;
  while (head > 0 && !dangerous_beginnings_.contains(core.substr(0, head))) --head;
  while (tail > 0 && !dangerous_ends_.contains(core.substr(core.size() - tail))) --tail;
  if (head + tail > core.size()) tail = core.size() - head;

  std::string result(text.substr(0, first));
  if (head > 0) result += marked(core.substr(0, head));
  matcher_.split(
      core.substr(head, core.size() - head - tail), true,
      [&](std::string_view plain) { append_guarded(plain, result); },
      [&](const AddedToken& token) { result += marked(token.content); });
  if (tail > 0) result += marked(core.substr(core.size() - tail));
  result += text.substr(last);
  return result;
}

base::OrderedJson ChatEncoder::guarded_values(const base::OrderedJson& value) const {
  if (value.is_string()) return guarded(value.get_ref<const std::string&>());
  if (!value.is_structured()) return value;
  base::OrderedJson result = value;
  for (auto& [name, inner] : result.items()) {
    if (name != "role" || !value.is_object()) inner = guarded_values(inner);
  }
  return result;
}

void ChatEncoder::encode_key(std::string_view key, std::vector<int32_t>& ids) const {
  split_key(
      key,
      [&](std::string_view text) { tokenizer_.encode_to(text, {.add_special = false, .match_special = true}, ids); },
      [&](std::string_view text) { tokenizer_.encode_to(text, {.add_special = false, .match_special = false}, ids); });
}

std::vector<size_t> ChatEncoder::places_by_prefix(std::string_view key, std::span<const size_t> borders,
                                                  std::span<const int32_t> ids) const {
  std::vector<size_t> places;
  for (const size_t border : borders) {
    std::vector<int32_t> before;
    encode_key(key.substr(0, border), before);
    const auto end = std::ranges::mismatch(before, ids).in2 - ids.begin();
    const bool is_whole = static_cast<size_t>(end) == before.size();
    places.push_back(std::min(ids.size(), static_cast<size_t>(end) + (is_whole ? 0 : 1)));
  }
  return places;
}

std::vector<int32_t> ChatEncoder::encode_with_borders(std::string_view key, std::span<const size_t> borders,
                                                      std::vector<size_t>& places) const {
  std::vector<int32_t> ids;
  encode_key(key, ids);
  places.clear();
  std::vector<size_t> ends;  // of each token, in bytes of the text
  size_t bytes = 0;
  for (const int32_t id : ids) ends.push_back(bytes += tokenizer_.token_bytes(id).size());
  const auto text_bytes = [&](std::string_view part) {
    size_t count = 0;
    const auto add = [&](std::string_view text) { count += text.size(); };
    split_key(part, add, add);
    return count;
  };
  if (tokenizer_.parts().decoding || bytes != text_bytes(key)) {
    places = places_by_prefix(key, borders, ids);
    return ids;
  }
  size_t done = 0, passed = 0;  // of the key and of the text
  for (size_t index = 0; index < borders.size(); ++index) {
    passed += text_bytes(key.substr(done, borders[index] - done));
    done = borders[index];
    const auto place = static_cast<size_t>(std::ranges::lower_bound(ends, passed) - ends.begin());
    const size_t end = passed == 0 ? 0 : ends[place];
    if (end == passed) {
      places.push_back(passed == 0 ? 0 : place + 1);
      continue;
    }
    // A token reaches across: the rest is encoded by itself.
    ids.clear();
    std::vector<size_t> ignored, rest_places;
    ids = encode_with_borders(key.substr(0, done), borders.first(index), ignored);
    places.push_back(ids.size());
    std::vector<size_t> rest_borders(borders.begin() + static_cast<int64_t>(index) + 1, borders.end());
    for (size_t& border : rest_borders) border -= done;
    const std::vector<int32_t> rest = encode_with_borders(key.substr(done), rest_borders, rest_places);
    for (const size_t rest_place : rest_places) places.push_back(ids.size() + rest_place);
    ids.insert(ids.end(), rest.begin(), rest.end());
    return ids;
  }
  return ids;
}

/// Cuts the key behind the last message's content.
std::string ChatEncoder::without_end_of_turn(std::string key, const base::OrderedJson& messages) const {
  const auto& last = messages.at(messages.size() - 1);
  const std::string content = guarded(last.at("content").get_ref<const std::string&>());
  const size_t begin = content.find_first_not_of(kSpace), end = content.find_last_not_of(kSpace) + 1;
  const size_t place = end == 0 ? std::string::npos : key.rfind(std::string_view(content).substr(begin, end - begin));
  if (place == std::string::npos) {
    throw ChatEndingError("the last message's content is not in the rendered template, so it cannot be continued");
  }
  key.resize(place + end - begin);
  // Templates trim contents; white space at the end of what is to be continued counts.
  return key + content.substr(end);
}

EncodedChat ChatEncoder::encode(const base::OrderedJson& messages, const base::OrderedJson& tools,
                                const ChatRenderOptions& options, std::span<const EncodedChat> known,
                                const ChatEnding& ending) const {
  EncodedChat chat;
  chat.key = template_.render(guarded_values(messages), tools, options).text;
  if (ending.continues_last) chat.key = without_end_of_turn(std::move(chat.key), messages);
  chat.key += ending.answer_begin;
  const auto append = [&](std::string_view text) { chat.text += text; };
  split_key(chat.key, append, append);
  for (size_t index = known.size(); index-- > 0;) {
    const EncodedChat& beginning = known[index];
    if (!chat.key.starts_with(beginning.key)) continue;
    std::vector<int32_t> rest;
    encode_key(std::string_view(chat.key).substr(beginning.key.size()), rest);
    // Behind a special token nothing can join with what stands before it.
    if (rest.empty() || !tokenizer_.is_special(rest.front())) continue;
    chat.ids = beginning.ids;
    chat.ids.insert(chat.ids.end(), rest.begin(), rest.end());
    return chat;
  }
  encode_key(chat.key, chat.ids);
  return chat;
}

EncodedChat ChatEncoder::with_answer(const EncodedChat& prompt, std::string_view answer,
                                     std::span<const int32_t> ids) const {
  EncodedChat chat = prompt;
  chat.text += answer;
  chat.key += guarded(answer);
  chat.ids.insert(chat.ids.end(), ids.begin(), ids.end());
  return chat;
}

}  // namespace fledge::nn
