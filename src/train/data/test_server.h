#pragma once
// An HTTP server for tests.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"

namespace fledge::train {

struct Answer {
  int status = 200;
  std::string headers;  // each with its \r\n
  std::string body;
  size_t cut_at = SIZE_MAX;  // the connection ends after so many bytes of the body
};

struct TestRequest {
  int number = 0;      // of the request, from 0
  int64_t range = -1;  // first byte that was asked for; -1: no range
  std::string path;
  std::string head;  // request line and headers
};

/// An HTTP server on the loopback interface, one connection at a time.
class LocalServer {
 public:
  using Handler = std::function<Answer(const TestRequest& request)>;

  explicit LocalServer(const std::function<Answer(int request, int64_t range)>& handler)
      : LocalServer(Handler([handler](const TestRequest& request) { return handler(request.number, request.range); })) {
  }
  explicit LocalServer(Handler handler) : handler_(std::move(handler)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 8) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw base::Error("no server on the loopback interface");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
    ::setenv("no_proxy", "127.0.0.1", 1);
  }
  ~LocalServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }

  std::string address() const { return fmt::format("http://127.0.0.1:{}", port_); }
  std::string url() const { return address() + "/corpus.txt"; }
  std::vector<int64_t> ranges() {
    const std::lock_guard lock(mutex_);
    return ranges_;
  }

 private:
  void serve() {
    for (int request = 0;; ++request) {
      const int connection = ::accept(listener_, nullptr, nullptr);
      if (connection < 0) return;
      std::string text;
      char buffer[4096];
      while (text.find("\r\n\r\n") == std::string::npos) {
        const ssize_t count = ::recv(connection, buffer, sizeof(buffer), 0);
        if (count <= 0) break;
        text.append(buffer, static_cast<size_t>(count));
      }
      const size_t at = text.find("Range: bytes=");
      const int64_t range = at == std::string::npos ? -1 : std::stoll(text.substr(at + 13));
      {
        const std::lock_guard lock(mutex_);
        ranges_.push_back(range);
      }
      const size_t begin = std::min(text.find(' '), text.size() - 1) + 1, end = text.find(' ', begin);
      const Answer answer = handler_({request, range, text.substr(begin, end - begin), text});
      const std::string head = fmt::format("HTTP/1.1 {} X\r\nContent-Length: {}\r\nConnection: close\r\n{}\r\n",
                                           answer.status, answer.body.size(), answer.headers);
      send_all(connection, head + answer.body.substr(0, answer.cut_at));
      ::shutdown(connection, SHUT_WR);
      while (::recv(connection, buffer, sizeof(buffer), 0) > 0) {
      }
      ::close(connection);
    }
  }
  static void send_all(int connection, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(count));
    }
  }

  Handler handler_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::mutex mutex_;
  std::vector<int64_t> ranges_;
  std::thread thread_;
};

}  // namespace fledge::train
