#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "base/signals.h"
#include "cli/common.h"
#include "cli/serve.h"
#include "serve/api.h"
#include "serve/api_error.h"

extern char** environ;

namespace fledge::cli {
namespace {

std::filesystem::path state_folder(const std::string& given) {
  if (!given.empty()) return given;
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && state[0] == '/') return std::filesystem::path(state) / "fledge";
  const char* home = std::getenv("HOME");
  if (home == nullptr || home[0] == '\0') {
    throw base::UsageError(
        "neither XDG_STATE_HOME nor HOME says where chats may be kept: use --state DIR or --no-chats");
  }
  return std::filesystem::path(home) / ".local/state/fledge";
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

void open_browser(const std::string& address) {
  std::string program = "xdg-open", argument = address;
  char* arguments[] = {program.data(), argument.data(), nullptr};
  // Where there is no browser, it names every one that it has looked for.
  posix_spawn_file_actions_t silent;
  posix_spawn_file_actions_init(&silent);
  posix_spawn_file_actions_addopen(&silent, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&silent, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t process = 0;
  int status = 0;
  const bool started = posix_spawnp(&process, program.c_str(), &silent, nullptr, arguments, environ) == 0;
  posix_spawn_file_actions_destroy(&silent);
  // It hands the address to a browser and ends, or is the browser and stays.
  constexpr int kPatience = 20;
  for (int waits = 0; started && waits < kPatience && waitpid(process, &status, WNOHANG) == 0; ++waits) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  if (!started || status != 0) base::log_warning("no browser could be opened; the page is at {}", address);
}

serve::HttpOptions http_options(const ServeOptions& options) {
  serve::HttpOptions http;
  http.host = options.host;
  http.port = options.port;
  http.connection_limit = static_cast<size_t>(options.most_connections);
  http.error_body = [](int status, const std::string& message) {
    return serve::to_text(serve::error_json(serve::ApiError(status, message)));
  };
  return http;
}

}  // namespace

void run_serve(const ServeOptions& options, const CommonOptions& common) {
  const base::InterruptGuard guard;
  std::vector<std::shared_ptr<const serve::ServedModel>> models;
  std::set<std::string> names;
  for (const std::string& path : options.models) {
    for (auto& model : open_served_models(path, models.empty() ? options.adapters : std::vector<std::string>(),
                                          models.empty() ? options.draft : std::string(), options)) {
      models.push_back(std::move(model));
      if (!names.insert(models.back()->id).second) {
        throw base::UsageError("two models are called \"{}\": give one another name by NAME=MODEL", models.back()->id);
      }
    }
    base::throw_if_interrupted();
  }
  serve::ApiOptions api_options;
  api_options.api_key = options.api_key;
  api_options.allowed_hosts = options.allowed_hosts;
  if (!is_loopback(options.host)) api_options.allowed_hosts.push_back(options.host);
  api_options.cors_origins = options.cors_origins;
  api_options.ui_folder = options.ui_folder;
  if (options.keep_chats) api_options.chats_file = state_folder(options.state) / "chats.sqlite";
  // The models go with the server, before it goes.
  serve::Api api(api_options, std::move(models));
  serve::HttpServer server(http_options(options),
                           [&api](serve::HttpRequest request, std::shared_ptr<serve::HttpReply> reply) {
                             api.handle(std::move(request), std::move(reply));
                           });
  api.set_http_counters([&server] { return server.counters(); });
  server.start();

  const bool everywhere = options.host == "0.0.0.0" || options.host == "::";
  const bool version6 = options.host.find(':') != std::string::npos;
  const std::string host = everywhere ? "127.0.0.1" : version6 ? "[" + options.host + "]" : options.host;
  const std::string address = fmt::format("http://{}:{}/", host, server.port());
  if (!is_loopback(options.host) && options.api_key.empty()) {
    base::log_warning("others on the network can reach this server, and it asks for no key (--api-key)");
  }
  print(fmt::format("serving at {}\n", address));
  if (!common.quiet) {
    for (const std::string& name : names) print(fmt::format("  {}\n", name));
    print("Ctrl+C stops it.\n");
  }
  flush_standard_output();
  if (options.open) open_browser(address);
  while (!base::interrupted()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  server.stop();
}

}  // namespace fledge::cli
