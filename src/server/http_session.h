#pragma once
// Inside of the HTTP server: one connection.
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "server/http.h"

namespace floe {

namespace asio = boost::asio;
using Tcp = asio::ip::tcp;
using HttpTime = std::chrono::steady_clock::time_point;

class HttpSession;

// The bytes of one body, counted as held until the last copy of the charge goes.
class HttpBodyCharge {
 public:
  using Total = std::atomic<size_t>;
  explicit HttpBodyCharge(std::shared_ptr<Total> total) : total_(std::move(total)) {}
  ~HttpBodyCharge() { set(0); }
  HttpBodyCharge(const HttpBodyCharge&) = delete;
  HttpBodyCharge& operator=(const HttpBodyCharge&) = delete;
  void set(size_t n_bytes) { total_->fetch_add(n_bytes - std::exchange(n_bytes_, n_bytes)); }

 private:
  const std::shared_ptr<Total> total_;
  size_t n_bytes_ = 0;
};

// What all connections share. Confined to the I/O thread but for the counters.
struct HttpShared {
  HttpShared(const HttpServerOptions& o, HttpHandler& h) : options(o), handler(h) {}

  HttpServerOptions options;
  HttpHandler& handler;
  asio::io_context io{1};
  std::unordered_set<std::shared_ptr<HttpSession>> sessions;
  std::vector<char> read_buffer = std::vector<char>(size_t{64} << 10);
  // Held by handlers too, so it outlives this.
  std::shared_ptr<HttpBodyCharge::Total> body_bytes = std::make_shared<HttpBodyCharge::Total>(0);
  bool draining = false;

  std::atomic<uint64_t> n_accepted{0};
  std::atomic<uint64_t> n_open{0};
  std::atomic<uint64_t> n_refused{0};
  std::atomic<uint64_t> n_requests{0};
  std::atomic<uint64_t> n_active{0};
  std::atomic<uint64_t> n_timeouts{0};
  std::atomic<uint64_t> n_disconnects{0};
  std::atomic<uint64_t> n_bad_requests{0};
};

// A whole answer, and the head of a stream, as they go over the wire.
std::string response_text(const HttpResponse& response, bool keep_alive, bool head_only,
                          bool http_1_0);
std::string stream_head_text(const std::vector<HttpField>& fields, bool keep_alive, bool http_1_0);

class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(HttpShared& shared, Tcp::socket socket, bool reserved);

  void start();
  void tick(HttpTime now);
  void flush();        // takes what the outbox has to send
  void begin_drain();  // closes when idle
  void close();
  void give_way();  // closes, with 503 where no request has begun

  bool reserved() const { return reserved_; }
  bool answering() const { return phase_ == Phase::answering; }
  bool idle() const { return phase_ == Phase::head && !parser_.started(); }
  HttpTime phase_began() const { return phase_began_; }

 private:
  enum class Phase : uint8_t { head, body, answering, lingering, closed };

  void wait_readable();
  void on_readable();
  void process_input();
  void on_admit();
  void on_request();
  void refuse(int status, std::string_view reason);
  void send_answer(HttpResponse response);  // from this class itself, with no exchange
  void enqueue(std::string bytes, size_t n_frame_bytes);
  void start_write();
  void on_written(size_t n_bytes);
  void finish_answer();
  void linger();
  void account_body();
  void drop_body();
  void on_tick(HttpTime now);
  template <typename Work>
  void guarded(Work&& work);

  HttpShared& shared_;
  Tcp::socket socket_;
  HttpParser parser_;
  const bool reserved_;

  Phase phase_ = Phase::head;
  std::string inbox_;  // read, not yet parsed
  bool waiting_readable_ = false;
  bool read_closed_ = false;

  std::shared_ptr<HttpExchange> exchange_;
  bool keep_alive_ = true;
  bool head_only_ = false;
  bool http_1_0_ = false;
  bool answer_ended_ = false;
  bool counted_active_ = false;

  std::string write_queue_;
  std::string writing_;
  size_t written_ = 0;
  bool write_pending_ = false;
  size_t queued_frame_bytes_ = 0;
  size_t writing_frame_bytes_ = 0;

  std::shared_ptr<HttpBodyCharge> charge_;  // of the body being read
  size_t body_bytes_ = 0;
  size_t n_requests_ = 0;
  size_t n_lingered_bytes_ = 0;
  HttpTime phase_began_;
  HttpTime head_began_{};  // first byte of the head; zero before
  HttpTime last_progress_;
  HttpTime behind_since_{};  // since when something waits for the reader; zero: nothing does
  size_t behind_bytes_ = 0;  // that it took since then
};

}  // namespace floe
