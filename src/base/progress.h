#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/terminal.h"

namespace fledge::base {

/// One labelled number of a progress line: {"loss", "3.214"} or, with an empty label, {"", "8,432 tokens/s"}.
struct ProgressField {
  std::string label;
  std::string value;
};

/// Where a piece of work stands.
struct ProgressState {
  double done = 0.0;
  double total = 0.0;                 ///< 0: not known; then no bar and no time left
  std::vector<ProgressField> fields;  ///< most important first: a narrow terminal drops the last ones
  double seconds_left = -1.0;         ///< negative: worked out from the speed since the first update
};

/// How progress is shown.
struct ProgressOptions {
  bool quiet = false;                 ///< nothing at all
  double seconds_between_lines = 10;  ///< when it is not drawn on a terminal
  Terminal terminal = describe_terminal(2);
  /// Receives bytes to show; by default they are written to standard error.
  std::function<void(std::string_view)> write;
  /// Seconds on a clock that never goes back; by default std::chrono::steady_clock.
  std::function<double()> clock;
};

/// The progress of a piece of work on standard error: on a terminal one line that is redrawn in place (a bar, the
/// share done, fields, time left), elsewhere a plain line every few seconds. Drawing is limited to ten times a second,
/// so update() may be called as often as one likes. Safe to call from several threads.
class Progress {
 public:
  /// `title` begins the line: "train", "download austen".
  explicit Progress(std::string title, ProgressOptions options = {});
  /// Leaves the terminal on a fresh line. Without finish() the last state stays visible.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(ProgressState state);
  /// A line that stays (a sample, a warning), above the progress line. Not shown when quiet.
  void note(std::string_view text);
  /// Ends the work: the progress line gives way to `summary` (nothing where that is empty).
  void finish(std::string_view summary);

 private:
  std::string live_line(double now) const;
  std::string plain_line(double now) const;
  double seconds_left(double now) const;
  void draw(double now, bool force);
  void erase();

  std::string title_;
  ProgressOptions options_;
  std::mutex mutex_;
  ProgressState state_;
  bool started_ = false, drawn_ = false, finished_ = false;
  double start_time_ = 0.0, start_done_ = 0.0, last_draw_ = 0.0;
};

/// The progress that is being drawn, if any writes to a terminal: log lines go above it. Null without one.
Progress* active_progress();

}  // namespace fledge::base
