#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::serve {

struct HttpHeader {
  std::string name, value;
};

/// A request that was read whole.
struct HttpRequest {
  std::string method;               ///< "GET", ...
  std::string path;                 ///< percent-decoded, without the query
  std::string query;                ///< as it came, without '?'
  std::vector<HttpHeader> headers;  ///< names in lower case
  std::string body;

  /// The value of the first header of that name (lower case), or empty.
  std::string_view header(std::string_view name) const;
  /// The decoded value of a key in the query, or empty.
  std::string query_value(std::string_view key) const;
};

struct HttpResponse {
  int status = 200;
  std::vector<HttpHeader> headers;
  std::string body;
};

/// The answer to one request. All methods may be called from any thread and return at once. Exactly one of send() or
/// begin() ... end() is expected; an object that goes away without it answers 500, or cuts the connection mid-stream.
class HttpReply {
 public:
  virtual ~HttpReply() = default;
  virtual void send(HttpResponse response) = 0;
  /// Sends the head; `head.body` is the first piece.
  virtual void begin(HttpResponse head) = 0;
  virtual void write(std::string piece) = 0;
  virtual void end() = 0;
  /// The connection is gone: nothing that is written any more reaches anybody.
  virtual bool client_left() const = 0;
  /// Calls `callback` once on the server's thread when the client leaves before the answer is done; at once where it
  /// has left already.
  virtual void on_client_left(std::function<void()> callback) = 0;
};

/// Called on one of the server's worker threads. What it throws becomes a 500.
using HttpHandler = std::function<void(HttpRequest request, std::shared_ptr<HttpReply> reply)>;

struct HttpOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;  ///< 0: any free one
  size_t header_limit = size_t{16} << 10;
  size_t body_limit = size_t{32} << 20;
  size_t bodies_limit = size_t{256} << 20;  ///< bytes of all bodies that are being read or handled
  size_t unsent_limit = size_t{8} << 20;    ///< bytes that wait for one client to read them
  size_t connection_limit = 512;
  double header_seconds = 10;  ///< from the first byte (or the connection) to the whole head
  double body_seconds = 60;    ///< from the head to the whole body
  double idle_seconds = 75;    ///< between requests
  double write_seconds = 30;   ///< for a piece of at most 256 KiB to be taken
  double drain_seconds = 5;    ///< that stop() gives to answers under way
  int worker_threads = 4;
  /// Makes the body of an error that the server itself answers with, and its content type's value is JSON.
  std::function<std::string(int status, const std::string& message)> error_body;
};

struct HttpCounters {
  int64_t connections = 0;  ///< open now
  int64_t accepted = 0, refused = 0, dropped = 0, timed_out = 0, malformed = 0, left = 0;
};

/// An HTTP/1.1 server: keep-alive, chunked answers, limits on everything that a client controls. One thread does all
/// input and output, some worker threads call the handler.
///
/// A client that is slow holds a connection and nothing else. When all connections are taken, the one that has waited
/// longest for its client's next byte of a request is closed in favour of the new one; where every one is being
/// answered, the new one gets 503.
class HttpServer {
 public:
  /// Binds and listens. Throws base::Error where the address is taken or unknown.
  HttpServer(HttpOptions options, HttpHandler handler);
  ~HttpServer();  ///< stop()
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const;
  void start();
  /// Takes no more requests, waits drain_seconds for answers under way, closes every connection and joins the threads.
  void stop();
  HttpCounters counters() const;

 private:
  class Core;
  class Session;
  class Reply;
  std::shared_ptr<Core> core_;
};

/// "Not Found" of 404.
std::string_view reason_of(int status);

/// Decodes %XX, and '+' as a space where it is from a query. False where an escape is broken.
bool percent_decode(std::string_view text, bool plus_is_space, std::string& decoded);

/// Whether a Host or Origin names this machine in a way that no name server can fake: an IP address, localhost, or one
/// of `allowed` (DNS rebinding: a name of a stranger that resolves to 127.0.0.1 is none of these).
bool is_trusted_host(std::string_view host_and_port, const std::vector<std::string>& allowed);

}  // namespace fledge::serve
