#include "base/terminal.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <cstdlib>

namespace fledge::base {
namespace {

/// A terminal of 91 columns, as a terminal program would open it.
struct PseudoTerminal {
  int master = -1, slave = -1;
  PseudoTerminal() {
    winsize size{};
    size.ws_col = 91;
    size.ws_row = 20;
    EXPECT_EQ(openpty(&master, &slave, nullptr, nullptr, &size), 0);
  }
  ~PseudoTerminal() {
    close(master);
    close(slave);
  }
};

class TerminalTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"NO_COLOR", "COLUMNS", "LC_ALL", "LC_CTYPE"}) unsetenv(name);
    setenv("LANG", "C.UTF-8", 1);
    setenv("TERM", "xterm", 1);
  }
};

TEST_F(TerminalTest, KnowsATerminalAndItsWidth) {
  const PseudoTerminal pseudo;
  const Terminal terminal = describe_terminal(pseudo.slave);
  EXPECT_TRUE(terminal.interactive);
  EXPECT_TRUE(terminal.color);
  EXPECT_TRUE(terminal.unicode);
  EXPECT_EQ(terminal.width, 91);
}

TEST_F(TerminalTest, APipeIsNoTerminal) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  Terminal terminal = describe_terminal(ends[1]);
  EXPECT_FALSE(terminal.interactive);
  EXPECT_FALSE(terminal.color);
  EXPECT_EQ(terminal.width, 80);
  setenv("COLUMNS", "120", 1);
  EXPECT_EQ(describe_terminal(ends[1]).width, 120);
  setenv("COLUMNS", "12x", 1);
  EXPECT_EQ(describe_terminal(ends[1]).width, 80);
  close(ends[0]);
  close(ends[1]);
}

TEST_F(TerminalTest, HonoursNoColorAndDumbTerminals) {
  const PseudoTerminal pseudo;
  setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(describe_terminal(pseudo.slave).color);
  setenv("NO_COLOR", "", 1);  // The convention: an empty value means nothing.
  EXPECT_TRUE(describe_terminal(pseudo.slave).color);
  setenv("TERM", "dumb", 1);
  EXPECT_FALSE(describe_terminal(pseudo.slave).interactive);
  setenv("LC_ALL", "POSIX", 1);
  EXPECT_FALSE(describe_terminal(pseudo.slave).unicode);
}

TEST(TerminalText, StylesOnlyWhereThereIsColor) {
  Terminal terminal;
  EXPECT_EQ(styled("x", Style::red, terminal), "x");
  terminal.color = true;
  EXPECT_EQ(styled("x", Style::red, terminal), "\033[31mx\033[0m");
}

TEST(TerminalText, WidthCountsCharactersAndNotEscapes) {
  EXPECT_EQ(display_width("\033[1maé漢\033[0m"), 3u);
  EXPECT_EQ(fit_width("aé漢b", 3), "aé漢");
  EXPECT_EQ(fit_width("\033[1maé", 1), "\033[1ma");
  EXPECT_EQ(fit_width("abc", 9), "abc");
  EXPECT_EQ(fit_width("abc", 0), "");
  EXPECT_EQ(display_width("\033["), 0u);
}

TEST(TerminalText, WrapsBetweenWords) {
  EXPECT_EQ(wrapped("one two three", 12, 4), "one two\n    three");
  EXPECT_EQ(wrapped("one two", 11, 4), "one two");
  EXPECT_EQ(wrapped("one two", 10, 4), "one\n    two");
  EXPECT_EQ(wrapped("incomprehensible x", 6, 2), "incomprehensible\n  x");
  EXPECT_EQ(wrapped("  a  b ", 80, 0), "a b");
  EXPECT_EQ(wrapped("", 80, 3), "");
}

TEST(TerminalText, PrintableTakesTheTeethOutOfControlCharacters) {
  EXPECT_EQ(printable("a\033[2Jb\r\x7f\n\té"), "a\\x1b[2Jb\\x0d\\x7f\n\té");
}

TEST(TerminalText, Numbers) {
  EXPECT_EQ(with_separators(0), "0");
  EXPECT_EQ(with_separators(999), "999");
  EXPECT_EQ(with_separators(1000), "1,000");
  EXPECT_EQ(with_separators(-1234567), "-1,234,567");
  EXPECT_EQ(format_bytes(512), "512 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(3.2 * 1024 * 1024 * 1024), "3.2 GiB");
  EXPECT_EQ(format_duration(4.6), "0:05");
  EXPECT_EQ(format_duration(754), "12:34");
  EXPECT_EQ(format_duration(3723), "1:02:03");
  EXPECT_EQ(format_duration(76 * 3600.0), "3 d 4 h");
  EXPECT_EQ(format_duration(-1), "?");
}

}  // namespace
}  // namespace fledge::base
