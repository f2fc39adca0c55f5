#pragma once

namespace fledge::base {

/// While an object lives, the first Ctrl+C (SIGINT) or SIGTERM only sets a flag, so that the work in hand can be
/// finished and saved; the second one ends the program at once with exit code 130. The destructor brings back what was
/// there before. Objects may be nested; the flag is cleared when the outermost one is made.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
};

/// The user asked to stop. Always false where no InterruptGuard lives or lived.
bool interrupted();

/// Throws Interrupted when the user asked to stop: for loops with nothing to save.
void throw_if_interrupted();

/// Forgets a Ctrl+C: in a chat the first one stops the answer and the conversation goes on.
void clear_interrupt();

/// Waits until there is something to read (or its end, or a fault). False: the user asked to stop, now or before.
bool wait_until_readable(int descriptor);

}  // namespace fledge::base
