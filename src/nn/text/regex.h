#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace fledge::nn {

/// A regular expression of a tokenizer's file (PCRE2 with JIT, in Unicode mode; `\s` is the property White_Space).
/// Immutable; threads may share it.
class Regex {
 public:
  /// Throws base::Error naming `origin` for a bad expression.
  Regex(const std::string& regex, std::string_view origin);
  ~Regex();

  /// The first match in `text`, valid UTF-8, that begins at `position` or later and is not empty. Throws base::Error
  /// where the search would not end.
  bool find(std::string_view text, size_t position, size_t& begin, size_t& end) const;

 private:
  struct Code;
  bool search(std::string_view text, size_t position, size_t& begin, size_t& end) const;

  std::string regex_, origin_;
  std::unique_ptr<Code> code_;
};

/// A regular expression that matches `text` and nothing else.
std::string quoted_regex(std::string_view text);

}  // namespace fledge::nn
