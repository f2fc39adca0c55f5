#include "base/signals.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/error.h"

namespace fledge::base {
namespace {

TEST(Signals, TheFirstInterruptSetsAFlag) {
  const InterruptGuard guard;
  EXPECT_FALSE(interrupted());
  throw_if_interrupted();
  raise(SIGINT);
  EXPECT_TRUE(interrupted());
  EXPECT_THROW(throw_if_interrupted(), Interrupted);
  clear_interrupt();
  EXPECT_FALSE(interrupted());
  raise(SIGTERM);
  EXPECT_TRUE(interrupted());
}

TEST(Signals, TheSecondInterruptEndsTheProgramWith130) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const InterruptGuard guard;
    raise(SIGINT);
    raise(SIGINT);
    _exit(7);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
}

TEST(Signals, TheGuardBringsBackWhatWasThereBefore) {
  static volatile std::sig_atomic_t seen = 0;
  struct sigaction mine {
  }, before{};
  mine.sa_handler = [](int) { seen = 1; };
  sigaction(SIGINT, &mine, &before);
  {
    const InterruptGuard outer;
    { const InterruptGuard inner; }
    raise(SIGINT);
    EXPECT_EQ(seen, 0);
  }
  raise(SIGINT);
  EXPECT_EQ(seen, 1);
  sigaction(SIGINT, &before, nullptr);
}

}  // namespace
}  // namespace fledge::base
