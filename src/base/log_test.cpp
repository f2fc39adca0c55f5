#include "base/log.h"

#include <gtest/gtest.h>

#include <string>

namespace fledge::base {
namespace {

TEST(Log, LinesReachTheSinkAndNothingElse) {
  log_warning("nobody {}", "listens");
  std::string lines;
  set_log_sink([&](LogLevel level, std::string_view line) {
    lines += level == LogLevel::warning ? "warning " : "info ";
    lines += line;
    lines += '\n';
  });
  log_info("{} of {}", 1, 2);
  log_warning("three");
  set_log_sink({});
  log_info("four");
  EXPECT_EQ(lines, "info 1 of 2\nwarning three\n");
}

}  // namespace
}  // namespace fledge::base
