#pragma once
// A few threads for work that must block neither a socket nor the engine: turning tokens into text.
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace floe {

class TaskQueue {
 public:
  explicit TaskQueue(uint32_t n_threads);
  ~TaskQueue();  // stop()
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;

  // Tasks start in the order of their posting. Any thread; after stop() tasks are dropped.
  void post(std::function<void()> task);
  // Lets running tasks end, drops waiting ones, joins. Idempotent; not from a task.
  void stop();

 private:
  void loop();

  std::mutex mutex_;
  std::condition_variable wakeup_;
  std::deque<std::function<void()>> tasks_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace floe
