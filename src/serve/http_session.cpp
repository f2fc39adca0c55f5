#include "serve/http_session.h"

#include <fmt/format.h>

#include "base/log.h"

namespace fledge::serve {
namespace {

constexpr size_t kPiece = size_t{256} << 10;
/// Bodies up to this size are always taken, so that large ones cannot keep small ones out.
constexpr size_t kFreeBody = size_t{64} << 10;

/// Header values may repeat what a client sent: nothing in them may end the line.
std::string line_safe(std::string_view text) {
  std::string safe(text);
  for (char& c : safe) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return safe;
}

std::string head_text(const HttpResponse& response, bool keep_alive, std::string_view framing) {
  std::string text = fmt::format("HTTP/1.1 {} {}\r\n", response.status, reason_of(response.status));
  for (const HttpHeader& header : response.headers) {
    text += fmt::format("{}: {}\r\n", header.name, line_safe(header.value));
  }
  text += framing;
  text += keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return text;
}

}  // namespace

class HttpServer::Reply : public HttpReply {
 public:
  Reply(std::shared_ptr<Core> core, std::shared_ptr<Session> session, uint64_t number,
        std::shared_ptr<std::atomic<bool>> left)
      : core_(std::move(core)), session_(std::move(session)), number_(number), left_(std::move(left)) {}

  ~Reply() override {
    if (!done_) {
      core_->post([session = session_, number = number_] { session->abandon(number); });
    }
  }
  void send(HttpResponse response) override {
    done_ = true;
    core_->post([session = session_, number = number_, response = std::move(response)]() mutable {
      session->send(number, std::move(response));
    });
  }
  void begin(HttpResponse head) override {
    core_->post([session = session_, number = number_, head = std::move(head)]() mutable {
      session->begin(number, std::move(head));
    });
  }
  void write(std::string piece) override {
    core_->post([session = session_, number = number_, piece = std::move(piece)]() mutable {
      session->write(number, std::move(piece));
    });
  }
  void end() override {
    done_ = true;
    core_->post([session = session_, number = number_] { session->end(number); });
  }
  bool client_left() const override { return *left_; }
  void on_client_left(std::function<void()> callback) override {
    core_->post([session = session_, number = number_, callback = std::move(callback)]() mutable {
      session->set_left_callback(number, std::move(callback));
    });
  }

 private:
  std::shared_ptr<Core> core_;
  std::shared_ptr<Session> session_;
  const uint64_t number_;
  std::shared_ptr<std::atomic<bool>> left_;
  std::atomic<bool> done_{false};
};

void HttpServer::Session::set_phase(Phase phase, double seconds) {
  phase_ = phase;
  phase_since_ = Clock::now();
  const uint64_t number = ++deadline_number_;
  if (seconds <= 0) {
    deadline_.cancel();
    return;
  }
  deadline_.expires_after(to_duration(seconds));
  deadline_.async_wait([self = shared_from_this(), number](error_code error) {
    if (error || number != self->deadline_number_) return;
    ++self->core_->timed_out;
    if (self->phase_ == Phase::head || self->phase_ == Phase::body) {
      self->fail(408, "the request did not arrive in time");
    } else {
      self->close();
    }
  });
}

void HttpServer::Session::next_request() {
  if (core_->stopping || !keep_alive_) return linger();
  if (buffer_.size() > 0) {
    // The next request is here already. Two reads at once would mix up the bytes: first the watch has to end.
    if (watching_) {
      next_after_watch_ = true;
      error_code ignored;
      socket_.cancel(ignored);
      return;
    }
    return read_head();
  }
  set_phase(Phase::idle, core_->options.idle_seconds);
  watch();
}

/// Reads ahead: the beginning of the next request, or that the client has left.
void HttpServer::Session::watch() {
  if (watching_ || phase_ == Phase::closed || buffer_.size() >= core_->options.header_limit) return;
  watching_ = true;
  socket_.async_read_some(buffer_.prepare(4096), [self = shared_from_this()](error_code error, size_t count) {
    self->watching_ = false;
    self->buffer_.commit(count);
    if (self->phase_ == Phase::closed || self->phase_ == Phase::lingering) return;
    if (error == asio::error::operation_aborted && self->next_after_watch_) {
      self->next_after_watch_ = false;
      return self->read_head();
    }
    if (error) return self->close();
    if (self->next_after_watch_ || self->phase_ == Phase::idle) {
      self->next_after_watch_ = false;
      return self->read_head();
    }
    self->watch();
  });
}

void HttpServer::Session::read_head() {
  set_phase(Phase::head, core_->options.header_seconds);
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(core_->options.header_limit));
  parser_->body_limit(core_->options.body_limit);
  http::async_read_header(socket_, buffer_, *parser_,
                          [self = shared_from_this()](error_code error, size_t) { self->on_head(error); });
}

void HttpServer::Session::on_read_error(error_code error) {
  if (phase_ != Phase::head && phase_ != Phase::body) {
    // The answer to what went wrong is on its way; without a client it need not arrive.
    if (phase_ == Phase::handling && error != asio::error::operation_aborted) close();
    return;
  }
  const bool gone = error == http::error::end_of_stream || error == asio::error::eof ||
                    error == asio::error::connection_reset || error == http::error::partial_message;
  if (gone) return close();
  ++core_->malformed;
  if (error == http::error::header_limit) return fail(431, "the request's headers are too long");
  if (error == http::error::body_limit) {
    return fail(413, fmt::format("the request's body is longer than {} bytes", core_->options.body_limit));
  }
  fail(400, "the request is not valid HTTP: " + error.message());
}

void HttpServer::Session::on_head(error_code error) {
  if (error) return on_read_error(error);
  if (phase_ != Phase::head) return;
  set_phase(Phase::body, core_->options.body_seconds);
  const auto expect = parser_->get()[http::field::expect];
  if (!parser_->is_done() && boost::beast::iequals(expect, "100-continue")) {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    asio::async_write(socket_, asio::buffer(kContinue), [self = shared_from_this()](error_code failure, size_t) {
      if (failure) return self->close();
      if (self->phase_ == Phase::body) self->read_body();
    });
    return;
  }
  read_body();
}

void HttpServer::Session::read_body() {
  if (parser_->is_done()) return on_body();
  http::async_read_some(socket_, buffer_, *parser_, [self = shared_from_this()](error_code error, size_t) {
    if (error) return self->on_read_error(error);
    if (self->phase_ != Phase::body || !self->count_body()) return;
    self->read_body();
  });
}

/// Adds what has arrived to the bytes of all bodies; answers 503 where that is too much.
bool HttpServer::Session::count_body() {
  const size_t size = parser_->get().body().size();
  const size_t counted = size > kFreeBody ? size : 0;
  core_->body_bytes += counted - counted_body_;
  counted_body_ = counted;
  if (core_->body_bytes <= core_->options.bodies_limit || counted == 0) return true;
  fail(503, "the server holds too many large requests; try again later");
  return false;
}

void HttpServer::Session::on_body() {
  if (!count_body()) return;
  dispatch();
}

void HttpServer::Session::dispatch() {
  auto message = parser_->release();
  parser_.reset();
  HttpRequest request;
  request.method = std::string(message.method_string());
  const std::string_view target(message.target().data(), message.target().size());
  const size_t question = std::min(target.find('?'), target.size());
  request.query = std::string(target.substr(std::min(question + 1, target.size())));
  const bool decoded = percent_decode(target.substr(0, question), false, request.path);
  for (const auto& field : message) {
    std::string name(field.name_string());
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    request.headers.push_back({std::move(name), std::string(field.value())});
  }
  request.body = std::move(message.body());
  keep_alive_ = message.keep_alive();
  head_only_ = request.method == "HEAD";
  chunked_ = message.version() >= 11;
  if (!decoded || request.path.empty() || request.path[0] != '/' || request.path.find('\0') != std::string::npos) {
    ++core_->malformed;
    return fail(400, "the request's target is not a path");
  }
  set_phase(Phase::handling, 0);
  ++number_;
  streaming_ = done_ = false;
  left_ = std::make_shared<std::atomic<bool>>(false);
  watch();
  auto reply = std::make_shared<Reply>(core_, shared_from_this(), number_, left_);
  asio::post(*core_->workers, [core = core_, request = std::move(request), reply = std::move(reply)]() mutable {
    try {
      core->handler(std::move(request), reply);
    } catch (const std::exception& error) {
      base::log_warning("a request failed: {}", error.what());
    }
  });
}

void HttpServer::Session::fail(int status, const std::string& message) {
  if (phase_ == Phase::closed) return;
  if (phase_ != Phase::handling) set_phase(Phase::handling, 0);
  ++number_;
  HttpResponse response{status, {{"Content-Type", "application/json"}}, {}};
  response.body = core_->options.error_body ? core_->options.error_body(status, message) : message;
  if (status == 503) response.headers.push_back({"Retry-After", "1"});
  // Bytes of the body may still be on their way: the connection cannot be used again.
  keep_alive_ = false;
  done_ = false;
  linger_after_ = true;
  send(number_, std::move(response));
}

void HttpServer::Session::send(uint64_t number, HttpResponse response) {
  if (!answers(number) || done_ || streaming_) return;
  done_ = true;
  if (core_->stopping) keep_alive_ = false;
  std::string framing;
  if (response.status != 204 && response.status != 304) {
    framing = fmt::format("Content-Length: {}\r\n", response.body.size());
  }
  std::string head = head_text(response, keep_alive_, framing);
  if (head_only_) response.body.clear();
  if (response.body.size() < kPiece) {
    queue(head + response.body);
    return;
  }
  // Counted as one, so that a long answer is not taken for a client that does not read.
  unsent_bytes_ += head.size() + response.body.size();
  unsent_.push_back(std::move(head));
  for (size_t first = 0; first < response.body.size(); first += kPiece) {
    unsent_.push_back(response.body.substr(first, kPiece));
  }
  write_next();
}

void HttpServer::Session::begin(uint64_t number, HttpResponse head) {
  if (!answers(number) || done_ || streaming_) return;
  streaming_ = true;
  if (!chunked_ || core_->stopping) keep_alive_ = false;
  queue(head_text(head, keep_alive_, chunked_ ? "Transfer-Encoding: chunked\r\n" : ""));
  if (!head.body.empty()) write(number, std::move(head.body));
}

void HttpServer::Session::write(uint64_t number, std::string piece) {
  if (!answers(number) || done_ || !streaming_ || piece.empty() || head_only_) return;
  queue(chunked_ ? fmt::format("{:x}\r\n{}\r\n", piece.size(), piece) : std::move(piece));
}

void HttpServer::Session::end(uint64_t number) {
  if (!answers(number) || done_ || !streaming_) return;
  done_ = true;
  if (chunked_ && !head_only_) return queue("0\r\n\r\n");
  if (unsent_.empty() && !writing_) answered();
}

void HttpServer::Session::abandon(uint64_t number) {
  if (!answers(number) || done_) return;
  if (streaming_) return close();
  fail(500, "the server failed to answer");
}

void HttpServer::Session::set_left_callback(uint64_t number, std::function<void()> callback) {
  if (phase_ == Phase::closed && number == number_ && !done_) return callback();
  if (answers(number) && !done_) left_callback_ = std::move(callback);
}

void HttpServer::Session::queue(std::string bytes) {
  unsent_bytes_ += bytes.size();
  if (streaming_ && unsent_bytes_ > core_->options.unsent_limit) {
    ++core_->dropped;
    return close();
  }
  // Tokens that come while a write is under way travel together.
  if (writing_ && unsent_.size() > 1 && unsent_.back().size() + bytes.size() < kPiece) {
    unsent_.back() += bytes;
  } else {
    unsent_.push_back(std::move(bytes));
  }
  write_next();
}

void HttpServer::Session::write_next() {
  if (writing_ || unsent_.empty() || phase_ == Phase::closed) return;
  writing_ = true;
  set_phase(phase_, core_->options.write_seconds);
  asio::async_write(socket_, asio::buffer(unsent_.front()), [self = shared_from_this()](error_code error, size_t) {
    self->writing_ = false;
    if (self->phase_ == Phase::closed) return;
    if (error) return self->close();
    self->unsent_bytes_ -= self->unsent_.front().size();
    self->unsent_.pop_front();
    if (!self->unsent_.empty()) return self->write_next();
    self->set_phase(self->phase_, 0);
    if (self->done_) self->answered();
  });
}

/// The answer is out.
void HttpServer::Session::answered() {
  left_callback_ = nullptr;
  core_->body_bytes -= counted_body_;
  counted_body_ = 0;
  streaming_ = false;
  next_request();
}

/// Closes so that the client reads the answer even where it is still sending: what it sends is thrown away for a while.
void HttpServer::Session::linger() {
  error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  if (!linger_after_) return close();
  set_phase(Phase::lingering, 2);
  socket_.cancel(ignored);
  discard();
}

void HttpServer::Session::discard() {
  socket_.async_read_some(asio::buffer(discarded_), [self = shared_from_this()](error_code error, size_t) {
    if (error && error != asio::error::operation_aborted) return self->close();
    if (self->phase_ == Phase::lingering) self->discard();
  });
}

void HttpServer::Session::close() {
  if (phase_ == Phase::closed) return;
  const bool answering = phase_ == Phase::handling && !done_;
  set_phase(Phase::closed, 0);
  error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
  core_->body_bytes -= counted_body_;
  counted_body_ = 0;
  --core_->open;
  --core_->connections;
  if (left_) *left_ = true;
  if (answering) {
    ++core_->left;
    if (left_callback_) left_callback_();
  }
  left_callback_ = nullptr;
}

}  // namespace fledge::serve
