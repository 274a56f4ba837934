#include "server/http_exchange.h"

#include <new>
#include <utility>

#include "base/error.h"

namespace floe {

HttpExchange::HttpExchange(std::function<void()> wake, size_t capacity_bytes)
    : wake_(std::move(wake)), capacity_bytes_(capacity_bytes) {}

std::shared_ptr<HttpExchange> HttpExchange::hand_out(std::shared_ptr<HttpExchange> exchange,
                                                     std::function<HttpResponse()> unanswered) {
  HttpExchange* const raw = exchange.get();
  return {raw, [exchange = std::move(exchange), unanswered = std::move(unanswered)](
                   HttpExchange*) noexcept { exchange->abandon(unanswered); }};
}

void HttpExchange::abandon(const std::function<HttpResponse()>& unanswered) noexcept {
  try {
    if (complete() || closed() || respond(unanswered())) return;
    finish(true);  // in the middle of a stream
  } catch (const std::bad_alloc&) {
    const std::lock_guard lock(mutex_);
    lost_ = true;
  }
}

void HttpExchange::request_flush() {
  // Called with the lock held.
  if (flush_requested_) return;
  wake_();
  flush_requested_ = true;
}

void HttpExchange::decorate(std::vector<HttpField> fields, std::function<void(int)> on_end) {
  const std::lock_guard lock(mutex_);
  extra_fields_ = std::move(fields);
  on_end_ = std::move(on_end);
}

bool HttpExchange::respond(HttpResponse response) {
  std::function<void(int)> on_end;
  const int status = response.status;
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || state_ == State::streaming || state_ == State::answered) return false;
    response.fields.insert(response.fields.end(), extra_fields_.begin(), extra_fields_.end());
    request_flush();
    state_ = State::answered;
    ended_ = true;
    response_ = std::move(response);
    on_end = std::exchange(on_end_, nullptr);
  }
  if (on_end) on_end(status);
  return true;
}

void HttpExchange::arm_stream(std::vector<HttpField> fields) {
  const std::lock_guard lock(mutex_);
  if (state_ != State::open) return;
  fields.insert(fields.end(), extra_fields_.begin(), extra_fields_.end());
  state_ = State::armed;
  stream_head_ = std::move(fields);
}

HttpExchange::WriteStatus HttpExchange::write(std::string_view frames) {
  const std::lock_guard lock(mutex_);
  if (closed_ || ended_) return WriteStatus::closed;
  if (state_ == State::armed) state_ = State::streaming;
  FLOE_CHECK(state_ == State::streaming);
  request_flush();
  pending_ += frames;
  if (pending_.size() + taken_bytes_ < capacity_bytes_) return WriteStatus::ok;
  was_full_ = true;
  return WriteStatus::full;
}

void HttpExchange::finish(bool close_connection) {
  std::function<void(int)> on_end;
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || ended_) return;
    if (state_ == State::armed) state_ = State::streaming;
    FLOE_CHECK(state_ == State::streaming);
    request_flush();
    ended_ = true;
    close_connection_ = close_connection;
    on_end = std::exchange(on_end_, nullptr);
  }
  if (on_end) on_end(200);
}

bool HttpExchange::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

void HttpExchange::on_close(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (!closed_) {
      if (!ended_) on_close_ = std::move(callback);
      return;
    }
  }
  callback();
}

void HttpExchange::on_writable(std::function<void()> callback) {
  const std::lock_guard lock(mutex_);
  on_writable_ = std::move(callback);
}

HttpExchange::Portion HttpExchange::take(size_t max_bytes) {
  const std::lock_guard lock(mutex_);
  flush_requested_ = false;
  Portion portion;
  if (closed_) return portion;
  if (response_) {
    portion.response = std::exchange(response_, std::nullopt);
    portion.ended = true;
    portion.close_connection = portion.response->close;
    return portion;
  }
  if (state_ != State::streaming) return portion;
  portion.stream_head = std::exchange(stream_head_, std::nullopt);
  if (pending_.size() <= max_bytes) {
    portion.frames = std::exchange(pending_, {});
  } else {
    portion.frames = pending_.substr(0, max_bytes);
    pending_.erase(0, max_bytes);
  }
  taken_bytes_ += portion.frames.size();
  portion.ended = ended_ && pending_.empty();
  portion.close_connection = close_connection_;
  return portion;
}

void HttpExchange::sent(size_t n_bytes) {
  std::function<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    taken_bytes_ -= n_bytes;
    if (was_full_ && pending_.size() + taken_bytes_ < capacity_bytes_ / 2) {
      was_full_ = false;
      if (!closed_ && !ended_) callback = on_writable_;
    }
  }
  if (callback) callback();
}

bool HttpExchange::ping() {
  const std::lock_guard lock(mutex_);
  if (closed_ || ended_ || (state_ != State::armed && state_ != State::streaming)) return false;
  state_ = State::streaming;
  request_flush();
  pending_ += ":\n\n";
  return true;
}

bool HttpExchange::complete() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

bool HttpExchange::is_lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
}

void HttpExchange::close() {
  std::function<void()> on_close;
  std::function<void(int)> on_end;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    on_close = std::exchange(on_close_, nullptr);
    on_end = std::exchange(on_end_, nullptr);
    on_writable_ = nullptr;
    pending_ = {};
    response_.reset();
  }
  if (on_close) on_close();
  if (on_end) on_end(0);
}

}  // namespace floe
