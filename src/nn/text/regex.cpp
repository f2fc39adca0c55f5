#include "nn/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <new>
#include <string>

#include "base/error.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

// A pattern from a file is hostile: a search that backtracks without end is stopped and reported.
constexpr uint32_t kMatchLimit = 10'000'000;
constexpr uint32_t kHeapLimitKib = 256 * 1024;
constexpr size_t kJitStackFirst = 32 * 1024, kJitStackMost = 8 * 1024 * 1024;
constexpr size_t kLongestRegex = 64 * 1024;

struct Free {
  void operator()(pcre2_match_data* value) const { pcre2_match_data_free(value); }
  void operator()(pcre2_match_context* value) const { pcre2_match_context_free(value); }
  void operator()(pcre2_jit_stack* value) const { pcre2_jit_stack_free(value); }
};

std::string message_of(int code) {
  char buffer[256] = "";
  pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(buffer), sizeof buffer);
  return buffer;
}

/// The same expression with \s and \S as the property White_Space. PCRE2's own \s holds U+180E besides, which is no
/// white space since Unicode 6.3 and which the engines of Hugging Face and OpenAI leave out.
std::string with_unicode_spaces(const std::string& regex) {
  std::string result;
  for (size_t i = 0; i < regex.size(); ++i) {
    if (regex[i] != '\\' || i + 1 == regex.size()) {
      result += regex[i];
    } else if (const char escaped = regex[++i]; escaped == 's' || escaped == 'S') {
      result += escaped == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
    } else {
      result += '\\';
      result += escaped;
    }
  }
  return result;
}

/// What a search needs for itself, whatever the pattern: each thread has one, so that threads may share a pattern.
struct Workspace {
  std::unique_ptr<pcre2_match_data, Free> data;
  std::unique_ptr<pcre2_match_context, Free> context;
  std::unique_ptr<pcre2_jit_stack, Free> stack;

  Workspace()
      : data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(kJitStackFirst, kJitStackMost, nullptr)) {
    if (!data || !context) throw std::bad_alloc();
    pcre2_set_match_limit(context.get(), kMatchLimit);
    pcre2_set_heap_limit(context.get(), kHeapLimitKib);
    if (stack) pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }

  static const Workspace& of_thread() {
    static thread_local const Workspace workspace;
    return workspace;
  }
};

}  // namespace

struct Regex::Code {
  explicit Code(pcre2_code* compiled) : code(compiled) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  pcre2_code* code;
};

Regex::Regex(const std::string& regex, std::string_view origin) : regex_(regex), origin_(origin) {
  if (regex.size() > kLongestRegex) {
    throw base::Error("{}: a split pattern of {} bytes is longer than the {} that are read", origin, regex.size(),
                      kLongestRegex);
  }
  const std::string translated = with_unicode_spaces(regex);
  int error = 0;
  size_t offset = 0;
  // The end of a text is its very end, as in the engines that these patterns were written for.
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY, &error, &offset, nullptr);
  if (code == nullptr) {
    throw base::Error("{}: the split pattern {} is not understood ({})", origin, regex, message_of(error));
  }
  code_ = std::make_unique<Code>(code);
  // Where the machine forbids just-in-time code, pcre2_match() interprets the pattern instead.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
}

Regex::~Regex() = default;

bool Regex::search(std::string_view text, size_t position, size_t& begin, size_t& end) const {
  const Workspace& workspace = Workspace::of_thread();
  const auto match = [&](uint32_t options) {
    return pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), position,
                       options | PCRE2_NO_UTF_CHECK, workspace.data.get(), workspace.context.get());
  };
  int result = match(0);
  // The interpreter keeps its backtracking on the heap and goes further than the stack of compiled code.
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = match(PCRE2_NO_JIT);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0) {
    throw base::Error("{}: the split pattern {} cannot be matched at byte {} of a text ({})", origin_, regex_, position,
                      message_of(result));
  }
  const size_t* offsets = pcre2_get_ovector_pointer(workspace.data.get());
  begin = offsets[0];
  end = offsets[1];
  return true;
}

bool Regex::find(std::string_view text, size_t position, size_t& begin, size_t& end) const {
  const size_t from = position;
  while (position < text.size()) {
    if (!search(text, position, begin, end)) return false;
    if (end > begin && begin >= from) return true;
    position += std::max<size_t>(1, utf8_length(text, position));
  }
  return false;
}

std::string quoted_regex(std::string_view text) {
  std::string regex;
  for (const char c : text) {
    if (static_cast<signed char>(c) >= 0 && !std::isalnum(static_cast<unsigned char>(c))) regex += '\\';
    regex += c;
  }
  return regex;
}

}  // namespace fledge::nn
