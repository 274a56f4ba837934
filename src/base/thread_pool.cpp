#include "base/thread_pool.h"

#include <hwloc.h>
#include <pthread.h>
#include <sched.h>

#include <chrono>
#include <optional>

#include "base/error.h"

namespace floe {

namespace {

using Clock = std::chrono::steady_clock;

// A thread that waits spins so long before it gives its core away. A pool that has its cores to
// itself stays awake from one forward to the next, sampling and drafting between them included: to
// wake one thread takes a system call and, on a virtual machine with two cores, 33 us.
// Where more threads than cores run, a spinning one would hold up the one that it waits for.
constexpr Clock::duration kPatiencePinned = std::chrono::milliseconds(2);
constexpr Clock::duration kPatience = std::chrono::microseconds(50);
constexpr uint32_t kSpinsPerLook = 64;  // at the clock

inline void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// False: the patience ended before it was ready.
template <typename Ready>
bool spin_until(Clock::duration patience, Ready&& ready) {
  std::optional<Clock::time_point> start;
  for (;;) {
    for (uint32_t i = 0; i < kSpinsPerLook; ++i) {
      if (ready()) return true;
      cpu_relax();
    }
    const Clock::time_point now = Clock::now();
    if (!start) start = now;
    if (now - *start >= patience) return ready();
  }
}

// What this process may use, as the first pool found it: a thread that a pool has pinned, and every
// thread that it starts, would find a single one. Empty: not known.
const cpu_set_t& allowed_cpus() {
  static const cpu_set_t allowed = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) != 0) CPU_ZERO(&set);
    return set;
  }();
  return allowed;
}

// cpu < 0: on all that are allowed. Best effort.
void run_this_thread_on(int cpu) {
  cpu_set_t set = allowed_cpus();
  if (cpu >= 0) {
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
  }
  pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

}  // namespace

std::vector<int> physical_cpus() {
  const cpu_set_t& allowed = allowed_cpus();
  const bool known = CPU_COUNT(&allowed) != 0;
  std::vector<int> cpus;
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) == 0 && hwloc_topology_load(topology) == 0) {
    const int n_cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE);
    for (int i = 0; i < n_cores; ++i) {
      const hwloc_obj_t core = hwloc_get_obj_by_type(topology, HWLOC_OBJ_CORE, i);
      for (int cpu = hwloc_bitmap_first(core->cpuset); cpu >= 0;
           cpu = hwloc_bitmap_next(core->cpuset, cpu)) {
        if (!known || CPU_ISSET(cpu, &allowed)) {
          cpus.push_back(cpu);
          break;
        }
      }
    }
  }
  if (topology != nullptr) hwloc_topology_destroy(topology);
  if (cpus.empty() && known) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
    }
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

std::chrono::nanoseconds ThreadPool::patience() const {
  return cpus_.empty() ? kPatience : kPatiencePinned;
}

template <typename Ready>
void ThreadPool::await(Ready&& ready) const {
  if (spin_until(patience(), ready)) return;
  while (!ready()) sched_yield();
}

uint32_t Worker::count() const {
  return pool_->n_threads_;
}

Worker::Slot& Worker::slot_of(Stage stage) const {
  return pool_->slots_[stage.index];
}

Worker::Slot& Worker::next_slot(Stage& stage) {
  FLOE_CHECK(n_stages_ < kMaxStages);
  stage.index = n_stages_++;
  return slot_of(stage);
}

bool Worker::complete(Stages stages) const {
  for (const Stage stage : stages) {
    if (slot_of(stage).is_complete.load(std::memory_order_acquire) == 0) return false;
  }
  return true;
}

void Worker::finish(Slot& slot, uint32_t n_done, uint32_t n_items) {
  // Every worker's writes are released into the count and acquired by whoever completes it.
  if (slot.n_done.fetch_add(n_done, std::memory_order_acq_rel) + n_done == n_items) {
    slot.is_complete.store(1, std::memory_order_release);
  }
}

void Worker::wait(Stage stage) {
  const Slot& slot = slot_of(stage);
  pool_->await([&] { return slot.is_complete.load(std::memory_order_acquire) != 0; });
}

uint32_t Worker::value(Stage stage) {
  wait(stage);
  return slot_of(stage).value.load(std::memory_order_relaxed);
}

Stage Worker::make_room(uint32_t n_stages, Stage live) {
  if (n_stages_ + n_stages <= kMaxStages) return live;
  barrier();
  return chunks(0, 1, [](uint32_t, uint32_t) {});
}

void Worker::barrier() {
  const uint32_t generation = pool_->generation_.load(std::memory_order_acquire);
  if (pool_->arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == pool_->n_threads_) {
    // All workers have made the same calls, so this worker's count is everyone's.
    pool_->forget_stages(n_stages_);
    pool_->arrived_.store(0, std::memory_order_relaxed);
    pool_->generation_.store(generation + 1, std::memory_order_release);
  } else {
    pool_->await([&] { return pool_->generation_.load(std::memory_order_acquire) != generation; });
  }
  n_stages_ = 0;
}

ThreadPool::ThreadPool(uint32_t n_threads, bool pin) {
  const std::vector<int> cpus = physical_cpus();
  n_threads_ = n_threads != 0 ? n_threads : static_cast<uint32_t>(cpus.size());
  if (pin && n_threads_ <= cpus.size()) cpus_ = cpus;
  slots_ = std::make_unique<Worker::Slot[]>(Worker::kMaxStages);
  try {
    for (uint32_t i = 1; i < n_threads_; ++i) {
      threads_.emplace_back([this, i] { thread_main(i, cpus_.empty() ? -1 : cpus_[i]); });
    }
  } catch (...) {  // no more threads are to be had: those that run must not outlive this
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() {
  stop();
}

void ThreadPool::stop() {
  stop_.store(true, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::run_erased(Entry entry, void* context) {
  // The caller is worker 0; pinned, so that no worker shares its core.
  const int cpu = cpus_.empty() ? -1 : cpus_[0];
  thread_local int runs_on = -1;
  if (runs_on != cpu) {
    run_this_thread_on(cpu);
    runs_on = cpu;
  }
  entry_ = entry;
  context_ = context;
  n_finished_.store(0, std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  Worker worker;
  worker.pool_ = this;
  entry(context, worker);
  await([&] { return n_finished_.load(std::memory_order_acquire) == n_threads_ - 1; });
  forget_stages(worker.n_stages_);
}

void ThreadPool::forget_stages(uint32_t n_stages) {
  for (uint32_t i = 0; i < n_stages; ++i) slots_[i].reset();
}

void ThreadPool::thread_main(uint32_t index, int cpu) {
  run_this_thread_on(cpu);
  uint32_t seen = 0;
  for (;;) {
    const bool has_work =
        spin_until(patience(), [&] { return epoch_.load(std::memory_order_acquire) != seen; });
    if (!has_work) epoch_.wait(seen, std::memory_order_acquire);
    const uint32_t epoch = epoch_.load(std::memory_order_acquire);
    if (epoch == seen) continue;
    seen = epoch;
    if (stop_.load(std::memory_order_relaxed)) return;
    Worker worker;
    worker.pool_ = this;
    worker.index_ = index;
    entry_(context_, worker);
    n_finished_.fetch_add(1, std::memory_order_release);
  }
}

}  // namespace floe
