#include "engine/engine_thread.h"

#include <utility>

namespace floe {

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
    outcome = admission_.decide(std::move(outcome));
    if (outcome.status != SubmitStatus::accepted) return outcome;
    command.id = outcome.id;
    inbox_.push_back(std::move(command));
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
  }
}

void EngineThread::loop() {
  std::vector<Command> commands;
  bool drain_begun = false;
  for (;;) {
    const EngineStats stats = engine_->stats();
    const QueueLoad load = engine_->load();
    const bool idle = engine_->idle();
    bool stop = false;
    bool drain = false;
    int64_t deadline_ns = 0;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      published_ = stats;
      admission_.update(load);
      if (drain_begun && idle && inbox_.empty() && !drained_) {
        drained_ = true;
        drained_wakeup_.notify_all();
      }
      wakeup_.wait(
          lock, [&] { return stop_ || !idle || !inbox_.empty() || (draining_ && !drain_begun); });
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
    engine_->step();
    step_begin_ns_.store(-1, std::memory_order_relaxed);
  }
  engine_->abort_all();
  const EngineStats stats = engine_->stats();
  const QueueLoad load = engine_->load();
  const std::lock_guard<std::mutex> lock(mutex_);
  published_ = stats;
  admission_.update(load);
  stopped_ = true;
  drained_wakeup_.notify_all();
}

}  // namespace floe
