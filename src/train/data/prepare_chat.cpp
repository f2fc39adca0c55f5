#include "train/data/prepare_chat.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/terminal.h"
#include "nn/text/guarded_parallel.h"
#include "train/data/tokenizer_adapter.h"

namespace fledge::train {
namespace {

/// Examples that are tokenized at once by all threads.
constexpr size_t kBlock = 1024;

/// One example on its way.
struct Item {
  ChatExample example;
  std::string place;
  std::vector<ChatTokens> sequences;
  std::string fault;
};

class Preparation {
 public:
  Preparation(const PrepareChatOptions& options, const ChatModel& model, ChatDataWriter& writer)
      : options_(options),
        model_(model),
        writer_(writer),
        tokens_(model.tokenizer, model.chat_template, options.turns) {}

  void run() {
    for (const auto* paths : {&options_.inputs, &options_.validation_inputs}) {
      for (const auto& path : *paths) {
        std::error_code error;
        const auto size = std::filesystem::file_size(path, error);
        if (!error) progress_.bytes_total += static_cast<int64_t>(size);
      }
    }
    for (const auto& path : options_.inputs) read(path);
    require_examples(options_.inputs.front());
    if (options_.validation_inputs.empty()) return;
    all_held_out_ = true;
    const int64_t of_training = std::exchange(examples_, 0);
    for (const auto& path : options_.validation_inputs) read(path);
    require_examples(options_.validation_inputs.front());
    examples_ += of_training;
  }

  std::vector<std::string> notes() const {
    std::vector<std::string> notes;
    const auto say = [&](int64_t count, std::string_view text) {
      if (count > 0) notes.push_back(fmt::format("{} {}", base::with_separators(count), text));
    };
    say(report_.broken, "records were skipped");
    for (const std::string& fault : report_.first_faults) notes.push_back("  " + fault);
    if (report_.broken > static_cast<int64_t>(report_.first_faults.size())) notes.emplace_back("  ...");
    say(report_.equal_answers, "preferences with equal answers were skipped");
    say(report_.unanswered_ends, "conversations were cut behind their last answer");
    say(open_ends_, "examples have an answer that no special token ends: the model does not learn where to stop");
    return notes;
  }
  std::vector<int32_t> end_of_turn() const { return {ends_.begin(), ends_.end()}; }

 private:
  void add(const ChatReadReport& report) {
    report_.broken += report.broken;
    report_.equal_answers += report.equal_answers;
    report_.unanswered_ends += report.unanswered_ends;
    for (const std::string& fault : report.first_faults) keep_fault(fault);
  }
  void keep_fault(const std::string& fault) {
    if (report_.first_faults.size() < 5) report_.first_faults.push_back(fault);
  }

  void read(const std::filesystem::path& path) {
    ChatReader reader(path, options_.reading);
    ChatExample example;
    while (reader.next(example)) {
      items_.push_back({std::move(example), reader.place(), {}, {}});
      if (items_.size() < kBlock) continue;
      flush();
      progress_.bytes_done = bytes_before_ + reader.bytes_read();
      progress_.documents = examples_;
      progress_.tokens = written_tokens_;
      if (options_.progress) options_.progress(progress_);
    }
    flush();
    bytes_before_ += reader.bytes_read();
    add(reader.report());
  }

  void require_examples(const std::filesystem::path& path) const {
    if (examples_ > 0) return;
    if (!report_.first_faults.empty())
      throw base::Error("no record can be used; the first: {}", report_.first_faults.front());
    throw base::Error("{}: there is nothing to learn in it", path.string());
  }

  /// Where the next example belongs.
  const char* next_split() const {
    const bool held_out = options_.validation_inputs.empty()
                              ? is_validation_document(examples_, options_.validation_fraction)
                              : all_held_out_;
    return held_out ? kValidationSplit : kTrainSplit;
  }

  /// The question of one example with the answer to another.
  static Conversation mismatched(const Conversation& question, const Conversation& answer) {
    Conversation result = question;
    result.messages = base::OrderedJson::array();
    for (size_t index = 0; index < question.first_trained; ++index) result.messages.push_back(question.messages[index]);
    for (size_t index = answer.first_trained; index < answer.messages.size(); ++index)
      result.messages.push_back(answer.messages[index]);
    return result;
  }

  void tokenize(size_t index) {
    Item& item = items_[index];
    try {
      item.sequences.push_back(tokens_.tokenize(item.example.chosen));
      if (item.example.rejected) item.sequences.push_back(tokens_.tokenize(*item.example.rejected));
      if (item.example.is_desirable) {
        const Item& next = items_[(index + 1) % items_.size()];
        item.sequences.push_back(tokens_.tokenize(mismatched(item.example.chosen, next.example.chosen)));
      }
    } catch (const AmbiguousTurns& error) {
      throw AmbiguousTurns("{}: {}", item.place, error.what());
    } catch (const base::Error& error) {
      item.fault = fmt::format("{}: {}", item.place, error.what());
    }
  }

  void flush() {
    nn::guarded_parallel(static_cast<int64_t>(items_.size()),
                         [&](int64_t index) { tokenize(static_cast<size_t>(index)); });
    for (const Item& item : items_) write(item);
    items_.clear();
  }

  void write(const Item& item) {
    if (!item.fault.empty()) {
      if (options_.reading.strict) throw base::Error("{}", item.fault);
      ++report_.broken;
      keep_fault(item.fault);
      return;
    }
    const int32_t label = item.example.is_desirable ? (*item.example.is_desirable ? 1 : 0) : -1;
    writer_.append(next_split(), item.sequences, label);
    ++examples_;
    bool is_open = false;
    for (const ChatTokens& tokens : item.sequences) {
      written_tokens_ += static_cast<int64_t>(tokens.ids.size());
      is_open |= tokens.has_open_end;
      if (tokens.has_open_end) continue;
      for (const TokenSpan& span : tokens.trained) keep_end(tokens, span);
    }
    open_ends_ += is_open ? 1 : 0;
  }

  void keep_end(const ChatTokens& tokens, const TokenSpan& span) {
    for (int32_t place = span.end; place > span.begin; --place) {
      const int32_t id = tokens.ids[static_cast<size_t>(place) - 1];
      if (!model_.tokenizer->is_special(id)) continue;
      ends_.insert(id);
      return;
    }
  }

  const PrepareChatOptions& options_;
  const ChatModel& model_;
  ChatDataWriter& writer_;
  ChatTokenizer tokens_;
  std::vector<Item> items_;
  ChatReadReport report_;
  std::set<int32_t> ends_;
  PrepareProgress progress_;
  int64_t bytes_before_ = 0;   ///< of files that were read
  bool all_held_out_ = false;  ///< validation_inputs are read
  int64_t examples_ = 0, written_tokens_ = 0, open_ends_ = 0;
};

}  // namespace

ChatIndex prepare_chat(const PrepareChatOptions& options, const ChatModel& model) {
  if (options.inputs.empty()) throw base::UsageError("no input file was given");
  if (!(options.validation_fraction >= 0 && options.validation_fraction <= 0.5))
    throw base::UsageError("a validation fraction of 0 to 0.5 was expected, not {}", options.validation_fraction);
  ChatIndex index;
  index.purpose = options.reading.purpose;
  index.tokenizer_hash = tokenizer_hash(*model.tokenizer);
  index.vocabulary_size = model.tokenizer->vocabulary_size();
  base::write_folder(options.out, [&](const std::filesystem::path& folder) {
    ChatDataWriter writer(folder, index, options.shard_bytes);
    Preparation preparation(options, model, writer);
    preparation.run();
    index = writer.finish(preparation.notes(), preparation.end_of_turn());
    write_chat_files(model, index.end_of_turn, folder);
  });
  return index;
}

}  // namespace fledge::train
