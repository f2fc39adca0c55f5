#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::infer {

/// Turns the bytes of generated tokens into text that can be shown as it comes: whole characters only, and nothing of a
/// stop string. Bytes that could be the beginning of a stop string, or of a character, are held back until it is clear.
/// Bytes that are not UTF-8 become U+FFFD, one for each longest run that begins a character (as Python's
/// errors="replace" and the Unicode standard, section 3.9, have it).
///
/// What comes out, all pieces together, does not depend on how the bytes were cut into pieces.
class StopFilter {
 public:
  /// Throws base::UsageError where a stop string is empty. Without stop strings it only completes characters.
  explicit StopFilter(std::vector<std::string> stop_strings);

  /// Takes more bytes; returns the text that is now certain. After a stop string: nothing more.
  std::string push(std::string_view bytes);
  /// The generation has ended: returns what was held back.
  std::string finish();

  /// The stop string that was found: of several, the one that was complete first, and of those the longest.
  const std::optional<std::string>& found() const { return found_; }

 private:
  std::string release(size_t bytes, bool final);

  std::vector<std::string> stop_strings_;
  std::string held_;
  std::optional<std::string> found_;
};

}  // namespace fledge::infer
