#include "nn/text/tokenizer_trainer.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "nn/text/guarded_parallel.h"
#include "nn/text/normalization.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

// A text is counted in parts of this size, which threads take in turn, and progress is told after some of them.
constexpr size_t kPartBytes = 256 * 1024;
constexpr size_t kPartsPerReport = 32;

bool is_visible_ascii(char c) {
  return c > ' ' && c < 0x7F;
}

/// End of a part of `text` that begins at `begin`: at kPartBytes or as soon after it as the text may be cut.
size_t end_of_part(std::string_view text, size_t begin, bool cut_at_any_line, bool cut_between_visible) {
  size_t at = std::min(text.size(), begin + kPartBytes);
  while (at < text.size()) {
    const size_t line_end = text.find('\n', at);
    if (line_end == std::string_view::npos) break;
    at = line_end + 1;
    if (cut_at_any_line) return at;
    const bool visible_around =
        line_end > begin && at < text.size() && is_visible_ascii(text[line_end - 1]) && is_visible_ascii(text[at]);
    if (cut_between_visible && visible_around) return at;
  }
  return text.size();
}

base::Json token_json(const AddedToken& token) {
  return {{"content", token.content}, {"lstrip", token.lstrip},           {"normalized", token.normalized},
          {"rstrip", token.rstrip},   {"single_word", token.single_word}, {"special", token.special}};
}

}  // namespace

std::vector<AddedToken> make_special_tokens(const std::vector<std::string>& contents, int32_t first_id) {
  std::vector<AddedToken> tokens;
  for (const std::string& content : contents) {
    AddedToken token;
    token.id = first_id + static_cast<int32_t>(tokens.size());
    token.content = content;
    token.special = true;
    tokens.push_back(token);
  }
  return tokens;
}

std::vector<char32_t> frequent_characters(const PieceCounter& counts, size_t most) {
  std::unordered_map<char32_t, int64_t> seen;
  counts.for_each([&](std::string_view piece, int64_t count) {
    for (size_t at = 0, length = 0; at < piece.size(); at += length) seen[decode_utf8(&piece[at], length)] += count;
  });
  std::vector<std::pair<int64_t, char32_t>> order;
  for (const auto& [character, count] : seen) order.emplace_back(-count, character);
  std::sort(order.begin(), order.end());
  if (order.size() > most) order.resize(most);
  std::vector<char32_t> characters;
  for (const auto& [count, character] : order) characters.push_back(character);
  std::sort(characters.begin(), characters.end());
  return characters;
}

base::Json special_token_config(const std::vector<AddedToken>& tokens,
                                const std::vector<std::pair<std::string, std::string>>& roles) {
  base::Json decoder = base::Json::object();
  for (const AddedToken& token : tokens) decoder[std::to_string(token.id)] = token_json(token);
  base::Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                       {"clean_up_tokenization_spaces", false},
                       {"added_tokens_decoder", std::move(decoder)}};
  for (const auto& [role, content] : roles) config[role] = content;
  return config;
}

TokenizerTrainer::TokenizerTrainer(TextReading reading, std::vector<std::string> special_tokens, Progress progress)
    : reading_(std::move(reading)),
      special_matcher_(make_special_tokens(special_tokens)),
      special_is_in_line_(true),
      progress_(std::move(progress)),
      counters_(static_cast<size_t>(base::thread_count())) {
  std::set<std::string> names;
  for (const std::string& token : special_tokens) {
    if (token.empty() || !names.insert(token).second || valid_utf8_end(token, 0) != token.size()) {
      throw base::UsageError("the special token \"{}\" is empty, repeated or not UTF-8", token);
    }
    special_is_in_line_ = special_is_in_line_ && token.find('\n') == std::string::npos;
  }
}

void TokenizerTrainer::count_document(std::string_view text, PieceCounter& counter) const {
  std::string changed;
  if (!reading_.keeps_invalid_bytes && valid_utf8_end(text, 0) < text.size()) text = changed = to_valid_utf8(text);
  if (reading_.normalizer) {
    if (changed.empty()) changed = text;
    reading_.normalizer->apply(changed);
    text = changed;
  } else if (reading_.normalize_to_nfc && !is_surely_nfc(text)) {
    text = changed = to_nfc(text);
  }
  counter.set_readable_end(reading_.pre_tokenizer->rewrites() ? nullptr : text.data() + text.size());
  for (size_t position = 0; position < text.size();) {
    const size_t valid_end = valid_utf8_end(text, position);
    if (valid_end > position) reading_.pre_tokenizer->split(text.substr(position, valid_end - position), counter);
    position = invalid_utf8_end(text, valid_end);
    const std::string_view invalid = text.substr(valid_end, position - valid_end);
    if (!invalid.empty()) counter.take({&invalid, 1});
  }
}

void TokenizerTrainer::count_part(std::string_view text, Unit unit, PieceCounter& counter) const {
  const auto count = [&](std::string_view document) {
    special_matcher_.split(
        document, true, [&](std::string_view plain) { count_document(plain, counter); }, [](const AddedToken&) {});
  };
  if (unit == Unit::kText) return count(text);
  while (!text.empty()) {
    const size_t line_end = std::min(text.find('\n'), text.size() - 1) + 1;
    count(text.substr(0, line_end));
    text.remove_prefix(line_end);
  }
}

void TokenizerTrainer::add_text(std::string_view text, Unit unit) {
  // A special token that holds a line feed could be cut in two, so a text stays whole then.
  const bool cut_at_any_line = unit == Unit::kLine || (special_is_in_line_ && reading_.cuts_at_lines);
  const bool cut_between_visible = special_is_in_line_ && reading_.pre_tokenizer->breaks_after_lines();
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = end_of_part(text, begin, cut_at_any_line, cut_between_visible);
    parts.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  for (size_t first = 0; first < parts.size(); first += kPartsPerReport) {
    const size_t count = std::min(kPartsPerReport, parts.size() - first);
    guarded_parallel(static_cast<int64_t>(count), [&](int64_t item) {
      count_part(parts[first + static_cast<size_t>(item)], unit,
                 counters_[static_cast<size_t>(base::thread_index()) % counters_.size()]);
    });
    if (progress_) {
      const std::string_view last = parts[first + count - 1];
      progress_({TokenizerTrainingProgress::Phase::kCounting, last.data() + last.size() - text.data(),
                 static_cast<int64_t>(text.size())});
    }
  }
}

void TokenizerTrainer::add_file(const std::filesystem::path& path, Unit unit) {
  add_text(base::MappedFile(path).text(), unit);
}

const PieceCounter& TokenizerTrainer::gather_counts(std::string_view kind) {
  for (size_t i = 1; i < counters_.size(); ++i) {
    counters_[0].add(counters_[i]);
    counters_[i] = PieceCounter();
  }
  if (counters_[0].distinct() == 0) throw base::Error("{} training: the input holds no text", kind);
  return counters_[0];
}

}  // namespace fledge::nn
