#include "base/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace fledge::base {
namespace {

struct Screen {
  std::string bytes;
  double now = 100.0;
  ProgressOptions options(bool interactive, int width = 80) {
    ProgressOptions options;
    options.terminal = {interactive, false, false, width};
    options.write = [this](std::string_view text) { bytes += text; };
    options.clock = [this] { return now; };
    return options;
  }
  /// What stands on the last line after carriage returns and erasures.
  std::string last_line() const {
    std::string line;
    for (size_t position = 0; position < bytes.size(); ++position) {
      if (bytes[position] == '\r' || bytes[position] == '\n') {
        line.clear();
      } else if (bytes.compare(position, 3, "\033[K") == 0) {
        position += 2;
      } else {
        line += bytes[position];
      }
    }
    return line;
  }
};

ProgressState halfway() {
  return {50, 100, {{"loss", "3.214"}, {"", "8,432 tokens/s"}}, -1.0};
}

TEST(Progress, LiveLineShowsBarFieldsAndTimeLeft) {
  Screen screen;
  Progress progress("train", screen.options(true));
  progress.update({0, 100, {}, -1.0});
  screen.now += 30.0;
  progress.update(halfway());
  EXPECT_EQ(screen.last_line(), "train [############------------]  50% | loss 3.214 | 8,432 tokens/s | 0:30 left");
}

TEST(Progress, NarrowTerminalsDropTheBarAndThenTheLastFields) {
  for (const int width : {79, 60, 40, 30, 20, 12, 5}) {
    Screen screen;
    Progress progress("train", screen.options(true, width));
    progress.update({0, 100, {}, -1.0});
    screen.now += 30.0;
    progress.update(halfway());
    EXPECT_LT(screen.last_line().size(), static_cast<size_t>(std::max(width, 11))) << width;
    if (width >= 30) {
      EXPECT_THAT(screen.last_line(), testing::EndsWith("| 0:30 left")) << width;
    }
  }
}

TEST(Progress, DrawsAtMostTenTimesASecond) {
  Screen screen;
  Progress progress("train", screen.options(true));
  for (int update = 0; update < 1000; ++update) {
    progress.update({static_cast<double>(update), 1000, {}, -1.0});
    screen.now += 0.001;
  }
  const auto frames = std::count(screen.bytes.begin(), screen.bytes.end(), '\r');
  EXPECT_GE(frames, 9);
  EXPECT_LE(frames, 11);
}

TEST(Progress, PipedOutputIsPlainLinesEveryFewSeconds) {
  Screen screen;
  {
    Progress progress("train", screen.options(false));
    for (int second = 0; second <= 25; ++second) {
      progress.update({static_cast<double>(second), 100, {{"loss", "3.2"}}, -1.0});
      screen.now += 1.0;
    }
  }
  EXPECT_THAT(screen.bytes, testing::Not(testing::HasSubstr("\r")));
  EXPECT_THAT(screen.bytes, testing::Not(testing::HasSubstr("\033")));
  EXPECT_EQ(screen.bytes,
            "train: 0.0%, loss 3.2, 0:00 elapsed\n"
            "train: 10.0%, loss 3.2, 0:10 elapsed, 1:30 left\n"
            "train: 20.0%, loss 3.2, 0:20 elapsed, 1:20 left\n"
            "train: 25.0%, loss 3.2, 0:26 elapsed, 1:18 left\n");
}

TEST(Progress, TimeLeftCountsFromWhereAResumedRunBegan) {
  Screen screen;
  Progress progress("train", screen.options(true));
  progress.update({50, 100, {}, -1.0});
  screen.now += 10.0;
  progress.update({60, 100, {}, -1.0});
  EXPECT_THAT(screen.last_line(), testing::EndsWith("0:40 left"));
  screen.now += 10.0;
  progress.update({60, 100, {}, 7.0});
  EXPECT_THAT(screen.last_line(), testing::EndsWith("0:07 left"));
}

TEST(Progress, UnknownTotalShowsTheTimeSpent) {
  Screen screen;
  Progress progress("download", screen.options(true));
  progress.update({0, 0, {}, -1.0});
  screen.now += 65.0;
  progress.update({123, 0, {{"", "1.5 MiB"}}, -1.0});
  EXPECT_EQ(screen.last_line(), "download | 1.5 MiB | 1:05");
}

TEST(Progress, NotesStayAboveTheLine) {
  Screen screen;
  Progress progress("train", screen.options(true));
  progress.update(halfway());
  progress.note("a sample");
  EXPECT_THAT(screen.bytes, testing::HasSubstr("\r\033[Ka sample\n\rtrain "));
  progress.finish("done in 0:30");
  EXPECT_THAT(screen.bytes, testing::EndsWith("\r\033[Kdone in 0:30\n"));
}

TEST(Progress, QuietShowsNothing) {
  Screen screen;
  ProgressOptions options = screen.options(true);
  options.quiet = true;
  {
    Progress progress("train", options);
    EXPECT_EQ(active_progress(), nullptr);
    progress.update(halfway());
    progress.note("a sample");
    progress.finish("done");
  }
  EXPECT_EQ(screen.bytes, "");
}

TEST(Progress, LeavesTheTerminalOnAFreshLine) {
  Screen screen;
  {
    Progress progress("train", screen.options(true));
    EXPECT_EQ(active_progress(), &progress);
    progress.update(halfway());
  }
  EXPECT_EQ(active_progress(), nullptr);
  EXPECT_EQ(screen.bytes.back(), '\n');
}

TEST(Progress, PercentNeverSaysDoneTooEarly) {
  Screen screen;
  Progress progress("train", screen.options(true));
  progress.update({999, 1000, {}, -1.0});
  EXPECT_THAT(screen.last_line(), testing::HasSubstr(" 99%"));
}

}  // namespace
}  // namespace fledge::base
