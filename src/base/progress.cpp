#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "base/file.h"

namespace fledge::base {
namespace {

constexpr double kSecondsBetweenFrames = 0.1;
constexpr size_t kBarColumns = 24;

std::atomic<Progress*> active{nullptr};

void write_to_standard_error(std::string_view bytes) {
  write_all(STDERR_FILENO, bytes);  // where nobody reads any more: progress is not worth an error
}

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double share_done(const ProgressState& state) {
  return state.total > 0.0 ? std::clamp(state.done / state.total, 0.0, 1.0) : 0.0;
}

/// A bar of kBarColumns columns, drawn to half a column where the terminal has the characters for it.
std::string bar(double share, const Terminal& terminal) {
  const auto halves = static_cast<size_t>(std::floor(share * 2.0 * static_cast<double>(kBarColumns)));
  const size_t full = halves / 2;
  std::string filled, rest;
  for (size_t column = 0; column < full; ++column) filled += terminal.unicode ? "━" : "#";
  size_t used = full;
  if (terminal.unicode && halves % 2 == 1) {
    filled += "╸";
    ++used;
  }
  for (; used < kBarColumns; ++used) rest += terminal.unicode ? "─" : "-";
  if (!terminal.unicode) return "[" + filled + rest + "]";
  return styled(filled, Style::green, terminal) + styled(rest, Style::dim, terminal);
}

std::string percent(double share) {
  // Never "100%" before the end.
  return fmt::format("{:3.0f}%", share >= 1.0 ? 100.0 : std::min(std::floor(share * 100.0), 99.0));
}

}  // namespace

Progress* active_progress() {
  return active;
}

Progress::Progress(std::string title, ProgressOptions options)
    : title_(std::move(title)), options_(std::move(options)) {
  if (!options_.write) options_.write = write_to_standard_error;
  if (!options_.clock) options_.clock = steady_seconds;
  Progress* expected = nullptr;
  if (!options_.quiet) active.compare_exchange_strong(expected, this);
}

Progress::~Progress() {
  Progress* expected = this;
  active.compare_exchange_strong(expected, nullptr);
  const std::lock_guard lock(mutex_);
  if (options_.quiet || finished_ || !started_) return;
  draw(options_.clock(), true);
  if (options_.terminal.interactive) options_.write("\n");
}

void Progress::update(ProgressState state) {
  const std::lock_guard lock(mutex_);
  const double now = options_.clock();
  if (!started_) {
    started_ = true;
    start_time_ = now;
    start_done_ = state.done;
    last_draw_ = now - 1e9;
  }
  state_ = std::move(state);
  if (!options_.quiet) draw(now, false);
}

void Progress::note(std::string_view text) {
  const std::lock_guard lock(mutex_);
  if (options_.quiet) return;
  erase();
  options_.write(fmt::format("{}\n", text));
  if (started_ && !finished_ && options_.terminal.interactive) draw(options_.clock(), true);
}

void Progress::finish(std::string_view summary) {
  const std::lock_guard lock(mutex_);
  if (options_.quiet || finished_) return;
  finished_ = true;
  erase();
  if (!summary.empty()) options_.write(fmt::format("{}\n", summary));
}

void Progress::erase() {
  if (drawn_) options_.write("\r\033[K");
  drawn_ = false;
}

void Progress::draw(double now, bool force) {
  const bool live = options_.terminal.interactive;
  const double pause = live ? kSecondsBetweenFrames : options_.seconds_between_lines;
  if (!force && now - last_draw_ < pause) return;
  last_draw_ = now;
  if (live) {
    options_.write("\r" + live_line(now) + "\033[K");
    drawn_ = true;
  } else {
    options_.write(plain_line(now) + "\n");
  }
}

double Progress::seconds_left(double now) const {
  if (state_.seconds_left >= 0.0) return state_.seconds_left;
  const double advanced = state_.done - start_done_, elapsed = now - start_time_;
  if (state_.total <= 0.0 || advanced <= 0.0 || elapsed <= 0.5) return -1.0;
  return std::max(0.0, state_.total - state_.done) * elapsed / advanced;
}

std::string Progress::live_line(double now) const {
  const Terminal& terminal = options_.terminal;
  const std::string separator = styled(terminal.unicode ? " · " : " | ", Style::dim, terminal);
  // One column stays free: writing into the last one makes some terminals wrap.
  const size_t width = static_cast<size_t>(std::max(terminal.width - 1, 10));

  const double left = seconds_left(now);
  const std::string time = left < 0.0 ? format_duration(now - start_time_) : format_duration(left) + " left";
  std::string head = styled(title_, Style::bold, terminal);
  if (state_.total > 0.0) {
    const double share = share_done(state_);
    const std::string with_bar = head + " " + bar(share, terminal) + " " + percent(share);
    head += " " + percent(share);
    // The bar is shown where it leaves room for the time and the first fields.
    if (display_width(with_bar) + 32 <= width) head = with_bar;
  }
  size_t used = display_width(head) + display_width(separator) + time.size();
  std::string middle;
  for (const ProgressField& field : state_.fields) {
    std::string text =
        field.label.empty() ? field.value : styled(field.label, Style::dim, terminal) + " " + field.value;
    text = separator + text;
    if (used + display_width(text) > width) break;
    used += display_width(text);
    middle += text;
  }
  const std::string line = head + middle + separator + time;
  std::string result(fit_width(line, width));
  if (result.size() < line.size() && terminal.color) result += "\033[0m";
  return result;
}

std::string Progress::plain_line(double now) const {
  std::string line = title_ + ":";
  if (state_.total > 0.0) line += " " + fmt::format("{:.1f}%", std::floor(share_done(state_) * 1000.0) / 10.0);
  for (const ProgressField& field : state_.fields)
    line += (line.back() == ':' ? " " : ", ") + (field.label.empty() ? field.value : field.label + " " + field.value);
  line += fmt::format(", {} elapsed", format_duration(now - start_time_));
  if (const double left = seconds_left(now); left >= 0.0) line += fmt::format(", {} left", format_duration(left));
  return line;
}

}  // namespace fledge::base
