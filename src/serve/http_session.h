#pragma once
// The inside of serve/http.h. Included by the files that may include Boost.Beast, which takes long to compile.

#include <algorithm>
#include <atomic>
#include <boost/asio.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <thread>

#include "serve/http.h"

namespace fledge::serve {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

inline Clock::duration to_duration(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

/// What sessions share. Everything but `counters` and `post` belongs to the input-output thread.
class HttpServer::Core : public std::enable_shared_from_this<HttpServer::Core> {
 public:
  Core(HttpOptions options_in, HttpHandler handler_in)
      : options(std::move(options_in)), handler(std::move(handler_in)), acceptor(context), timer(context) {}

  void listen();
  void start();
  void stop();
  void accept();
  void make_room();
  void begin_stop();
  void close_all();

  /// Runs `work` on the input-output thread, unless that has ended.
  template <typename Work>
  void post(Work work) {
    const std::lock_guard lock(mutex);
    if (running) asio::post(context, std::move(work));
  }

  HttpOptions options;
  HttpHandler handler;
  asio::io_context context{1};
  tcp::acceptor acceptor;
  asio::steady_timer timer;
  std::unique_ptr<asio::thread_pool> workers;
  std::thread thread;
  std::list<std::weak_ptr<Session>> sessions;
  size_t open = 0;
  size_t body_bytes = 0;
  bool stopping = false;

  std::mutex mutex;
  bool running = false;

  std::atomic<int64_t> connections{0}, accepted{0}, refused{0}, dropped{0}, timed_out{0}, malformed{0}, left{0};
};

/// One connection.
class HttpServer::Session : public std::enable_shared_from_this<HttpServer::Session> {
 public:
  enum class Phase { idle, head, body, handling, lingering, closed };

  Session(std::shared_ptr<Core> core, tcp::socket socket)
      : core_(std::move(core)), socket_(std::move(socket)), deadline_(core_->context) {}

  void start() {
    phase_since_ = Clock::now();
    read_head();
  }

  Phase phase() const { return phase_; }
  Clock::time_point phase_since() const { return phase_since_; }
  bool waits_for_client() const { return phase_ == Phase::idle || phase_ == Phase::head || phase_ == Phase::body; }

  /// Answers before anything was read, and closes.
  void refuse(int status, const std::string& message) { fail(status, message); }
  void close();

  // From Reply, on the input-output thread. `number` is that of the request that is answered.
  void send(uint64_t number, HttpResponse response);
  void begin(uint64_t number, HttpResponse head);
  void write(uint64_t number, std::string piece);
  void end(uint64_t number);
  void abandon(uint64_t number);
  void set_left_callback(uint64_t number, std::function<void()> callback);

 private:
  void set_phase(Phase phase, double seconds);
  void next_request();
  void watch();
  void read_head();
  void on_head(error_code error);
  void read_body();
  bool count_body();
  void on_body();
  void on_read_error(error_code error);
  void dispatch();
  void fail(int status, const std::string& message);
  void queue(std::string bytes);
  void write_next();
  void answered();
  void linger();
  void discard();
  bool answers(uint64_t number) const { return phase_ == Phase::handling && number == number_; }

  std::shared_ptr<Core> core_;
  tcp::socket socket_;
  asio::steady_timer deadline_;
  boost::beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  Phase phase_ = Phase::head;
  Clock::time_point phase_since_;
  uint64_t number_ = 0;
  uint64_t deadline_number_ = 0;
  size_t counted_body_ = 0;
  bool watching_ = false, next_after_watch_ = false;
  bool keep_alive_ = false, head_only_ = false, chunked_ = false, streaming_ = false, done_ = false;
  bool linger_after_ = false;
  std::deque<std::string> unsent_;
  size_t unsent_bytes_ = 0;
  bool writing_ = false;
  std::shared_ptr<std::atomic<bool>> left_;
  std::function<void()> left_callback_;
  char discarded_[4096];

  friend class Reply;
};

}  // namespace fledge::serve
