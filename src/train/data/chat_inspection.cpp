#include "train/data/chat_inspection.h"

#include <algorithm>
#include <set>
#include <unordered_set>

#include "base/error.h"
#include "base/hash.h"
#include "base/terminal.h"
#include "nn/text/guarded_parallel.h"
#include "train/data/chat_row.h"

namespace fledge::train {
namespace {

constexpr size_t kBlock = 256;
// Beyond this many sequences duplicates are no longer looked for, so that memory stays bounded.
constexpr size_t kMostHashes = size_t{1} << 23;

struct Item {
  std::string title;
  const Conversation* conversation = nullptr;
  ChatTokens tokens;
  std::string fault;
  bool is_ambiguous = false;
};

class Inspection {
 public:
  Inspection(const ChatModel& model, const ChatInspectionOptions& options)
      : model_(model), options_(options), tokens_(model.tokenizer, model.chat_template, options.turns) {
    result_.has_marks = tokens_.has_marks();
    result_.row_length = options.sequence_length > 0 ? options.sequence_length : model.context_length;
  }

  ChatInspection run(const std::filesystem::path& file) {
    file_ = file.string();
    ChatReader reader(file, {options_.purpose, options_.strict});
    const auto size = static_cast<int64_t>(std::filesystem::file_size(file));
    ChatExample example;
    while (reader.next(example)) {
      titles_.push_back(fmt::format("line {}", reader.line()));
      block_.push_back(std::move(example));
      if (block_.size() < kBlock) continue;
      flush();
      if (options_.progress) options_.progress(reader.bytes_read(), size);
    }
    flush();
    result_.report = reader.report();
    std::ranges::sort(result_.lengths);
    result_.end_of_turn.assign(ends_.begin(), ends_.end());
    warn();
    return std::move(result_);
  }

 private:
  void flush() {
    std::vector<Item> items;
    for (size_t index = 0; index < block_.size(); ++index) {
      items.push_back({titles_[index], &block_[index].chosen, {}, {}, false});
      if (block_[index].rejected) {
        items.back().title += ", chosen";
        items.push_back({titles_[index] + ", rejected", &*block_[index].rejected, {}, {}, false});
      }
    }
    nn::guarded_parallel(static_cast<int64_t>(items.size()), [&](int64_t index) {
      Item& item = items[static_cast<size_t>(index)];
      try {
        item.tokens = tokens_.tokenize(*item.conversation);
      } catch (const AmbiguousTurns& error) {
        item.is_ambiguous = true;
        item.fault = error.what();
      } catch (const base::Error& error) {
        item.fault = error.what();
      }
    });
    for (const Item& item : items) add(item);
    block_.clear();
    titles_.clear();
  }

  void add(const Item& item) {
    if (!item.fault.empty()) {
      if (options_.strict) throw base::Error("{}, {}: {}", file_, item.title, item.fault);
      (item.is_ambiguous ? result_.ambiguous : result_.refused) += 1;
      if (first_fault_.empty()) first_fault_ = item.title + ": " + item.fault;
      return;
    }
    const ChatTokens& tokens = item.tokens;
    const auto length = static_cast<int64_t>(tokens.ids.size());
    ++result_.sequences;
    result_.tokens += length;
    result_.trained_tokens += tokens.trained_count();
    result_.turns += static_cast<int64_t>(tokens.trained.size());
    result_.lengths.push_back(length);
    const int64_t kept = kept_tokens(tokens.trained, length, std::min(result_.row_length, model_.context_length));
    result_.left_out += kept == 0 ? 1 : 0;
    result_.cut += kept > 0 && kept < length ? 1 : 0;
    result_.open_ends += tokens.has_open_end ? 1 : 0;
    const std::string_view bytes(reinterpret_cast<const char*>(tokens.ids.data()), tokens.ids.size() * sizeof(int32_t));
    if (hashes_.size() < kMostHashes && !hashes_.insert(base::stable_hash(bytes)).second) ++result_.duplicates;
    for (const TokenSpan& span : tokens.trained) {
      const int32_t last = tokens.ids[static_cast<size_t>(span.end) - 1];
      if (!tokens.has_open_end && model_.tokenizer->is_special(last)) ends_.insert(last);
    }
    if (static_cast<int64_t>(result_.shown.size()) < options_.examples) show(item.title, tokens);
  }

  void show(const std::string& title, const ChatTokens& tokens) {
    ShownChat chat{title, static_cast<int64_t>(tokens.ids.size()), tokens.trained_count(), {}};
    int32_t done = 0;
    const auto add_part = [&](int32_t begin, int32_t end, bool is_trained) {
      if (begin == end) return;
      const auto ids = std::span(tokens.ids).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
      chat.parts.push_back({model_.tokenizer->decode(ids), is_trained});
    };
    for (const TokenSpan& span : tokens.trained) {
      add_part(done, span.begin, false);
      add_part(span.begin, span.end, true);
      done = span.end;
    }
    result_.shown.push_back(std::move(chat));
  }

  void warn() {
    const auto say = [&](int64_t count, std::string_view text) {
      if (count > 0) result_.warnings.push_back(fmt::format("{} {}", base::with_separators(count), text));
    };
    say(result_.report.broken, "records cannot be used and are skipped");
    say(result_.report.equal_answers, "preferences have two equal answers and are skipped");
    say(result_.report.unanswered_ends, "conversations end without an answer; that end is left out");
    say(result_.refused, "conversations are refused by the chat template");
    say(result_.ambiguous, "conversations have answers that cannot be told apart from the rest");
    if (!first_fault_.empty()) result_.warnings.push_back("the first of these: " + first_fault_);
    say(result_.open_ends, "sequences have an answer that no special token ends: the model would not learn to stop");
    say(result_.cut, fmt::format("sequences are longer than {} tokens and are cut, where possible behind an answer",
                                 std::min(result_.row_length, model_.context_length)));
    say(result_.left_out, "sequences are left out, because no answer begins early enough");
    say(result_.duplicates, "sequences are the same as an earlier one");
    const auto padding = model_.tokenizer->padding_token();
    if (padding && (padding == model_.tokenizer->end_token() || ends_.contains(*padding))) {
      result_.warnings.push_back(fmt::format(
          "the tokenizer's padding token {} also ends answers: fledge never trains padding and always the end, but a "
          "program that masks this token would not teach the model to stop",
          model_.tokenizer->token_bytes(*padding)));
    }
  }

  const ChatModel& model_;
  const ChatInspectionOptions& options_;
  ChatTokenizer tokens_;
  ChatInspection result_;
  std::vector<ChatExample> block_;
  std::vector<std::string> titles_;
  std::unordered_set<uint64_t> hashes_;
  std::set<int32_t> ends_;
  std::string file_, first_fault_;
};

}  // namespace

ChatInspection inspect_chats(const std::filesystem::path& file, const ChatModel& model,
                             const ChatInspectionOptions& options) {
  return Inspection(model, options).run(file);
}

std::vector<int64_t> histogram(const std::vector<int64_t>& lengths, size_t bins) {
  std::vector<int64_t> counts(bins, 0);
  if (lengths.empty()) return counts;
  const int64_t longest = std::max<int64_t>(1, lengths.back()), number = static_cast<int64_t>(bins);
  for (const int64_t length : lengths)
    ++counts[static_cast<size_t>(std::min(number - 1, length * number / (longest + 1)))];
  return counts;
}

}  // namespace fledge::train
