#pragma once
// Workers that prepare requests (parse bodies, lay out conversations, encode prompts), shared out
// fairly.
//
// Two lanes: one worker takes short work only, the other long work first, so a short request never
// waits behind a long one. In each lane clients take turns, whatever each of them has queued.
#include <array>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace floe {

class PrepareQueue {
 public:
  // At most max_waiting pieces of work wait, and half as many of one client.
  explicit PrepareQueue(size_t max_waiting);
  ~PrepareQueue();  // stop()
  PrepareQueue(const PrepareQueue&) = delete;
  PrepareQueue& operator=(const PrepareQueue&) = delete;

  // Any thread. False when too much waits already, or after stop(). Work of one client starts in
  // the order of its posting within a lane.
  bool try_post(std::string_view client, bool is_long, std::function<void()> work);
  size_t n_waiting() const;
  // Lets running work end, drops what waits, joins. Idempotent; not from a worker.
  void stop();

 private:
  struct Client {
    std::string name;
    std::deque<std::function<void()>> work;
  };
  struct Lane {
    std::deque<Client> clients;  // that have work, the next one first
    size_t n_waiting = 0;
  };

  void loop(bool takes_long);
  std::function<void()> take(Lane& lane);

  const size_t max_waiting_;
  mutable std::mutex mutex_;
  std::condition_variable wakeup_;
  Lane short_lane_;
  Lane long_lane_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace floe
