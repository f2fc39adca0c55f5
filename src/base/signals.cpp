#include "base/signals.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>

#include "base/error.h"

namespace fledge::base {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM};

volatile std::sig_atomic_t interrupt_flag = 0;
int guards = 0;
// Readable while the flag is set, so that poll() wakes also for a signal that another thread got, or that came just
// before the wait.
int interrupt_event = -1;
struct sigaction previous_actions[2];

// Only what is allowed in a signal handler: a flag, write() and _exit().
void on_signal(int) {
  if (interrupt_flag != 0) {
    [[maybe_unused]] const auto written = write(STDERR_FILENO, "\n", 1);
    _exit(130);
  }
  interrupt_flag = 1;
  const int fault = errno;
  const uint64_t one = 1;
  [[maybe_unused]] const auto written = write(interrupt_event, &one, sizeof one);
  errno = fault;
}

}  // namespace

InterruptGuard::InterruptGuard() {
  if (guards++ > 0) return;
  if (interrupt_event < 0) interrupt_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  clear_interrupt();
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
  uint64_t count;
  [[maybe_unused]] const auto drained = read(interrupt_event, &count, sizeof count);
}

bool wait_until_readable(int descriptor) {
  pollfd events[] = {{descriptor, POLLIN, 0}, {interrupt_event, POLLIN, 0}};
  while (!interrupted() && poll(events, std::size(events), -1) < 0 && errno == EINTR) {
  }
  return !interrupted();
}

}  // namespace fledge::base
