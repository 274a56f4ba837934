#pragma once
// One request that waits for its answer: what handlers answer through, and what the connection
// sends from.
//
// Handlers use the first half, from any thread. The connection uses the second half, on the I/O
// thread. A connection gives handlers a pointer made by hand_out(), so that a request which every
// handler has let go of is still answered.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http_parser.h"

namespace floe {

struct HttpResponse {
  int status = 200;
  std::vector<HttpField> fields;  // Content-Length, Connection and Date are added
  std::string body;
  bool close = false;
};

class HttpExchange {
 public:
  // wake: asks the I/O thread to call take() soon; called with a lock held, so it must only post.
  // Of a stream capacity_bytes may be unread before its writer is told to pause.
  HttpExchange(std::function<void()> wake, size_t capacity_bytes);
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;

  // A pointer for handlers. When the last copy goes without an answer, unanswered() gives one.
  static std::shared_ptr<HttpExchange> hand_out(std::shared_ptr<HttpExchange> exchange,
                                                std::function<HttpResponse()> unanswered);

  // ---- Handlers, any thread.

  // Before the answer: fields that it gets whatever it will be, and who is told its status, or 0
  // when the client left before it was complete. on_end runs once, on any thread, and must not
  // block.
  void decorate(std::vector<HttpField> fields, std::function<void(int status)> on_end);

  // The whole answer. False when the client is gone or a stream has begun.
  bool respond(HttpResponse response);

  // Makes this an event stream (status 200). Its head goes out with the first write, or with the
  // first ping when nothing was written for ping_interval; until then respond() is still possible.
  void arm_stream(std::vector<HttpField> fields);

  enum class WriteStatus : uint8_t {
    ok,
    full,    // taken, but the client reads too slowly: write again after on_writable
    closed,  // dropped: the client is gone
  };
  WriteStatus write(std::string_view frames);
  // Ends the stream. After an error in mid-stream the connection is closed as well.
  void finish(bool close_connection);

  bool closed() const;  // the client is gone

  // The client is gone before the answer was complete. Called once at most, on the I/O thread, or
  // at once on the caller's when it already happened. Must not block.
  void on_close(std::function<void()> callback);
  // After WriteStatus::full the buffer has drained. On the I/O thread; must not block.
  void on_writable(std::function<void()> callback);

  // ---- The connection, I/O thread.

  struct Portion {
    std::optional<HttpResponse> response;               // a whole answer
    std::optional<std::vector<HttpField>> stream_head;  // the stream begins with this portion
    std::string frames;
    bool ended = false;  // nothing follows
    bool close_connection = false;
  };
  // What may be sent now; at most about max_bytes of frames.
  Portion take(size_t max_bytes);
  void sent(size_t n_bytes);  // of frames taken before
  // Nothing was sent for a while: begins an armed stream or keeps a running one alive. False when
  // there is no stream.
  bool ping();
  bool complete() const;  // the handler has said everything
  // Every handler has let go and not even an error could be said: the connection must end.
  bool is_lost() const;
  void close();  // the client is gone

 private:
  enum class State : uint8_t { open, armed, streaming, answered };

  void request_flush();
  void abandon(const std::function<HttpResponse()>& unanswered) noexcept;

  const std::function<void()> wake_;
  const size_t capacity_bytes_;

  mutable std::mutex mutex_;
  State state_ = State::open;
  bool ended_ = false;
  bool close_connection_ = false;
  bool closed_ = false;
  bool was_full_ = false;
  bool flush_requested_ = false;
  bool lost_ = false;
  std::vector<HttpField> extra_fields_;
  std::optional<HttpResponse> response_;
  std::optional<std::vector<HttpField>> stream_head_;
  std::string pending_;
  size_t taken_bytes_ = 0;  // taken and not yet sent
  std::function<void(int)> on_end_;
  std::function<void()> on_close_;
  std::function<void()> on_writable_;
};

}  // namespace floe
