#include <histedit.h>
#include <unistd.h>

#include <iostream>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/signals.h"
#include "base/terminal.h"
#include "cli/chat.h"
#include "cli/common.h"
#include "cli/text_stream.h"

namespace fledge::cli {
namespace {

constexpr const char* kHelp =
    "Type the beginning of a text and the model continues it.\n"
    "  /more          go on where the last text ended\n"
    "  /again         another continuation of the same beginning\n"
    "  /temperature T, /top-p P, /top-k K, /max-tokens N   change how the next texts are drawn\n"
    "  /help          this list\n"
    "  /bye           leave (or Ctrl+D); Ctrl+C stops a text\n";

const char* editor_prompt(EditLine*) {
  return "> ";
}

/// Lines from a terminal, with editing and history, or from a pipe.
class LineReader {
 public:
  LineReader() {
    if (!::isatty(STDIN_FILENO)) return;
    editor_.reset(el_init("fledge", stdin, stdout, stderr));
    history_.reset(history_init());
    HistEvent event;
    history(history_.get(), &event, H_SETSIZE, 500);
    el_set(editor_.get(), EL_PROMPT, editor_prompt);
    el_set(editor_.get(), EL_EDITOR, "emacs");
    el_set(editor_.get(), EL_HIST, history, history_.get());
    el_set(editor_.get(), EL_SIGNAL, 1);
  }

  /// Nothing at the end of the input.
  std::optional<std::string> next() {
    if (!editor_) {
      std::string line;
      if (!std::getline(std::cin, line)) return std::nullopt;
      return line;
    }
    int count = 0;
    const char* text = el_gets(editor_.get(), &count);
    if (text == nullptr || count <= 0) return std::nullopt;
    std::string line(text, static_cast<size_t>(count));
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
    HistEvent event;
    if (!line.empty()) history(history_.get(), &event, H_ENTER, text);
    return line;
  }

 private:
  struct EndEditor {
    void operator()(EditLine* editor) const { el_end(editor); }
  };
  struct EndHistory {
    void operator()(History* log) const { history_end(log); }
  };
  std::unique_ptr<History, EndHistory> history_;
  std::unique_ptr<EditLine, EndEditor> editor_;
};

/// The conversation with a base model: a beginning, and what was made of it.
class Session {
 public:
  explicit Session(const ChatOptions& options)
      : sampling_(options.sampling),
        opened_(open_model(options.model, options.sampling.precision, false)),
        tokenizer_(open_tokenizer(opened_)) {}

  const OpenedModel& opened() const { return opened_; }

  /// False when the user leaves.
  bool handle(const std::string& line) {
    if (line.empty()) return true;
    if (line[0] != '/') {
      beginning_ = line;
      go_on(beginning_);
    } else if (line == "/bye" || line == "/exit" || line == "/quit") {
      return false;
    } else if (line == "/more") {
      go_on(whole_);
    } else if (line == "/again") {
      go_on(beginning_);
    } else if (line == "/help") {
      print(kHelp);
    } else {
      set_option(line);
    }
    return true;
  }

 private:
  void go_on(const std::string& text) {
    base::clear_interrupt();
    print(text);
    const auto show = [](std::string_view piece) {
      print(piece);
      flush_standard_output();
    };
    const Continuation continuation = continue_text(opened_, tokenizer_, text, sampling_, show);
    whole_ = text + continuation.text;
    print(continuation.finish_reason == "context" ? "\n(the model's context is full)\n\n" : "\n\n");
    base::clear_interrupt();
  }

  void set_option(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const std::string value = space == std::string::npos ? "" : line.substr(space + 1);
    SamplingOptions changed = sampling_;
    try {
      size_t used = 0;
      if (name == "/temperature") {
        changed.temperature = std::stod(value, &used);
      } else if (name == "/top-p") {
        changed.top_p = std::stod(value, &used);
      } else if (name == "/top-k") {
        changed.top_k = std::stoll(value, &used);
      } else if (name == "/max-tokens") {
        changed.max_tokens = std::stoll(value, &used);
      } else {
        print(fmt::format("{} is not known; /help lists what is\n", base::printable(name)));
        return;
      }
      if (used != value.size()) throw std::invalid_argument(value);
      infer::check_sampling_options(generation_options(changed, -1).sampling);
    } catch (const base::Error& error) {
      print(fmt::format("{}\n", error.what()));
      return;
    } catch (const std::logic_error&) {
      print(fmt::format("{} needs a number\n", name));
      return;
    }
    sampling_ = changed;
  }

  SamplingOptions sampling_;
  OpenedModel opened_;
  nn::Tokenizer tokenizer_;
  std::string beginning_, whole_;
};

}  // namespace

void run_chat(const ChatOptions& options, const CommonOptions& common) {
  const base::InterruptGuard guard;
  Session session(options);
  if (!common.quiet) {
    print(fmt::format("{}: type the beginning of a text, /help for help, /bye to leave.\n",
                      session.opened().folder.string()));
  }
  LineReader reader;
  while (true) {
    flush_standard_output();
    try {
      const auto line = reader.next();
      if (!line || !session.handle(*line)) return;
    } catch (const base::Error& error) {
      // A prompt that is too long, for example; the conversation goes on.
      print(fmt::format("{}\n", error.what()));
    }
  }
}

}  // namespace fledge::cli
