#pragma once
// Pinned threads that run one function together (single program, multiple data).
//
// A forward enters run() once; inside, all workers walk through the same sequence of loops. A loop
// hands out pieces of its items to whoever is free, and says which earlier loops must be complete
// before its items may run. So no thread is woken, no lock taken and nothing allocated between
// layers; a worker without an item holds nobody up, and one that waits may already fetch what its
// item will read. A reduction is never split, so results do not depend on the number of workers.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <thread>
#include <vector>

namespace floe {

class ThreadPool;

// A loop of the current run, named so that later loops can wait for it. The same in every worker.
struct Stage {
  uint32_t index = 0;
};
using Stages = std::initializer_list<Stage>;

// One worker's view of a run. Every worker must make the same sequence of calls with the same
// arguments. What a worker reads to make a call must therefore not change while slower workers are
// still on their way to it: a number that a loop computes is passed on with compute() and value().
class Worker {
 public:
  uint32_t index() const { return index_; }
  uint32_t count() const;

  // Calls body(begin, end) for pieces of [0, n_items), at most grain items each, handed out in
  // ascending order to whichever worker is free, once all stages of `after` are complete. A worker
  // that holds a piece and has to wait calls ahead(begin, end, k), k = 0, 1, .., until it returns
  // false or the wait is over. Returns at once when no pieces are left: this worker's are done
  // then, the others' perhaps not.
  template <typename Body, typename Ahead>
  Stage chunks(Stages after, uint32_t n_items, uint32_t grain, Body&& body, Ahead&& ahead);
  template <typename Body>
  Stage chunks(Stages after, uint32_t n_items, uint32_t grain, Body&& body) {
    return chunks(after, n_items, grain, body, [](uint32_t, uint32_t, uint32_t) { return false; });
  }
  template <typename Body>
  Stage chunks(uint32_t n_items, uint32_t grain, Body&& body) {
    return chunks({}, n_items, grain, body);
  }

  // One worker calls body() after the stages; what it returns is the stage's value.
  template <typename Body>
  Stage compute(Stages after, Body&& body);
  // Waits for the stage.
  uint32_t value(Stage stage);

  // Returns when all pieces of the stage have run; their writes are visible then.
  void wait(Stage stage);

  // Returns when all workers have arrived. All writes before it are visible to all after it, and
  // the stages before it are forgotten.
  void barrier();

  // Keeps room for n_stages further stages: a barrier where they would not fit, since a pool has
  // kMaxStages of them between two barriers. Returns what stands for `live` from then on.
  Stage make_room(uint32_t n_stages, Stage live);
  static constexpr uint32_t kMaxStages = 1024;

 private:
  friend class ThreadPool;
  struct Slot;
  Slot& next_slot(Stage& stage);
  Slot& slot_of(Stage stage) const;
  bool complete(Stages stages) const;
  void finish(Slot& slot, uint32_t n_done, uint32_t n_items);

  ThreadPool* pool_ = nullptr;
  uint32_t index_ = 0;
  uint32_t n_stages_ = 0;  // since the last barrier
};

// The state of one stage, on a cache line of its own.
struct alignas(64) Worker::Slot {
  std::atomic<uint32_t> next{0};
  std::atomic<uint32_t> n_done{0};
  std::atomic<uint32_t> is_complete{0};
  std::atomic<uint32_t> value{0};

  void reset() {
    next.store(0, std::memory_order_relaxed);
    n_done.store(0, std::memory_order_relaxed);
    is_complete.store(0, std::memory_order_relaxed);
  }
};

class ThreadPool {
 public:
  // n_threads 0: one per physical core of this process's affinity mask. Threads are pinned to
  // distinct physical cores when pin is true and there are enough of them; the calling thread of
  // run() is worker 0.
  explicit ThreadPool(uint32_t n_threads = 0, bool pin = true);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  uint32_t size() const { return n_threads_; }

  // Runs body(worker) on every thread and returns when all are done. Not reentrant; one caller at a
  // time.
  template <typename Body>
  void run(Body&& body) {
    run_erased([](void* context, Worker& worker) { (*static_cast<Body*>(context))(worker); },
               &body);
  }

 private:
  friend class Worker;
  using Entry = void (*)(void*, Worker&);

  void run_erased(Entry entry, void* context);
  void thread_main(uint32_t index, int cpu);
  void forget_stages(uint32_t n_stages);
  void stop();
  std::chrono::nanoseconds patience() const;
  // Spins, then yields, until ready().
  template <typename Ready>
  void await(Ready&& ready) const;

  uint32_t n_threads_ = 1;
  std::vector<int> cpus_;  // one per worker, empty when not pinned
  std::vector<std::thread> threads_;
  std::unique_ptr<Worker::Slot[]> slots_;
  alignas(64) std::atomic<uint32_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<uint32_t> epoch_{0};
  std::atomic<uint32_t> n_finished_{0};
  std::atomic<bool> stop_{false};
  Entry entry_ = nullptr;
  void* context_ = nullptr;
};

template <typename Body, typename Ahead>
Stage Worker::chunks(Stages after, uint32_t n_items, uint32_t grain, Body&& body, Ahead&& ahead) {
  Stage stage;
  Slot& slot = next_slot(stage);
  uint32_t n_done = 0;
  bool ready = after.size() == 0;
  for (;;) {
    const uint32_t begin = slot.next.fetch_add(grain, std::memory_order_relaxed);
    if (begin >= n_items) break;
    const uint32_t end = begin + grain < n_items ? begin + grain : n_items;
    if (!ready) {
      for (uint32_t k = 0; !complete(after) && ahead(begin, end, k); ++k) {
      }
      for (const Stage earlier : after) wait(earlier);
      ready = true;
    }
    body(begin, end);
    n_done += end - begin;
  }
  if (n_done != 0 || n_items == 0) finish(slot, n_done, n_items);
  return stage;
}

template <typename Body>
Stage Worker::compute(Stages after, Body&& body) {
  const Stage stage{n_stages_};  // what chunks() is about to take
  return chunks(after, 1, 1, [&](uint32_t, uint32_t) {
    slot_of(stage).value.store(body(), std::memory_order_relaxed);
  });
}

// One logical CPU per physical core allowed to this process, in topology order.
std::vector<int> physical_cpus();

}  // namespace floe
