#pragma once

#include <histedit.h>

#include <memory>
#include <string>

namespace fledge::cli {

/// What came from the keyboard.
enum class InputKind : uint8_t {
  line,         ///< a line, or several between `"""` and `"""`
  end,          ///< Ctrl+D, or the end of a pipe
  interrupted,  ///< Ctrl+C at an empty prompt
  dropped,      ///< Ctrl+C gave up what was typed
};

/// Lines from a terminal, with editing and history (libedit), or from a pipe. Needs a base::InterruptGuard.
class ChatInput {
 public:
  ChatInput();
  ~ChatInput();
  ChatInput(const ChatInput&) = delete;
  ChatInput& operator=(const ChatInput&) = delete;

  /// One line as it was typed.
  InputKind read_line(std::string& line);
  /// One message: a line, or what stands between `"""` at the beginning of a line and the next `"""`. Valid UTF-8.
  InputKind read_message(std::string& message);

 private:
  struct EndEditor {
    void operator()(EditLine* editor) const { el_end(editor); }
  };
  struct EndHistory {
    void operator()(History* log) const { history_end(log); }
  };
  static int read_character(EditLine* editor, wchar_t* character);
  static const char* prompt(EditLine* editor);

  std::unique_ptr<History, EndHistory> history_;
  std::unique_ptr<EditLine, EndEditor> editor_;  ///< null: a pipe
  locale_t utf8_ = nullptr;
  bool inside_block_ = false;
  bool was_empty_ = true;  ///< when Ctrl+C came
};

/// `text` with U+FFFD for bytes that are not UTF-8.
std::string valid_utf8(std::string_view text);

}  // namespace fledge::cli
