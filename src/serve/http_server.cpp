#include "base/error.h"
#include "serve/http_session.h"

namespace fledge::serve {
namespace {

/// Connections beyond the limit that get an answer (503); even more are closed without one.
constexpr size_t kRefusals = 64;

}  // namespace

void HttpServer::Core::listen() {
  try {
    tcp::resolver resolver(context);
    const auto found = resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive);
    const tcp::endpoint endpoint = *found.begin();
    acceptor.open(endpoint.protocol());
    acceptor.set_option(tcp::acceptor::reuse_address(true));
    acceptor.bind(endpoint);
    acceptor.listen(1024);
  } catch (const boost::system::system_error& error) {
    throw base::Error("cannot listen on {} port {}: {}; choose another one with --host and --port", options.host,
                      options.port, error.code().message());
  }
}

void HttpServer::Core::start() {
  workers = std::make_unique<asio::thread_pool>(static_cast<size_t>(std::max(1, options.worker_threads)));
  running = true;
  accept();
  thread = std::thread([this] { context.run(); });
}

void HttpServer::Core::accept() {
  acceptor.async_accept([self = shared_from_this()](error_code error, tcp::socket socket) {
    if (error == asio::error::operation_aborted || self->stopping) return;
    if (error) {
      // Out of file descriptors, most likely: some close soon.
      self->timer.expires_after(std::chrono::milliseconds(100));
      self->timer.async_wait([self](error_code aborted) {
        if (!aborted && !self->stopping) self->accept();
      });
      return;
    }
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    ++self->accepted;
    const bool full = self->open >= self->options.connection_limit;
    if (full) self->make_room();
    if (self->open >= self->options.connection_limit + kRefusals) {
      ++self->refused;
      return self->accept();
    }
    auto session = std::make_shared<Session>(self, std::move(socket));
    ++self->open;
    ++self->connections;
    std::erase_if(self->sessions, [](const std::weak_ptr<Session>& old) { return old.expired(); });
    self->sessions.push_back(session);
    if (self->open > self->options.connection_limit) {
      ++self->refused;
      session->refuse(503, "all connections are taken; try again later");
    } else {
      session->start();
    }
    self->accept();
  });
}

/// Closes the connection that has kept the server waiting longest.
void HttpServer::Core::make_room() {
  std::shared_ptr<Session> slowest;
  for (const auto& weak : sessions) {
    const auto session = weak.lock();
    if (!session || !session->waits_for_client()) continue;
    if (!slowest || session->phase_since() < slowest->phase_since()) slowest = session;
  }
  if (!slowest) return;
  ++dropped;
  slowest->close();
}

void HttpServer::Core::begin_stop() {
  stopping = true;
  error_code ignored;
  acceptor.close(ignored);
  for (const auto& weak : sessions) {
    const auto session = weak.lock();
    if (session && session->waits_for_client()) session->close();
  }
  timer.expires_after(to_duration(options.drain_seconds));
  timer.async_wait([self = shared_from_this()](error_code error) {
    if (!error) self->close_all();
  });
}

void HttpServer::Core::close_all() {
  for (const auto& weak : sessions) {
    if (const auto session = weak.lock()) session->close();
  }
}

void HttpServer::Core::stop() {
  if (!thread.joinable()) return;
  post([self = shared_from_this()] { self->begin_stop(); });
  const auto last = Clock::now() + to_duration(options.drain_seconds + 1);
  while (connections > 0 && Clock::now() < last) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  post([self = shared_from_this()] {
    self->close_all();
    self->timer.cancel();
  });
  workers->join();
  {
    // What is posted from here on would never run, and would keep its session alive.
    const std::lock_guard lock(mutex);
    running = false;
  }
  thread.join();
  context.restart();
  context.poll();
}

HttpServer::HttpServer(HttpOptions options, HttpHandler handler)
    : core_(std::make_shared<Core>(std::move(options), std::move(handler))) {
  core_->listen();
}

HttpServer::~HttpServer() {
  stop();
}

uint16_t HttpServer::port() const {
  return core_->acceptor.local_endpoint().port();
}

void HttpServer::start() {
  core_->start();
}

void HttpServer::stop() {
  core_->stop();
}

HttpCounters HttpServer::counters() const {
  const Core& core = *core_;
  return {core.connections, core.accepted, core.refused, core.dropped, core.timed_out, core.malformed, core.left};
}

}  // namespace fledge::serve
