#include "engine/engine_thread.h"

#include <chrono>
#include <new>
#include <utility>

namespace floe {

namespace {

constexpr std::chrono::milliseconds kDrainPoll{10};

}  // namespace

EngineThread::EngineThread(std::unique_ptr<Engine> engine, const Clock& clock, double stall_seconds)
    : engine_(std::move(engine)),
      clock_(clock),
      stall_seconds_(stall_seconds),
      admission_(engine_->make_admission()),
      published_(engine_->stats()) {
  admission_.update(engine_->load());
  thread_ = std::thread([this] { loop(); });
}

EngineThread::~EngineThread() {
  stop();
}

SubmitOutcome EngineThread::submit(Request request) {
  SubmitOutcome outcome = limits().check(request);
  Command command;
  command.request = std::move(request);
  command.arrival_ns = clock_.now_ns();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    // Its place first: without memory for it nothing must have been counted.
    inbox_.emplace_back();
    outcome = admission_.decide(std::move(outcome));
    if (outcome.status != SubmitStatus::accepted) {
      inbox_.pop_back();
      return outcome;
    }
    command.id = outcome.id;
    inbox_.back() = std::move(command);
  }
  wakeup_.notify_one();
  return outcome;
}

void EngineThread::cancel(RequestId id) {
  Command command;
  command.kind = Command::Kind::cancel;
  command.id = id;
  post(std::move(command));
}

void EngineThread::finish(RequestId id, uint32_t choice, uint32_t n_completion_tokens) {
  Command command;
  command.kind = Command::Kind::finish;
  command.id = id;
  command.choice = choice;
  command.n_completion_tokens = n_completion_tokens;
  post(std::move(command));
}

void EngineThread::pause(RequestId id) {
  Command command;
  command.kind = Command::Kind::pause;
  command.id = id;
  post(std::move(command));
}

void EngineThread::resume(RequestId id) {
  Command command;
  command.kind = Command::Kind::resume;
  command.id = id;
  post(std::move(command));
}

void EngineThread::post(Command command) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stop_) return;  // everything ends anyway
    inbox_.push_back(std::move(command));
  }
  wakeup_.notify_one();
}

EngineStats EngineThread::stats() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  EngineStats stats = published_;
  admission_.count(stats);
  stats.draining = draining_;
  return stats;
}

std::vector<SequenceStats> EngineThread::running() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return published_running_;
}

EngineHealth EngineThread::health() const {
  EngineHealth health;
  const int64_t begin_ns = step_begin_ns_.load(std::memory_order_relaxed);
  if (begin_ns >= 0) {
    health.step_age_seconds = static_cast<double>(clock_.now_ns() - begin_ns) * 1e-9;
    health.stalled = health.step_age_seconds > stall_seconds_;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  health.draining = draining_;
  health.stopped = stopped_;
  if (failure_) health.failure = failure_->message;
  return health;
}

void EngineThread::begin_drain(int64_t deadline_ns) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    admission_.close();
    draining_ = true;
    drain_deadline_ns_ = deadline_ns;
  }
  wakeup_.notify_one();
}

bool EngineThread::drained() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return drained_;
}

void EngineThread::wait_drained() {
  std::unique_lock<std::mutex> lock(mutex_);
  drained_wakeup_.wait(lock, [this] { return drained_ || stopped_; });
}

void EngineThread::stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    admission_.close();
    stop_ = true;
  }
  wakeup_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void EngineThread::apply(Command& command) {
  switch (command.kind) {
    case Command::Kind::submit:
      engine_->accept(command.id, std::move(command.request), command.arrival_ns);
      break;
    case Command::Kind::cancel:
      engine_->cancel(command.id);
      break;
    case Command::Kind::finish:
      engine_->finish(command.id, command.choice, command.n_completion_tokens);
      break;
    case Command::Kind::pause:
      engine_->pause(command.id);
      break;
    case Command::Kind::resume:
      engine_->resume(command.id);
      break;
  }
}

// Every request of a step that ran out of memory ends: nobody knows how far the step came. The next
// ones find the memory that those had.
void EngineThread::step() {
  try {
    engine_->admit();
    publish_admission();
    engine_->step();
  } catch (const std::bad_alloc&) {
    engine_->end_all(EndError::memory);
  }
}

// A step may take seconds: whoever looks meanwhile sees who waits and who runs in it.
void EngineThread::publish_admission() {
  const QueueLoad load = engine_->load();
  engine_->list_running(running_);
  const std::lock_guard<std::mutex> lock(mutex_);
  published_running_.swap(running_);
  admission_.update(load);
  published_.n_running = load.n_running;
  published_.n_sequences = load.n_sequences;
}

void EngineThread::loop() {
  std::vector<Command> commands;
  bool drain_begun = false;
  for (;;) {
    const EngineStats stats = engine_->stats();
    const QueueLoad load = engine_->load();
    const bool idle = engine_->idle();
    const bool has_work = engine_->has_work();
    engine_->list_running(running_);
    bool stop = false;
    bool drain = false;
    int64_t deadline_ns = 0;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      published_ = stats;
      published_running_.swap(running_);
      failure_ = engine_->failure();
      admission_.update(load);
      if (drain_begun && idle && inbox_.empty() && !drained_) {
        drained_ = true;
        drained_wakeup_.notify_all();
      }
      const auto something_to_do = [&] {
        return stop_ || has_work || !inbox_.empty() || (draining_ && !drain_begun);
      };
      // Who is paused still has to end at the drain's deadline.
      if (drain_begun && !idle) {
        wakeup_.wait_for(lock, kDrainPoll, something_to_do);
      } else {
        wakeup_.wait(lock, something_to_do);
      }
      commands.swap(inbox_);
      stop = stop_;
      drain = draining_;
      deadline_ns = drain_deadline_ns_;
    }
    for (Command& command : commands) apply(command);
    commands.clear();
    if (stop) break;
    if (drain && !drain_begun) {
      engine_->begin_drain();
      drain_begun = true;
    }
    if (drain && clock_.now_ns() >= deadline_ns) engine_->abort_all();
    step_begin_ns_.store(clock_.now_ns(), std::memory_order_relaxed);
    step();
    step_begin_ns_.store(-1, std::memory_order_relaxed);
  }
  engine_->abort_all();
  const EngineStats stats = engine_->stats();
  const QueueLoad load = engine_->load();
  const std::lock_guard<std::mutex> lock(mutex_);
  published_ = stats;
  published_running_.clear();
  admission_.update(load);
  stopped_ = true;
  drained_wakeup_.notify_all();
}

}  // namespace floe
