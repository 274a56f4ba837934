#include "server/task_queue.h"

#include <new>
#include <utility>

namespace floe {

TaskQueue::TaskQueue(uint32_t n_threads) {
  try {
    for (uint32_t i = 0; i < n_threads; ++i) threads_.emplace_back([this] { loop(); });
  } catch (...) {  // no more threads are to be had: those that run must not outlive this
    stop();
    throw;
  }
}

TaskQueue::~TaskQueue() {
  stop();
}

void TaskQueue::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    if (stop_) return;
    tasks_.push_back(std::move(task));
  }
  wakeup_.notify_one();
}

void TaskQueue::stop() {
  std::deque<std::function<void()>> dropped;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    dropped.swap(tasks_);
  }
  wakeup_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void TaskQueue::loop() {
  for (;;) {
    std::function<void()> task;
    {
      std::unique_lock lock(mutex_);
      wakeup_.wait(lock, [this] { return stop_ || !tasks_.empty(); });
      if (stop_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    try {
      task();
    } catch (const std::bad_alloc&) {
      // The request goes with the task, and its connection answers for it.
    }
  }
}

}  // namespace floe
