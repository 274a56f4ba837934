#pragma once
// A thread that steps an Engine, and the calls that other threads may make.
//
// Threading: submit, cancel, finish, pause, resume, stats, health and begin_drain are safe from any
// thread, take one short lock and do work that does not depend on the number of requests, but for
// running(). Their effect comes with the next step. Sinks are called on the engine's thread. The
// loop takes the same lock once per step, to collect what arrived and to publish the statistics.
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"

namespace floe {

struct EngineHealth {
  bool draining = false;
  bool stopped = false;
  bool stalled = false;           // a step has been running for longer than the watchdog allows
  double step_age_seconds = 0.0;  // how long the current step has been running; 0 when idle
  std::string failure;            // why the last forward failed; empty: it did not
};

class EngineThread {
 public:
  // clock outlives the thread. Starts at once.
  EngineThread(std::unique_ptr<Engine> engine, const Clock& clock, double stall_seconds = 60.0);
  ~EngineThread();  // stop()

  // Queues a request; refusals (full queue, bad field, draining) are decided here and now.
  SubmitOutcome submit(Request request);
  void cancel(RequestId id);
  void finish(RequestId id, uint32_t choice, uint32_t n_completion_tokens);
  // As Engine has them: for a reader that is behind, and one that has caught up.
  void pause(RequestId id);
  void resume(RequestId id);

  EngineStats stats() const;
  std::vector<SequenceStats> running() const;  // as Engine::list_running() has them
  EngineHealth health() const;
  const RequestLimits& limits() const { return admission_.limits(); }

  // Refuses new requests from now on, ends the waiting ones with a shutdown error and lets running
  // ones finish until the deadline (Clock time, ns); what is left then ends with a shutdown error.
  void begin_drain(int64_t deadline_ns);
  bool drained() const;  // draining, and nothing is left
  // Blocks until drained() or the thread stopped.
  void wait_drained();
  // Ends everything with a shutdown error and joins the thread. Idempotent; not from a sink, and
  // not from two threads at once.
  void stop();

 private:
  struct Command {
    enum class Kind : uint8_t { submit, cancel, finish, pause, resume };
    Kind kind = Kind::submit;
    RequestId id = 0;
    uint32_t choice = 0;
    uint32_t n_completion_tokens = 0;
    Request request;
    int64_t arrival_ns = 0;
  };

  void loop();
  void apply(Command& command);
  void step();
  void post(Command command);
  void publish_admission();

  std::unique_ptr<Engine> engine_;
  const Clock& clock_;
  const double stall_seconds_;

  mutable std::mutex mutex_;
  std::condition_variable wakeup_;
  std::condition_variable drained_wakeup_;
  Admission admission_;
  std::vector<Command> inbox_;
  EngineStats published_;
  std::vector<SequenceStats> published_running_;
  std::optional<Error> failure_;  // of the last forward
  int64_t drain_deadline_ns_ = 0;
  bool draining_ = false;
  bool drained_ = false;
  bool stop_ = false;
  bool stopped_ = false;

  std::vector<SequenceStats> running_;      // of the thread alone, about to be published
  std::atomic<int64_t> step_begin_ns_{-1};  // -1: not in a step
  std::thread thread_;
};

}  // namespace floe
