#include "server/prepare_queue.h"

#include <algorithm>
#include <new>
#include <utility>

namespace floe {

PrepareQueue::PrepareQueue(size_t max_waiting) : max_waiting_(max_waiting) {
  try {
    for (const bool takes_long : {false, true}) {
      threads_.emplace_back([this, takes_long] { loop(takes_long); });
    }
  } catch (...) {  // no more threads are to be had: the one that runs must not outlive this
    stop();
    throw;
  }
}

PrepareQueue::~PrepareQueue() {
  stop();
}

bool PrepareQueue::try_post(std::string_view client, bool is_long, std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    if (stop_ || short_lane_.n_waiting + long_lane_.n_waiting >= max_waiting_) return false;
    Lane& lane = is_long ? long_lane_ : short_lane_;
    auto found = std::find_if(lane.clients.begin(), lane.clients.end(),
                              [&](const Client& c) { return c.name == client; });
    if (found == lane.clients.end()) {
      Client added{std::string(client), {}};
      added.work.push_back(std::move(work));
      lane.clients.push_back(std::move(added));
    } else {
      if (found->work.size() >= max_waiting_ / 2) return false;
      found->work.push_back(std::move(work));
    }
    ++lane.n_waiting;
  }
  wakeup_.notify_all();
  return true;
}

size_t PrepareQueue::n_waiting() const {
  const std::lock_guard lock(mutex_);
  return short_lane_.n_waiting + long_lane_.n_waiting;
}

void PrepareQueue::stop() {
  Lane dropped[2];
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    std::swap(dropped[0], short_lane_);
    std::swap(dropped[1], long_lane_);
  }
  wakeup_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

// One piece of the client whose turn it is, who then stands behind the others.
std::function<void()> PrepareQueue::take(Lane& lane) {
  Client& client = lane.clients.front();
  std::function<void()> work = std::move(client.work.front());
  client.work.pop_front();
  --lane.n_waiting;
  if (client.work.empty()) {
    lane.clients.pop_front();
  } else {
    std::rotate(lane.clients.begin(), lane.clients.begin() + 1, lane.clients.end());
  }
  return work;
}

void PrepareQueue::loop(bool takes_long) {
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      wakeup_.wait(lock, [&] {
        return stop_ || short_lane_.n_waiting > 0 || (takes_long && long_lane_.n_waiting > 0);
      });
      if (stop_) return;
      work = take(takes_long && long_lane_.n_waiting > 0 ? long_lane_ : short_lane_);
    }
    try {
      work();
    } catch (const std::bad_alloc&) {
      // The request goes with the work, and its connection answers for it.
    }
  }
}

}  // namespace floe
