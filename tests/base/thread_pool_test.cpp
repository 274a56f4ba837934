#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

namespace floe {
namespace {

// Every item of every loop is handed out exactly once, whatever the number of threads, and writes
// made before a barrier are seen after it.
TEST(ThreadPool, LoopsCoverEveryItemOnceAndBarriersOrderThem) {
  for (uint32_t n_threads : {1u, 2u, 3u, 5u}) {
    ThreadPool pool(n_threads, false);
    ASSERT_EQ(pool.size(), n_threads);
    for (int round = 0; round < 50; ++round) {
      std::vector<uint32_t> first(1000, 0);
      std::vector<uint32_t> second(1000, 0);
      pool.run([&](Worker& worker) {
        worker.chunks(1000, 7, [&](uint32_t begin, uint32_t end) {
          for (uint32_t i = begin; i < end; ++i) first[i] += i;
        });
        worker.barrier();
        worker.chunks(1000, 13, [&](uint32_t begin, uint32_t end) {
          for (uint32_t i = begin; i < end; ++i) second[i] += first[999 - i];
        });
      });
      for (uint32_t i = 0; i < 1000; ++i) ASSERT_EQ(second[i], 999 - i);
    }
  }
}

// A loop's items run after the loops it names, without a barrier between, however slow one worker
// is; loops without items count as complete.
TEST(ThreadPool, StagesOrderTheLoopsThatNameThem) {
  for (uint32_t n_threads : {1u, 2u, 3u, 5u}) {
    ThreadPool pool(n_threads, false);
    for (int round = 0; round < 50; ++round) {
      std::vector<uint32_t> first(100, 0);
      std::vector<uint32_t> second(100, 0);
      uint64_t sum = 0;
      pool.run([&](Worker& worker) {
        const Stage none = worker.chunks(0, 1, [&](uint32_t, uint32_t) { sum += 1; });
        const Stage squares = worker.chunks({none}, 100, 1, [&](uint32_t i, uint32_t) {
          if (i % 50 == 7) std::this_thread::yield();
          first[i] = i * i;
        });
        const Stage mirrored =
            worker.chunks({squares, none}, 100, 3, [&](uint32_t i, uint32_t end) {
              for (; i < end; ++i) second[i] = first[99 - i];
            });
        worker.compute({mirrored}, [&] {
          for (uint32_t value : second) sum += value;
          return 0u;
        });
      });
      ASSERT_EQ(sum, 328350u);
    }
  }
}

// The number a stage computes decides how many items a later loop has, in every worker alike, even
// when others have gone on to overwrite what it was computed from.
TEST(ThreadPool, ValuesOutliveWhatTheyWereComputedFrom) {
  for (uint32_t n_threads : {1u, 2u, 3u}) {
    ThreadPool pool(n_threads, false);
    uint32_t state = 0;
    std::vector<std::atomic<uint32_t>> n_items(200);
    pool.run([&](Worker& worker) {
      Stage last = worker.chunks(0, 1, [](uint32_t, uint32_t) {});
      for (uint32_t layer = 0; layer < 200; ++layer) {
        last = worker.make_room(8, last);
        const Stage computed = worker.compute({last}, [&] {
          state = layer * 7 % 13;
          return state;
        });
        const uint32_t n = worker.value(computed);
        last = worker.chunks(n, 1, [&](uint32_t, uint32_t) { ++n_items[layer]; });
      }
    });
    for (uint32_t layer = 0; layer < 200; ++layer) ASSERT_EQ(n_items[layer], layer * 7 % 13);
  }
}

// More stages than a pool keeps.
TEST(ThreadPool, StagesAreForgottenWhenRoomIsNeeded) {
  ThreadPool pool(2, false);
  std::vector<uint32_t> chain(3 * Worker::kMaxStages + 1, 0);
  for (int run = 0; run < 3; ++run) {
    pool.run([&](Worker& worker) {
      Stage last = worker.compute({}, [&] { return chain[0] = 1; });
      for (uint32_t i = 1; i < chain.size(); ++i) {
        last = worker.make_room(2, last);
        last = worker.compute({last}, [&] { return chain[i] = chain[i - 1] + 1; });
      }
    });
    EXPECT_EQ(chain.back(), chain.size());
  }
}

// A worker that waits fetches ahead for the item it holds, piece after piece, until it is told that
// there is no more.
TEST(ThreadPool, WaitingWorkersFetchAhead) {
  ThreadPool pool(2, false);
  std::atomic<bool> fetched{false};
  uint32_t n_pieces = 0;
  pool.run([&](Worker& worker) {
    // The item of the first loop ends only when the other worker has fetched ahead for the second.
    const Stage slow = worker.chunks(1, 1, [&](uint32_t, uint32_t) {
      while (!fetched) std::this_thread::yield();
    });
    worker.chunks(
        {slow}, 2, 1, [&](uint32_t, uint32_t) {},
        [&](uint32_t begin, uint32_t end, uint32_t k) {
          EXPECT_EQ(end, begin + 1);
          EXPECT_EQ(k, n_pieces++);
          fetched = k == 4;
          return k < 4;
        });
  });
  EXPECT_EQ(n_pieces, 5u);
}

TEST(ThreadPool, ManyBarriersInOneRun) {
  ThreadPool pool(2);
  uint64_t total = 0;
  pool.run([&](Worker& worker) {
    for (int i = 0; i < 2000; ++i) {
      if (worker.index() == 0) ++total;
      worker.barrier();
      if (worker.index() == 1) ++total;
      worker.barrier();
    }
  });
  EXPECT_EQ(total, 4000u);
}

// A pool that follows another on the same thread, which is pinned by then, has all cores again.
TEST(ThreadPool, PinnedCallersLeaveTheirCoresToTheNextPool) {
  const auto workers_cpus = [](ThreadPool& pool) {
    std::vector<cpu_set_t> sets(pool.size());
    pool.run(
        [&](Worker& worker) { sched_getaffinity(0, sizeof(cpu_set_t), &sets[worker.index()]); });
    return sets;
  };
  const std::vector<int> cpus = physical_cpus();
  for (int round = 0; round < 2; ++round) {
    ThreadPool pool;
    ASSERT_EQ(pool.size(), cpus.size());
    const std::vector<cpu_set_t> sets = workers_cpus(pool);
    for (size_t i = 0; i < sets.size(); ++i) {
      EXPECT_EQ(CPU_COUNT(&sets[i]), 1);
      EXPECT_TRUE(CPU_ISSET(cpus[i], &sets[i]));
    }
  }
  EXPECT_EQ(physical_cpus(), cpus);
  ThreadPool free_pool(2, false);
  for (const cpu_set_t& set : workers_cpus(free_pool)) {
    for (const int cpu : cpus) EXPECT_TRUE(CPU_ISSET(cpu, &set));
  }
}

}  // namespace
}  // namespace floe
