#include "cli/work_progress.h"

namespace fledge::cli {
namespace {

base::ProgressOptions options_for(const CommonOptions& common) {
  base::ProgressOptions options;
  options.quiet = common.quiet;
  return options;
}

}  // namespace

WorkProgress::WorkProgress(std::string title, const CommonOptions& common)
    : progress_(std::move(title), options_for(common)) {}

void WorkProgress::update(base::ProgressState state) {
  base::throw_if_interrupted();
  progress_.update(std::move(state));
}

double WorkProgress::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

}  // namespace fledge::cli
