#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/progress.h"
#include "base/signals.h"
#include "cli/common.h"

namespace fledge::cli {

/// The progress of a verb's work, as the common flags want it, with Ctrl+C watched while it lives.
class WorkProgress {
 public:
  WorkProgress(std::string title, const CommonOptions& common);

  /// Shows the state and throws Interrupted where the user asked to stop.
  void update(base::ProgressState state);
  /// A sentence about the finished work on standard error, in place of the progress line.
  void finish(std::string_view summary) { progress_.finish(summary); }
  /// Seconds since the beginning.
  double seconds() const;

 private:
  base::InterruptGuard guard_;
  base::Progress progress_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace fledge::cli
