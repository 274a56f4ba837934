#pragma once
// The street door: sockets, connections, deadlines, answers and event streams. Knows no JSON and no
// engine.
//
// One thread runs everything that touches a socket, so thousands of idle streams cost no threads
// and a small answer never waits behind a large computation. Handlers must not block that thread;
// they answer through the HttpExchange, from any thread, whenever they like.
//
// The end of the read side counts as a disconnect: a client that half-closes its connection while
// its request is queued or generating has cancelled it. An answer that is already complete is still
// delivered.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "server/http_exchange.h"
#include "server/http_parser.h"

namespace floe {

struct HttpServerOptions {
  std::vector<std::string> hosts = {"127.0.0.1"};
  uint16_t port = 8080;  // 0: the system chooses, see HttpServer::port()
  HttpLimits limits;

  size_t n_connections = 1024;
  // Connections beyond that which are still read, for requests that HttpHandler::is_vital() names.
  // There is always one more: the oldest of them gives way to a new one.
  size_t n_reserved_connections = 16;
  // Of all requests together, from the first byte of a body until its handler lets go of it; above:
  // 503.
  size_t buffered_bodies_bytes = size_t{128} << 20;
  size_t stream_buffer_bytes = size_t{256} << 10;  // per stream; above: the writer is told to pause

  std::chrono::milliseconds header_deadline{10'000};
  std::chrono::milliseconds body_grace{5'000};  // then at least body_bytes_per_second on average
  size_t body_bytes_per_second = 1024;
  std::chrono::milliseconds body_deadline{60'000};
  std::chrono::milliseconds keep_alive_idle{30'000};
  // A reader that takes nothing for so long, or less than read_bytes_per_second on average over so
  // long while something waits for it, is disconnected.
  std::chrono::milliseconds write_stall{20'000};
  size_t read_bytes_per_second = 1024;
  std::chrono::milliseconds ping_interval{30'000};  // of silence in an event stream
};

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;

  // On the I/O thread, after the head and before any byte of the body is asked for: an answer
  // refuses the request, and its body is never read.
  virtual std::optional<HttpResponse> admit(const HttpRequest& head) = 0;

  // On the I/O thread. Must not block; takes the request away to answer it later.
  virtual void handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) = 0;

  // Served even when all ordinary connections are taken.
  virtual bool is_vital(const HttpRequest& head) = 0;

  // The answer for a failure below the level of routes. `reason` is a fixed sentence.
  virtual HttpResponse failure(int status, std::string_view reason) = 0;
};

struct HttpCounters {
  uint64_t n_accepted = 0;
  uint64_t n_open = 0;
  uint64_t n_refused = 0;  // connections beyond every limit, and those that gave way to others
  uint64_t n_requests = 0;
  uint64_t n_active = 0;  // requests that wait for their answer or stream it
  uint64_t n_timeouts = 0;
  uint64_t n_disconnects = 0;   // clients that left before their answer was complete
  uint64_t n_bad_requests = 0;  // that never reached a route
  uint64_t body_bytes = 0;      // held now
};

class HttpServer {
 public:
  HttpServer(HttpServerOptions options, HttpHandler& handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Binds and listens. ErrorKind::runtime, naming the address, when that fails. Where the process
  // may not have a descriptor for every connection, fewer are allowed, and a line in the log says
  // so.
  Result<void> listen();
  uint16_t port() const;
  const std::vector<std::string>& addresses() const;  // "127.0.0.1:8080", as bound

  // Serves on the calling thread until stop(). Throws nothing: where memory runs out, the
  // connection at hand gets 503 or is closed.
  void run();
  void stop();  // any thread

  // Any thread: no new connections; idle ones are closed, and every answer closes its connection.
  void close_listeners();

  // Run on the I/O thread, later. Any thread.
  void post(std::function<void()> task);
  void post_after(std::chrono::milliseconds delay, std::function<void()> task);
  // The callback runs on the I/O thread, as an ordinary task, never inside a signal handler.
  void on_signals(std::vector<int> signals, std::function<void(int)> callback);

  // Any thread.
  HttpCounters counters() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

std::string_view http_status_text(int status);

}  // namespace floe
