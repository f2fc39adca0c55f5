#include "base/signals.h"

#include <unistd.h>

#include <csignal>
#include <ctime>

#include "base/error.h"

namespace fledge::base {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM};

volatile std::sig_atomic_t interrupt_flag = 0;
int guards = 0;
struct sigaction previous_actions[2];

// Only what is allowed in a signal handler: a flag, write() and _exit().
void on_signal(int) {
  if (interrupt_flag != 0) {
    [[maybe_unused]] const auto written = write(STDERR_FILENO, "\n", 1);
    _exit(130);
  }
  interrupt_flag = 1;
}

}  // namespace

InterruptGuard::InterruptGuard() {
  if (guards++ > 0) return;
  interrupt_flag = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  // No SA_RESTART: a blocking read (the prompt of a chat) returns, so that the flag is seen.
  for (size_t index = 0; index < std::size(kSignals); ++index)
    sigaction(kSignals[index], &action, &previous_actions[index]);
}

InterruptGuard::~InterruptGuard() {
  if (--guards > 0) return;
  for (size_t index = 0; index < std::size(kSignals); ++index)
    sigaction(kSignals[index], &previous_actions[index], nullptr);
}

bool interrupted() {
  return interrupt_flag != 0;
}

void throw_if_interrupted() {
  if (interrupted()) throw Interrupted("stopped by the user");
}

void clear_interrupt() {
  interrupt_flag = 0;
}

}  // namespace fledge::base
