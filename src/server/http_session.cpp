#include "server/http_session.h"

#include <boost/asio/post.hpp>
#include <cstdio>
#include <new>
#include <utility>

namespace floe {

namespace {

constexpr size_t kPipelineBytes = size_t{16} << 10;  // read ahead while an answer is under way
constexpr size_t kPortionBytes = size_t{64} << 10;
constexpr size_t kMaxLingeredBytes = size_t{1} << 20;
constexpr std::chrono::milliseconds kLinger{1'000};
constexpr std::chrono::milliseconds kReservedDeadline{2'000};

}  // namespace

HttpSession::HttpSession(HttpShared& shared, Tcp::socket socket, bool reserved)
    : shared_(shared),
      socket_(std::move(socket)),
      parser_(shared.options.limits),
      reserved_(reserved),
      phase_began_(std::chrono::steady_clock::now()),
      last_progress_(phase_began_) {}

// Runs what a completed operation brings. Where memory runs out the request at hand is refused, or
// else the connection ends; the others go on.
template <typename Work>
void HttpSession::guarded(Work&& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
  }
  try {
    if (phase_ == Phase::head || phase_ == Phase::body) {
      drop_body();
      return refuse(503, "There is not enough memory for this request");
    }
  } catch (const std::bad_alloc&) {
  }
  close();
}

void HttpSession::start() {
  shared_.sessions.insert(shared_from_this());
  shared_.n_open.fetch_add(1, std::memory_order_relaxed);
  guarded([&] { wait_readable(); });
}

void HttpSession::wait_readable() {
  if (waiting_readable_ || read_closed_ || phase_ == Phase::closed) return;
  // A client that pipelines faster than it is answered is left to its own send buffer.
  if (phase_ == Phase::answering && inbox_.size() >= kPipelineBytes) return;
  waiting_readable_ = true;
  socket_.async_wait(Tcp::socket::wait_read,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       self->waiting_readable_ = false;
                       if (self->phase_ == Phase::closed) return;
                       if (error) return self->close();
                       self->guarded([&] { self->on_readable(); });
                     });
}

void HttpSession::on_readable() {
  boost::system::error_code error;
  std::vector<char>& buffer = shared_.read_buffer;
  const size_t n_bytes = socket_.read_some(asio::buffer(buffer), error);
  if (error == asio::error::would_block || error == asio::error::try_again) return wait_readable();
  if (error) {
    read_closed_ = true;
    // A complete answer is still delivered to a client that only closed its sending side.
    if (error == asio::error::eof && phase_ == Phase::answering &&
        (exchange_ == nullptr || exchange_->complete())) {
      keep_alive_ = false;
      return;
    }
    return close();
  }
  if (phase_ == Phase::lingering) {
    n_lingered_bytes_ += n_bytes;
    if (n_lingered_bytes_ > kMaxLingeredBytes) return close();
    return wait_readable();
  }
  inbox_.append(buffer.data(), n_bytes);
  process_input();
  if (phase_ != Phase::closed) wait_readable();
}

void HttpSession::process_input() {
  while (phase_ == Phase::head || phase_ == Phase::body) {
    const size_t taken = parser_.push(inbox_);
    inbox_.erase(0, taken);
    if (phase_ == Phase::head && head_began_ == HttpTime{} && parser_.started()) {
      head_began_ = std::chrono::steady_clock::now();
    }
    account_body();
    switch (parser_.stage()) {
      case HttpParser::Stage::head:
        return;
      case HttpParser::Stage::admit:
        on_admit();
        break;
      case HttpParser::Stage::body:
        if (*shared_.body_bytes > shared_.options.buffered_bodies_bytes) {
          drop_body();
          return refuse(503, "Too much is being uploaded at once");
        }
        if (inbox_.empty()) return;
        break;
      case HttpParser::Stage::complete:
        on_request();
        break;
      case HttpParser::Stage::failed:
        shared_.n_bad_requests.fetch_add(1, std::memory_order_relaxed);
        if (parser_.not_http() && n_requests_ == 0) return close();
        return refuse(parser_.status(), parser_.reason());
    }
  }
}

void HttpSession::on_admit() {
  HttpRequest& head = parser_.request();
  boost::system::error_code unknown;
  head.client = socket_.remote_endpoint(unknown).address().to_string();
  keep_alive_ = head.keep_alive && !shared_.draining;
  head_only_ = head.method == "HEAD";
  http_1_0_ = head.http_1_0;
  if (reserved_ && !shared_.handler.is_vital(head)) {
    return refuse(503, "Too many connections");
  }
  if (std::optional<HttpResponse> refusal = shared_.handler.admit(head)) {
    // An unread body would be taken for the next request.
    if (head.has_body) refusal->close = true;
    return send_answer(std::move(*refusal));
  }
  parser_.resume();
  if (parser_.stage() != HttpParser::Stage::body) return;
  phase_ = Phase::body;
  phase_began_ = std::chrono::steady_clock::now();
  if (head.expects_continue && inbox_.empty()) enqueue("HTTP/1.1 100 Continue\r\n\r\n", 0);
}

void HttpSession::on_request() {
  ++n_requests_;
  shared_.n_requests.fetch_add(1, std::memory_order_relaxed);
  shared_.n_active.fetch_add(1, std::memory_order_relaxed);
  counted_active_ = true;
  phase_ = Phase::answering;
  last_progress_ = phase_began_ = std::chrono::steady_clock::now();
  exchange_ = std::make_shared<HttpExchange>(
      [&io = shared_.io, weak = weak_from_this()] {
        asio::post(io, [weak] {
          if (const auto self = weak.lock()) self->guarded([&] { self->flush(); });
        });
      },
      shared_.options.stream_buffer_bytes);
  HttpRequest& request = parser_.request();
  request.charge = std::move(charge_);
  auto handed = HttpExchange::hand_out(exchange_, [&handler = shared_.handler] {
    return handler.failure(500, "The request could not be completed");
  });
  try {
    shared_.handler.handle(std::move(request), std::move(handed));
  } catch (const std::bad_alloc&) {
    exchange_->respond(shared_.handler.failure(503, "There is not enough memory for this request"));
  }
}

void HttpSession::refuse(int status, std::string_view reason) {
  HttpResponse response = shared_.handler.failure(status, reason);
  response.close = true;
  send_answer(std::move(response));
}

void HttpSession::send_answer(HttpResponse response) {
  phase_ = Phase::answering;
  last_progress_ = phase_began_ = std::chrono::steady_clock::now();
  if (response.close || shared_.draining) keep_alive_ = false;
  answer_ended_ = true;
  enqueue(response_text(response, keep_alive_, head_only_, http_1_0_), 0);
}

void HttpSession::flush() {
  if (phase_ != Phase::answering || exchange_ == nullptr || answer_ended_) return;
  // One portion in the queue and one under way: the rest waits in the outbox, where it is counted.
  while (!answer_ended_ && write_queue_.size() < kPortionBytes) {
    HttpExchange::Portion portion = exchange_->take(kPortionBytes);
    if (portion.close_connection || shared_.draining) keep_alive_ = false;
    if (portion.response) {
      answer_ended_ = true;
      enqueue(response_text(*portion.response, keep_alive_, head_only_, http_1_0_), 0);
      return;
    }
    if (portion.stream_head) {
      // The length is unknown: an old client learns the end from the end of the connection.
      if (http_1_0_) keep_alive_ = false;
      enqueue(stream_head_text(*portion.stream_head, keep_alive_, http_1_0_), 0);
    }
    if (!portion.frames.empty()) {
      const size_t n_frame_bytes = portion.frames.size();
      if (http_1_0_) {
        enqueue(std::move(portion.frames), n_frame_bytes);
      } else {
        char size_line[24];
        const int n = std::snprintf(size_line, sizeof size_line, "%zx\r\n", n_frame_bytes);
        std::string chunk(size_line, static_cast<size_t>(n));
        chunk += portion.frames;
        chunk += "\r\n";
        enqueue(std::move(chunk), n_frame_bytes);
      }
    }
    if (portion.ended) {
      answer_ended_ = true;
      // The body ends cleanly after an error in mid-stream too: the last event tells what happened,
      // and a broken transfer would hide it.
      enqueue(http_1_0_ ? "" : "0\r\n\r\n", 0);
      return;
    }
    if (portion.frames.empty()) return;
  }
}

void HttpSession::enqueue(std::string bytes, size_t n_frame_bytes) {
  write_queue_ += bytes;
  queued_frame_bytes_ += n_frame_bytes;
  start_write();
}

void HttpSession::start_write() {
  if (write_pending_ || phase_ == Phase::closed) return;
  if (written_ == writing_.size()) {
    if (writing_frame_bytes_ != 0) exchange_->sent(std::exchange(writing_frame_bytes_, 0));
    writing_.clear();
    written_ = 0;
    if (write_queue_.empty()) {
      behind_since_ = {};
      if (answer_ended_) finish_answer();
      return;
    }
    writing_.swap(write_queue_);
    writing_frame_bytes_ = std::exchange(queued_frame_bytes_, 0);
    last_progress_ = std::chrono::steady_clock::now();
    if (behind_since_ == HttpTime{}) {
      behind_since_ = last_progress_;
      behind_bytes_ = 0;
    }
  }
  write_pending_ = true;
  socket_.async_write_some(
      asio::buffer(writing_.data() + written_, writing_.size() - written_),
      [self = shared_from_this()](const boost::system::error_code& error, size_t n_bytes) {
        self->write_pending_ = false;
        if (self->phase_ == Phase::closed) return;
        if (error) return self->close();
        self->guarded([&] { self->on_written(n_bytes); });
      });
}

void HttpSession::on_written(size_t n_bytes) {
  written_ += n_bytes;
  behind_bytes_ += n_bytes;
  last_progress_ = std::chrono::steady_clock::now();
  if (written_ == writing_.size()) flush();
  start_write();
}

void HttpSession::finish_answer() {
  answer_ended_ = false;
  head_only_ = false;
  http_1_0_ = false;
  exchange_.reset();
  if (std::exchange(counted_active_, false)) {
    shared_.n_active.fetch_sub(1, std::memory_order_relaxed);
  }
  charge_.reset();
  body_bytes_ = 0;
  if (!keep_alive_) return linger();
  // Not from admit: a refused request without a body has nothing left to read.
  if (parser_.stage() == HttpParser::Stage::admit) parser_.resume();
  parser_.next();
  phase_ = Phase::head;
  phase_began_ = std::chrono::steady_clock::now();
  head_began_ = {};
  // Not at once: a long pipeline must not keep the other connections waiting, nor recurse.
  asio::post(shared_.io, [self = shared_from_this()] {
    if (self->phase_ != Phase::head) return;
    self->guarded([&] {
      self->process_input();
      self->wait_readable();
    });
  });
}

void HttpSession::linger() {
  if (read_closed_) return close();
  // Closing with unread input would reset the connection, and the client might lose the answer.
  phase_ = Phase::lingering;
  phase_began_ = std::chrono::steady_clock::now();
  inbox_ = {};
  boost::system::error_code ignored;
  socket_.shutdown(Tcp::socket::shutdown_send, ignored);
  wait_readable();
}

void HttpSession::account_body() {
  const size_t now = parser_.request().body.size();
  if (phase_ != Phase::body || now == body_bytes_) return;
  if (charge_ == nullptr) charge_ = std::make_shared<HttpBodyCharge>(shared_.body_bytes);
  charge_->set(now);
  body_bytes_ = now;
}

void HttpSession::drop_body() {
  parser_.request().body = {};
  inbox_ = {};
  charge_.reset();
}

void HttpSession::begin_drain() {
  keep_alive_ = false;
  if (phase_ == Phase::head && !parser_.started()) close();
}

void HttpSession::close() {
  if (phase_ == Phase::closed) return;
  const bool unanswered = phase_ == Phase::answering && exchange_ != nullptr;
  phase_ = Phase::closed;
  const std::shared_ptr<HttpSession> self = shared_from_this();
  boost::system::error_code ignored;
  socket_.close(ignored);
  if (unanswered) shared_.n_disconnects.fetch_add(1, std::memory_order_relaxed);
  if (exchange_ != nullptr) std::exchange(exchange_, nullptr)->close();
  if (counted_active_) shared_.n_active.fetch_sub(1, std::memory_order_relaxed);
  charge_.reset();
  shared_.n_open.fetch_sub(1, std::memory_order_relaxed);
  shared_.sessions.erase(self);
}

void HttpSession::give_way() {
  if (phase_ == Phase::head) {
    boost::system::error_code ignored;
    HttpResponse response = shared_.handler.failure(503, "Too many connections");
    response.close = true;
    socket_.write_some(asio::buffer(response_text(response, false, false, false)), ignored);
  }
  close();
}

void HttpSession::tick(HttpTime now) {
  guarded([&] { on_tick(now); });
}

void HttpSession::on_tick(HttpTime now) {
  const HttpServerOptions& o = shared_.options;
  switch (phase_) {
    case Phase::head: {
      if (head_began_ != HttpTime{}) {
        const auto deadline =
            reserved_ ? std::min(kReservedDeadline, o.header_deadline) : o.header_deadline;
        if (now - head_began_ > deadline) {
          shared_.n_timeouts.fetch_add(1, std::memory_order_relaxed);
          refuse(408, "The request did not arrive in time");
        }
        return;
      }
      const auto idle = reserved_          ? std::min(kReservedDeadline, o.header_deadline)
                        : n_requests_ == 0 ? o.header_deadline
                                           : o.keep_alive_idle;
      if (now - phase_began_ > idle) close();
      return;
    }
    case Phase::body: {
      const auto elapsed = now - phase_began_;
      const double seconds = std::chrono::duration<double>(elapsed).count();
      const bool slow =
          elapsed > o.body_grace &&
          static_cast<double>(body_bytes_) < static_cast<double>(o.body_bytes_per_second) * seconds;
      if (slow || elapsed > o.body_deadline) {
        shared_.n_timeouts.fetch_add(1, std::memory_order_relaxed);
        drop_body();
        refuse(408, "The body did not arrive in time");
      }
      return;
    }
    case Phase::answering: {
      if (exchange_ != nullptr && exchange_->is_lost()) return close();
      if (write_pending_ && now - behind_since_ > o.write_stall) {
        const double seconds = std::chrono::duration<double>(now - behind_since_).count();
        const double enough = static_cast<double>(o.read_bytes_per_second) * seconds;
        if (now - last_progress_ > o.write_stall || static_cast<double>(behind_bytes_) < enough) {
          shared_.n_timeouts.fetch_add(1, std::memory_order_relaxed);
          return close();
        }
        behind_since_ = now;
        behind_bytes_ = 0;
      }
      if (exchange_ == nullptr || answer_ended_) return;
      if (!write_pending_ && now - last_progress_ > o.ping_interval && exchange_->ping()) {
        last_progress_ = now;
      }
      return;
    }
    case Phase::lingering:
      if (now - phase_began_ > kLinger) close();
      return;
    case Phase::closed:
      return;
  }
}

}  // namespace floe
