#include "base/signals.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/file.h"

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

TEST(Signals, AWaitForInputSeesAnInterruptOfAnyThread) {
  const InterruptGuard guard;
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "x", 1), 1);
  EXPECT_TRUE(wait_until_readable(ends[0]));
  char byte;
  ASSERT_EQ(read(ends[0], &byte, 1), 1);
  std::thread([] { raise(SIGINT); }).join();  // before the wait, and not for this thread
  EXPECT_FALSE(wait_until_readable(ends[0]));
  clear_interrupt();
  std::jthread late([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    raise(SIGINT);
  });
  EXPECT_FALSE(wait_until_readable(ends[0]));
  close(ends[1]);
  clear_interrupt();
  EXPECT_TRUE(wait_until_readable(ends[0]));  // its end
  close(ends[0]);
}

TEST(Signals, AWriteThatIsInterruptedGoesOn) {
  const InterruptGuard guard;
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string sent(size_t{1} << 20, 'a');  // far more than a pipe holds: the writer waits for the reader
  const pthread_t writer = pthread_self();
  std::string received;
  std::jthread reader([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    pthread_kill(writer, SIGINT);
    std::vector<char> buffer(size_t{1} << 16);
    while (received.size() < sent.size()) {
      const ssize_t count = read(ends[0], buffer.data(), buffer.size());
      if (count > 0) received.append(buffer.data(), static_cast<size_t>(count));
    }
  });
  EXPECT_TRUE(write_all(ends[1], sent));
  reader.join();
  EXPECT_TRUE(interrupted());
  EXPECT_TRUE(received == sent);
  close(ends[0]);
  EXPECT_FALSE(write_all(-1, "x"));
  close(ends[1]);
}

}  // namespace
}  // namespace fledge::base
