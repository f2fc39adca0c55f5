#include "serve/http.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/error.h"

namespace fledge::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

/// A connection on which a test writes bytes of its own choice.
class Client {
 public:
  explicit Client(uint16_t port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience{10, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    connected_ = connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() { leave(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connected() const { return connected_; }
  void leave() {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
  }
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(count));
    }
  }
  /// Reads until `end` was seen or the server closes.
  std::string read_until(std::string_view end) {
    while (received_.find(end) == std::string::npos) {
      char piece[65536];
      const ssize_t count = recv(socket_, piece, sizeof piece, 0);
      if (count <= 0) break;
      received_.append(piece, static_cast<size_t>(count));
    }
    const size_t found = received_.find(end);
    const size_t size = found == std::string::npos ? received_.size() : found + end.size();
    std::string result = received_.substr(0, size);
    received_.erase(0, size);
    return result;
  }
  std::string read_all() { return read_until("\x01never\x01"); }

 private:
  int socket_;
  bool connected_ = false;
  std::string received_;
};

/// A server that answers with what it got; paths with meaning: /stream, /wait (until the client leaves), /throw.
class Http : public ::testing::Test {
 protected:
  void start(HttpOptions options = {}) {
    server_ = std::make_unique<HttpServer>(
        options, [this](HttpRequest request, std::shared_ptr<HttpReply> reply) { handle(std::move(request), reply); });
    server_->start();
  }
  void TearDown() override { waiting_.reset(); }

  void handle(HttpRequest request, const std::shared_ptr<HttpReply>& reply) {
    if (request.path == "/throw") throw base::Error("on purpose");
    if (request.path == "/wait") {
      const std::lock_guard lock(mutex_);
      waiting_ = reply;
      reply->on_client_left([this] {
        const std::lock_guard inner(mutex_);
        left_ = true;
        changed_.notify_all();
      });
      return;
    }
    if (request.path == "/stream") {
      reply->begin({200, {{"Content-Type", "text/plain"}}, "one"});
      reply->write("two");
      reply->end();
      return;
    }
    reply->send({200, {{"X-Echo", request.query}}, request.method + " " + request.path + " " + request.body});
  }
  bool wait_until_left() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [this] { return left_; });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool left_ = false;
  std::shared_ptr<HttpReply> waiting_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(Http, AnswersAndKeepsTheConnection) {
  start();
  Client one(server_->port());
  one.send("POST /a%20b?q=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_THAT(one.read_until("hello"), ::testing::AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("POST /a b hello"),
                                                        HasSubstr("X-Echo: q=1\r\n")));
  // Two requests at once, then one whose body comes in chunks.
  one.send("GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(one.read_until("GET /first "), HasSubstr("200 OK"));
  EXPECT_THAT(one.read_until("GET /second "), HasSubstr("200 OK"));
  one.send("PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_THAT(one.read_until("abcde"), HasSubstr("PUT /c abcde"));
  one.send("GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(one.read_all(), ::testing::EndsWith("GET /last "));
}

TEST_F(Http, StreamsInChunksOrUntilTheEnd) {
  start();
  Client one(server_->port());
  one.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(one.read_until("0\r\n\r\n"), HasSubstr("Transfer-Encoding: chunked\r\n"));
  Client old(server_->port());
  old.send("GET /stream HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.read_all(), ::testing::EndsWith("\r\n\r\nonetwo"));
}

TEST_F(Http, RefusesWhatIsNotHttpOrTooLong) {
  HttpOptions options;
  options.body_limit = 100000;
  options.error_body = [](int status, const std::string& message) { return std::to_string(status) + ":" + message; };
  start(options);
  const auto answer = [&](std::string_view bytes) {
    Client one(server_->port());
    one.send(bytes);
    return one.read_all();
  };
  EXPECT_THAT(answer("\x16\x03\x01 nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nContent-Length: -3\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nX: " + std::string(70000, 'x') + "\r\n\r\n"), StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nContent-Length: 100001\r\n\r\n"), HasSubstr("413:"));
  EXPECT_THAT(answer("GET /throw HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 500"));
  EXPECT_EQ(server_->counters().malformed, 7);
}

TEST_F(Http, ClosesSlowConnections) {
  HttpOptions options;
  options.header_seconds = 0.1;
  options.body_seconds = 0.1;
  options.idle_seconds = 0.1;
  start(options);
  Client head(server_->port()), body(server_->port()), idle(server_->port());
  head.send("GET / HTT");
  body.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  idle.send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(head.read_all(), StartsWith("HTTP/1.1 408"));
  EXPECT_THAT(body.read_all(), StartsWith("HTTP/1.1 408"));
  EXPECT_THAT(idle.read_all(), ::testing::EndsWith("GET /x "));
}

TEST_F(Http, NoticesAClientThatLeaves) {
  start();
  Client one(server_->port());
  one.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  one.leave();
  EXPECT_TRUE(wait_until_left());
  const std::lock_guard lock(mutex_);
  EXPECT_TRUE(waiting_->client_left());
}

TEST_F(Http, DropsTheSlowestConnectionForANewOne) {
  HttpOptions options;
  options.connection_limit = 3;
  start(options);
  Client first(server_->port()), second(server_->port()), third(server_->port());
  first.send("GET");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  Client fourth(server_->port());
  fourth.send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(fourth.read_until("GET /x "), HasSubstr("200 OK"));
  EXPECT_EQ(first.read_all(), "");
  EXPECT_EQ(server_->counters().dropped, 1);
}

TEST_F(Http, AnswersUnavailableWhereEveryConnectionIsBusy) {
  HttpOptions options;
  options.connection_limit = 1;
  options.drain_seconds = 0.1;
  start(options);
  Client busy(server_->port());
  busy.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  Client one(server_->port());
  EXPECT_THAT(one.read_all(), StartsWith("HTTP/1.1 503"));
}

TEST_F(Http, LimitsTheMemoryOfAllBodies) {
  HttpOptions options;
  options.bodies_limit = 300000;
  start(options);
  const std::string part(200000, 'x');
  Client one(server_->port()), two(server_->port()), small(server_->port());
  one.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200001\r\n\r\n" + part);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  two.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200001\r\n\r\n" + part);
  EXPECT_THAT(two.read_all(), StartsWith("HTTP/1.1 503"));
  small.send("POST /s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_THAT(small.read_until("abc"), HasSubstr("200 OK"));
  one.send("y");
  EXPECT_THAT(one.read_until("xy"), HasSubstr("200 OK"));
}

TEST_F(Http, StopsWithAnswersUnderWay) {
  HttpOptions options;
  options.drain_seconds = 0.2;
  start(options);
  Client one(server_->port());
  one.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto start_of_stop = std::chrono::steady_clock::now();
  server_->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - start_of_stop, std::chrono::seconds(3));
  EXPECT_TRUE(wait_until_left());
}

TEST(HttpTypes, TrustsOnlyHostsThatNobodyCanFake) {
  EXPECT_TRUE(is_trusted_host("127.0.0.1:8080", {}));
  EXPECT_TRUE(is_trusted_host("[::1]:8080", {}));
  EXPECT_TRUE(is_trusted_host("LocalHost", {}));
  EXPECT_TRUE(is_trusted_host("app.localhost:1", {}));
  EXPECT_TRUE(is_trusted_host("box.lan:8080", {"box.lan"}));
  EXPECT_FALSE(is_trusted_host("box.lan", {}));
  EXPECT_FALSE(is_trusted_host("evil.example:8080", {}));
  EXPECT_FALSE(is_trusted_host("127.0.0.1.evil.example", {}));
  EXPECT_FALSE(is_trusted_host("localhost.evil.example", {}));
  EXPECT_FALSE(is_trusted_host("", {}));
  EXPECT_FALSE(is_trusted_host("[::1", {}));
}

TEST(HttpTypes, DecodesPathsAndQueries) {
  HttpRequest request;
  request.query = "a=1&name=x%20y+z&broken=%zz";
  EXPECT_EQ(request.query_value("name"), "x y z");
  EXPECT_EQ(request.query_value("a"), "1");
  EXPECT_EQ(request.query_value("none"), "");
  std::string decoded;
  EXPECT_FALSE(percent_decode("%4", false, decoded));
  EXPECT_TRUE(percent_decode("a+%41", false, decoded));
  EXPECT_EQ(decoded, "a+A");
}

}  // namespace
}  // namespace fledge::serve
