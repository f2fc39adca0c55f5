#include "cli/chat_continuation.h"

#include <random>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/nearest.h"
#include "base/signals.h"
#include "base/terminal.h"
#include "cli/common.h"
#include "cli/text_stream.h"

namespace fledge::cli {
namespace {

constexpr const char* kHelp =
    "Type the beginning of a text and the model continues it: it is a base model, without a chat template.\n"
    "  /more            go on where the last text ended\n"
    "  /again           another continuation of the same beginning\n"
    "  /set KEY VALUE   change how the next texts are drawn; alone: show the settings\n"
    "  /temperature T, /top-p P, /top-k K, /max-tokens N   the same, shorter\n"
    "  /help            this list\n"
    "  /bye             leave (or Ctrl+D); Ctrl+C stops a text\n";

const std::vector<std::string> kSettings = {"/temperature", "/top-p", "/top-k", "/max-tokens"};
const std::vector<std::string> kCommands = {"/more",        "/again", "/set",   "/help",      "/bye",
                                            "/temperature", "/top-p", "/top-k", "/max-tokens"};

}  // namespace

ContinuationSession::ContinuationSession(OpenedModel opened, nn::Tokenizer tokenizer, ChatSettings settings,
                                         Drafting drafting)
    : settings_(std::move(settings)),
      opened_(std::move(opened)),
      tokenizer_(std::move(tokenizer)),
      drafting_(std::move(drafting)) {}

bool ContinuationSession::continue_from(const std::string& text) {
  base::clear_interrupt();
  beginning_ = text;
  infer::GenerationOptions options;
  options.sampling = settings_.sampling;
  options.sampling.seed = settings_.seed ? *settings_.seed : std::random_device{}();
  options.max_tokens = settings_.max_tokens;
  if (const int32_t end_token = end_token_of(opened_, tokenizer_); end_token >= 0) options.end_tokens = {end_token};
  const auto show = [](std::string_view piece) {
    print(piece);
    flush_standard_output();
  };
  show(text);
  const Continuation continuation = continue_tokens(opened_, tokenizer_, prompt_tokens(opened_, tokenizer_, text),
                                                    options, settings_.stop, show, {nullptr, drafting_.drafter.get()});
  whole_ = text + continuation.text;
  print(continuation.finish_reason == "context" ? "\n(the model's context is full)\n" : "\n");
  const bool stopped = base::interrupted();
  base::clear_interrupt();
  return stopped;
}

bool ContinuationSession::handle(const std::string& line) {
  if (line.empty()) return true;
  const size_t space = line.find(' ');
  const std::string name = line.substr(0, space), value = space == std::string::npos ? "" : line.substr(space + 1);
  if (line[0] != '/') {
    continue_from(line);
    print("\n");
  } else if (name == "/bye" || name == "/exit" || name == "/quit") {
    return false;
  } else if (name == "/more" || name == "/again") {
    const std::string beginning = beginning_;
    continue_from(name == "/more" ? whole_ : beginning);
    beginning_ = beginning;
    print("\n");
  } else if (name == "/help") {
    print(kHelp);
  } else if (name == "/set" && value.empty()) {
    print(describe(settings_));
  } else if (name == "/set") {
    const size_t end = value.find(' ');
    set_value(settings_, value.substr(0, end), end == std::string::npos ? "" : value.substr(end + 1));
  } else if (std::ranges::find(kSettings, name) != kSettings.end()) {
    set_value(settings_, name.substr(1), value);
  } else {
    const std::string near = base::nearest(name, kCommands);
    throw base::UsageError("{} is not known; {}", name,
                           near.empty() ? "/help lists what is" : fmt::format("did you mean {}?", near));
  }
  return true;
}

}  // namespace fledge::cli
