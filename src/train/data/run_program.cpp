#include "train/data/run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "base/signals.h"

namespace fledge::train {
namespace {

constexpr size_t kKeptOutput = 4096;
constexpr int kPollMilliseconds = 100;

/// What posix_spawn needs, given back at the end of a scope.
class SpawnActions {
 public:
  SpawnActions() { posix_spawn_file_actions_init(&actions_); }
  ~SpawnActions() { posix_spawn_file_actions_destroy(&actions_); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

/// The reading end of a pipe and the program that writes into the other one.
class Child {
 public:
  Child(const std::vector<std::string>& arguments, const std::filesystem::path& folder) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw base::Error("no pipe can be made ({})", std::strerror(errno));
    output_ = ends[0];
    SpawnActions actions;
    posix_spawn_file_actions_addopen(actions.get(), 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(actions.get(), ends[1], 1);
    posix_spawn_file_actions_adddup2(actions.get(), ends[1], 2);
    posix_spawn_file_actions_addchdir_np(actions.get(), folder.c_str());
    const int error = spawn(arguments, actions);
    ::close(ends[1]);
    if (error != 0) {
      ::close(output_);
      throw base::Error("the program {} cannot be run ({}): is it installed?", arguments.front(), std::strerror(error));
    }
  }
  ~Child() {
    if (process_ > 0) {
      ::kill(process_, SIGTERM);
      wait();
    }
    ::close(output_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Reads until the program closes its output; keeps the end of it.
  std::string read_output() {
    std::string text;
    char buffer[4096];
    while (true) {
      base::throw_if_interrupted();
      pollfd waiting{output_, POLLIN, 0};
      if (::poll(&waiting, 1, kPollMilliseconds) <= 0) continue;
      const ssize_t count = ::read(output_, buffer, sizeof(buffer));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return text;
      text.append(buffer, static_cast<size_t>(count));
      if (text.size() > kKeptOutput) text.erase(0, text.size() - kKeptOutput);
    }
  }

  int wait() {
    int status = 0;
    while (::waitpid(process_, &status, 0) < 0 && errno == EINTR) {
    }
    process_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  int spawn(const std::vector<std::string>& arguments, SpawnActions& actions) {
    std::vector<char*> argument_pointers, environment;
    for (const std::string& argument : arguments) argument_pointers.push_back(const_cast<char*>(argument.c_str()));
    argument_pointers.push_back(nullptr);
    for (char** variable = environ; *variable != nullptr; ++variable) {
      const std::string_view text = *variable;
      if (!text.starts_with("LC_ALL=") && !text.starts_with("LANGUAGE=")) environment.push_back(*variable);
    }
    std::string locale = "LC_ALL=C.UTF-8";
    environment.push_back(locale.data());
    environment.push_back(nullptr);
    return posix_spawnp(&process_, argument_pointers[0], actions.get(), nullptr, argument_pointers.data(),
                        environment.data());
  }

  int output_ = -1;
  pid_t process_ = 0;
};

}  // namespace

ProgramResult run_program(const std::vector<std::string>& arguments, const std::filesystem::path& folder) {
  Child child(arguments, folder);
  ProgramResult result;
  result.output = child.read_output();
  result.exit_code = child.wait();
  return result;
}

}  // namespace fledge::train
