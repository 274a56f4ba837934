#pragma once
// The real engine on a fake model and a virtual clock, driven by decisions that one integer (or one
// byte string) determines completely. After every step all invariants of block ownership are
// checked; every token is compared with the closed form when it is sent.
#include <cstdint>
#include <span>
#include <string>

#include "base/rng.h"

namespace floe::sim {

// Where the simulator takes every decision from.
class Decisions {
 public:
  virtual ~Decisions() = default;
  // 0 .. bound - 1. 0 is always the quietest decision.
  virtual uint64_t below(uint64_t bound) = 0;
  // No more decisions: the run should come to its end.
  virtual bool exhausted() const { return false; }

  bool one_in(uint64_t n) { return below(n) == n - 1; }
  uint32_t between(uint32_t low, uint32_t high) {
    return low + static_cast<uint32_t>(below(uint64_t{high} - low + 1));
  }
};

class SeededDecisions final : public Decisions {
 public:
  explicit SeededDecisions(uint64_t seed) : rng_(mix64(seed)) {}
  uint64_t below(uint64_t bound) override { return rng_.below(bound); }

 private:
  Rng rng_;
};

// One byte per decision (two where the bound needs them); zeros after the end.
class ByteDecisions final : public Decisions {
 public:
  explicit ByteDecisions(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  uint64_t below(uint64_t bound) override;
  bool exhausted() const override { return next_ >= bytes_.size(); }

 private:
  std::span<const uint8_t> bytes_;
  size_t next_ = 0;
};

struct SimulationResult {
  std::string failure;  // empty: every oracle held
  std::string setup;    // the options and requests, one line
  uint64_t n_steps = 0;
  uint64_t n_rows = 0;
  uint64_t n_requests = 0;
  uint64_t n_tokens = 0;
  uint64_t n_preemptions = 0;
  uint64_t n_cancelled = 0;
  uint64_t n_errors = 0;
  uint64_t n_stopped = 0;
  uint64_t n_shared_prompt_tokens = 0;
  uint64_t n_reused_prompt_tokens = 0;  // of those, of requests with one choice
  uint64_t n_refused = 0;
  uint64_t n_drafted = 0;   // guesses verified
  uint64_t n_accepted = 0;  // of those
  uint64_t n_paused = 0;    // readers that fell behind
};

SimulationResult simulate(Decisions& decisions);

}  // namespace floe::sim
