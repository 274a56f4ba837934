// sim_test [--seeds N] [--seed K]
//   --seeds N  runs seeds 0 .. N-1 (default 10000, or FLOE_SIM_SEEDS; sanitizer builds 1000)
//   --seed K   replays one seed and prints its setup and counts
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "sim/simulator.h"

namespace floe::sim {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kDefaultSeeds = 1000;
#else
constexpr uint64_t kDefaultSeeds = 10000;
#endif

uint64_t first_seed = 0;
uint64_t n_seeds = kDefaultSeeds;
bool replays_one = false;
std::atomic<uint64_t> current_seed{0};

// A broken invariant aborts inside a seed: say which, with async-signal-safe calls only.
void on_abort(int) {
  char line[64] = "sim_test: replay with --seed ";
  size_t length = std::strlen(line);
  char digits[24];
  size_t n_digits = 0;
  uint64_t seed = current_seed.load();
  do {
    digits[n_digits++] = static_cast<char>('0' + seed % 10);
    seed /= 10;
  } while (seed != 0);
  while (n_digits > 0) line[length++] = digits[--n_digits];
  line[length++] = '\n';
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line, length);
  std::signal(SIGABRT, SIG_DFL);
}

TEST(Simulation, EverySeedHoldsEveryOracle) {
  std::signal(SIGABRT, on_abort);
  SimulationResult sum;
  int n_failures = 0;
  for (uint64_t seed = first_seed; seed < first_seed + n_seeds && n_failures < 5; ++seed) {
    current_seed = seed;
    SeededDecisions decisions(seed);
    const SimulationResult result = simulate(decisions);
    if (!result.failure.empty()) {
      ADD_FAILURE() << result.failure << "\n  " << result.setup << "\n  replay: sim_test --seed "
                    << seed;
      ++n_failures;
    }
    if (replays_one) std::printf("%s\n", result.setup.c_str());
    sum.n_steps += result.n_steps;
    sum.n_rows += result.n_rows;
    sum.n_requests += result.n_requests;
    sum.n_tokens += result.n_tokens;
    sum.n_preemptions += result.n_preemptions;
    sum.n_cancelled += result.n_cancelled;
    sum.n_errors += result.n_errors;
    sum.n_stopped += result.n_stopped;
    sum.n_shared_prompt_tokens += result.n_shared_prompt_tokens;
    sum.n_reused_prompt_tokens += result.n_reused_prompt_tokens;
    sum.n_refused += result.n_refused;
    sum.n_drafted += result.n_drafted;
    sum.n_accepted += result.n_accepted;
    sum.n_paused += result.n_paused;
  }
  std::signal(SIGABRT, SIG_DFL);
  const auto count = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf(
      "%llu seeds: %llu steps, %llu rows, %llu requests (%llu refused), %llu tokens, "
      "%llu preemptions; choices: %llu cancelled, %llu stopped, %llu errors; "
      "%llu prompt tokens shared, %llu with other requests; %llu of %llu guesses accepted\n",
      count(n_seeds), count(sum.n_steps), count(sum.n_rows), count(sum.n_requests),
      count(sum.n_refused), count(sum.n_tokens), count(sum.n_preemptions), count(sum.n_cancelled),
      count(sum.n_stopped), count(sum.n_errors), count(sum.n_shared_prompt_tokens),
      count(sum.n_reused_prompt_tokens), count(sum.n_accepted), count(sum.n_drafted));
  if (n_seeds < 200 || n_failures > 0) return;
  // The seeds reach what they are meant to reach.
  EXPECT_GT(sum.n_preemptions, n_seeds);
  EXPECT_GT(sum.n_cancelled, n_seeds / 4);
  EXPECT_GT(sum.n_stopped, n_seeds / 4);
  EXPECT_GT(sum.n_errors, n_seeds / 20);
  EXPECT_GT(sum.n_shared_prompt_tokens, n_seeds / 4);
  EXPECT_GT(sum.n_reused_prompt_tokens, n_seeds * 2);
  EXPECT_GT(sum.n_refused, n_seeds / 20);
  EXPECT_GT(sum.n_accepted, n_seeds);
  EXPECT_GT(sum.n_paused, n_seeds / 4);
  EXPECT_GT(sum.n_drafted - sum.n_accepted, n_seeds);
}

TEST(Simulation, ASeedReplaysExactly) {
  for (const uint64_t seed : {3u, 17u, 92u}) {
    SeededDecisions one(seed);
    SeededDecisions two(seed);
    const SimulationResult first = simulate(one);
    const SimulationResult second = simulate(two);
    EXPECT_EQ(first.setup, second.setup);
    EXPECT_EQ(first.n_steps, second.n_steps);
    EXPECT_EQ(first.n_rows, second.n_rows);
    EXPECT_EQ(first.n_preemptions, second.n_preemptions);
    EXPECT_EQ(first.n_tokens, second.n_tokens);
  }
}

uint64_t number_after(const char* flag, int& i, int argc, char** argv) {
  if (i + 1 >= argc) {
    std::fprintf(stderr, "sim_test: %s needs a number\n", flag);
    std::exit(2);
  }
  char* end = nullptr;
  const uint64_t value = std::strtoull(argv[++i], &end, 10);
  if (*end != '\0' || end == argv[i]) {
    std::fprintf(stderr, "sim_test: %s needs a number, found '%s'\n", flag, argv[i]);
    std::exit(2);
  }
  return value;
}

void read_flags(int argc, char** argv) {
  if (const char* seeds = std::getenv("FLOE_SIM_SEEDS"))
    n_seeds = std::strtoull(seeds, nullptr, 10);
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--seeds") == 0) {
      n_seeds = number_after("--seeds", i, argc, argv);
    } else if (std::strcmp(argv[i], "--first") == 0) {
      first_seed = number_after("--first", i, argc, argv);
    } else if (std::strcmp(argv[i], "--seed") == 0) {
      first_seed = number_after("--seed", i, argc, argv);
      n_seeds = 1;
      replays_one = true;
    } else {
      std::fprintf(stderr, "sim_test: unknown flag %s\n", argv[i]);
      std::exit(2);
    }
  }
}

}  // namespace
}  // namespace floe::sim

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  floe::sim::read_flags(argc, argv);
  return RUN_ALL_TESTS();
}
