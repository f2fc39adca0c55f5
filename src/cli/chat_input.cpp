#include "cli/chat_input.h"

#include <locale.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>

#include "base/signals.h"
#include "cli/common.h"
#include "infer/stop.h"

namespace fledge::cli {
namespace {

constexpr std::string_view kBlock = "\"\"\"";

/// Bytes of a UTF-8 character by its first byte; 0 where none begins so.
int utf8_length(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first < 0xE0) return 2;
  if (first >= 0xE0 && first < 0xF0) return 3;
  return first >= 0xF0 && first < 0xF5 ? 4 : 0;
}

/// 1: a byte; 0: the end; -1: Ctrl+C, or a fault.
int read_byte(unsigned char& byte) {
  while (base::wait_until_readable(STDIN_FILENO)) {
    const ssize_t count = ::read(STDIN_FILENO, &byte, 1);
    if (count >= 0 || errno != EINTR) return static_cast<int>(count);
  }
  return -1;
}

}  // namespace

std::string valid_utf8(std::string_view text) {
  infer::StopFilter filter(std::vector<std::string>{});
  std::string result = filter.push(text);
  return result + filter.finish();
}

/// libedit's own reader goes on after a signal; this one gives up the line, so that Ctrl+C is seen.
int ChatInput::read_character(EditLine* editor, wchar_t* character) {
  unsigned char byte = 0;
  int state = read_byte(byte);
  if (state < 0) {
    ChatInput* input = nullptr;
    el_get(editor, EL_CLIENTDATA, &input);
    const LineInfo* line = el_line(editor);
    input->was_empty_ = line->lastchar == line->buffer;
  }
  if (state <= 0) return state;
  const int length = utf8_length(byte);
  uint32_t code = length == 1 ? byte : length == 0 ? 0xFFFD : byte & (0xFFu >> (length + 1));
  for (int index = 1; index < length; ++index) {
    state = read_byte(byte);
    if (state <= 0) return state;
    if ((byte & 0xC0) != 0x80) code = 0xFFFD;
    if (code != 0xFFFD) code = code << 6 | (byte & 0x3Fu);
  }
  *character = static_cast<wchar_t>(code);
  return 1;
}

const char* ChatInput::prompt(EditLine* editor) {
  ChatInput* input = nullptr;
  el_get(editor, EL_CLIENTDATA, &input);
  return input->inside_block_ ? "... " : "> ";
}

ChatInput::ChatInput() {
  if (!::isatty(STDIN_FILENO)) return;
  // For libedit alone and for this thread: the program keeps the C locale.
  utf8_ = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  editor_.reset(el_init("fledge", stdin, stdout, stderr));
  history_.reset(history_init());
  HistEvent event;
  history(history_.get(), &event, H_SETSIZE, 500);
  el_set(editor_.get(), EL_CLIENTDATA, this);
  el_set(editor_.get(), EL_PROMPT, &ChatInput::prompt);
  el_set(editor_.get(), EL_EDITOR, "emacs");
  el_set(editor_.get(), EL_HIST, history, history_.get());
  el_set(editor_.get(), EL_SIGNAL, 1);
  el_set(editor_.get(), EL_GETCFN, &ChatInput::read_character);
}

ChatInput::~ChatInput() {
  if (utf8_ != nullptr) freelocale(utf8_);
}

InputKind ChatInput::read_line(std::string& line) {
  line.clear();
  if (!editor_) return std::getline(std::cin, line) ? InputKind::line : InputKind::end;
  flush_standard_output();  // the editor writes its prompt by another way
  const locale_t before = utf8_ != nullptr ? uselocale(utf8_) : nullptr;
  int count = 0;
  was_empty_ = true;
  const char* text = el_gets(editor_.get(), &count);
  if (text != nullptr && count > 0) line.assign(text, static_cast<size_t>(count));
  if (before != nullptr) uselocale(before);
  if (base::interrupted()) {
    base::clear_interrupt();
    print("^C\n");
    return was_empty_ && !inside_block_ ? InputKind::interrupted : InputKind::dropped;
  }
  if (line.empty()) {
    print("\n");
    return InputKind::end;
  }
  HistEvent event;
  if (line != "\n") history(history_.get(), &event, H_ENTER, line.c_str());
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  return InputKind::line;
}

InputKind ChatInput::read_message(std::string& message) {
  std::string line;
  inside_block_ = false;
  InputKind kind = read_line(line);
  if (kind != InputKind::line || !line.starts_with(kBlock)) {
    message = valid_utf8(line);
    return kind;
  }
  line.erase(0, kBlock.size());
  message.clear();
  inside_block_ = true;
  while (true) {
    const size_t end = line.find(kBlock);
    message += line.substr(0, end);
    if (end != std::string::npos) break;
    if (!message.empty()) message += '\n';
    kind = read_line(line);
    if (kind != InputKind::line) break;
  }
  inside_block_ = false;
  while (!message.empty() && message.back() == '\n') message.pop_back();
  message = valid_utf8(message);
  return kind;
}

}  // namespace fledge::cli
