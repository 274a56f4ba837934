#pragma once
// Whether a request is taken: it can run, and there is room in the queue. Decided here and nowhere
// else.
//
// Whoever takes requests from others owns an Admission: an Engine that its caller steps, or the
// EngineThread in front of an Engine. An Admission knows the queue as it was last told by update(),
// and adds the requests that it has accepted since, which may still be on their way to the engine.
#include <cstdint>
#include <string>

#include "engine/request.h"
#include "engine/stats.h"

namespace floe {

enum class SubmitStatus : uint8_t {
  accepted,
  invalid,           // 400: outcome.param and outcome.message say what
  context_exceeded,  // 400: the prompt alone fills the context (or the cache), it can never run
  queue_full,        // 429: outcome.wait_seconds estimates when there is room
  draining,          // 503: no new requests
};

struct SubmitOutcome {
  SubmitStatus status = SubmitStatus::accepted;
  RequestId id = 0;           // when accepted
  std::string param;          // when invalid: the field's name as in Request / SamplingParams
  std::string message;        // when refused: one line for the client, free of internals
  double wait_seconds = 0.0;  // when queue_full
  uint32_t n_prompt_tokens = 0;
  uint32_t n_context = 0;  // the longest prompt + output that can run
};

// What a request may ask for. Does not change with time.
class RequestLimits {
 public:
  RequestLimits() = default;
  RequestLimits(uint32_t n_vocab, uint32_t n_context, uint32_t max_choices)
      : n_vocab_(n_vocab), n_context_(n_context), max_choices_(max_choices) {}
  // status accepted, or the reason why the request can never run.
  SubmitOutcome check(const Request& request) const;
  uint32_t n_context() const { return n_context_; }

 private:
  uint32_t n_vocab_ = 0;
  uint32_t n_context_ = 0;
  uint32_t max_choices_ = 1;
};

// What the engine holds at a moment.
struct QueueLoad {
  uint64_t n_accepted = 0;    // requests that have reached the engine since its start
  uint32_t n_waiting = 0;     // of those: not started, not ended
  uint32_t n_sequences = 0;   // choices that run
  double wait_seconds = 0.0;  // until a request submitted now would start
  uint32_t n_running = 0;     // requests started and not ended
};

// Not thread-safe.
class Admission {
 public:
  // At most max_waiting requests wait, beside one for every choice that could run at once.
  Admission(const RequestLimits& limits, uint32_t max_waiting, uint32_t max_sequences)
      : limits_(limits), max_waiting_(max_waiting), max_sequences_(max_sequences) {}

  // Needs no lock, and reads the whole prompt: a caller that holds one calls limits().check()
  // first.
  const RequestLimits& limits() const { return limits_; }

  void update(const QueueLoad& load) { load_ = load; }
  // Every later request is refused.
  void close() { is_closed_ = true; }

  // checked: what limits().check() said of the request. Accepted requests get the ids 1, 2, ... in
  // this order, and the caller hands each of them to the engine.
  SubmitOutcome decide(SubmitOutcome checked);

  // Requests that have not started: those in the engine and those on their way to it.
  uint64_t n_waiting() const { return load_.n_waiting + (n_accepted_ - load_.n_accepted); }
  // Sets what is counted here: n_waiting and the refusals.
  void count(EngineStats& stats) const;

 private:
  const RequestLimits limits_;
  const uint32_t max_waiting_;
  const uint32_t max_sequences_;
  QueueLoad load_;
  bool is_closed_ = false;
  uint64_t n_accepted_ = 0;
  uint64_t n_refused_queue_full_ = 0;
  uint64_t n_refused_invalid_ = 0;
};

}  // namespace floe
