#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fledge::base {

/// What stands behind a file descriptor, and how it wants to be written to.
struct Terminal {
  bool interactive = false;  ///< a terminal that can redraw a line (not TERM=dumb)
  bool color = false;        ///< interactive, NO_COLOR is not set and disable_color() was not called
  bool unicode = false;      ///< the locale's characters are UTF-8
  int width = 80;            ///< columns; COLUMNS or 80 where nobody knows
};

/// Asks the system about a descriptor (1: standard output, 2: standard error). Follows https://no-color.org.
Terminal describe_terminal(int descriptor);

/// No colour from here on, in the whole program (the flag --no-color).
void disable_color();

enum class Style { bold, dim, red, green, yellow, blue, cyan };

/// `text` in a style where the terminal shows colour, else as it is.
std::string styled(std::string_view text, Style style, const Terminal& terminal);

/// Columns that UTF-8 text takes: code points, without escape sequences. Wide and combining characters count as one.
size_t display_width(std::string_view text);

/// The longest beginning of `text` that takes at most `columns` columns and ends between two characters. Text with
/// escape sequences keeps them whole.
std::string_view fit_width(std::string_view text, size_t columns);

/// `text` broken between words into lines of at most `width` columns. Every line but the first begins with `indent`
/// spaces; the first is taken to begin at that column already.
std::string wrapped(std::string_view text, size_t width, size_t indent);

/// Text from outside made safe to show: control characters (but line feed and tab) become \xNN, so that a file name or
/// a key cannot move the cursor or change colours.
std::string printable(std::string_view text);

/// 1234567 -> "1,234,567".
std::string with_separators(long long number);
/// Bytes as "512 B", "1.5 KiB", "3.2 GiB".
std::string format_bytes(double bytes);
/// Seconds as "0:05", "12:34", "1:02:03" or "3 d 4 h".
std::string format_duration(double seconds);

}  // namespace fledge::base
