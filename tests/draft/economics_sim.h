#pragma once
// A machine and texts in virtual time, to drive the controller through its public interface: the
// bytes of a pruned GLM (77 experts, 8 active; a dense part of 9.86 GB, 1.239 GB for one expert in
// every MoE layer), a router that likes to stay, guesses that are right with a known probability.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "draft/economics.h"

namespace floe {

// Experts of consecutive tokens of one text, in several layers: an expert stays for the next token
// with probability `stay`, and is drawn by popularity else.
class StickyRouter {
 public:
  StickyRouter(uint32_t n_layers, uint32_t n_experts, uint32_t n_active, double stay,
               uint64_t seed);
  // u32 [layer][n_active] of the token at `position`.
  const std::vector<uint32_t>& at(uint32_t position);

 private:
  double uniform() { return static_cast<double>(mix64(state_++) >> 11) * 0x1p-53; }
  uint32_t n_layers_, n_experts_, n_active_;
  double stay_;
  uint64_t state_;
  std::vector<double> popularity_;  // cumulative
  std::vector<std::vector<uint32_t>> tokens_;
};

struct SimDrafter {
  DraftSource source = DraftSource::prompt_lookup;
  bool runs_layers = false;
  double cost = 0;  // of a token, in plain steps of one sequence
  // Probability that the guess for the token at this position of this sequence is right, given that
  // the guesses before it are.
  std::function<double(uint32_t sequence, uint32_t position)> acceptance;
  // Of that guess; may be empty: always 0.
  std::function<uint8_t(uint32_t sequence, uint32_t position)> confidence;
  // Where not empty, instead of acceptance: of the first guess of a draft, the second, ..., and the
  // last value of all later ones.
  std::vector<double> by_place = {};
  // As cost, of a committed row: a drafter that is not asked leaves up to 32 of them waiting.
  double cost_of_row = 0;
};

struct SimOptions {
  SpecPolicy policy;
  std::optional<MachineRates> rates;  // told to the controller
  uint32_t n_sequences = 1;
  uint32_t n_tokens = 20000;  // of each
  uint32_t max_draft = 8;
  double noise = 0.03;         // standard deviation of a forward's time
  double verify_surprise = 1;  // forwards with guesses take this much longer than their bytes say
  double expert_bytes = 1.239e9;  // 0: a dense model
  double overhead = 0;            // seconds of a forward beside its bytes
  double macs_per_second = 1e30;  // of all kernels
  std::vector<SimDrafter> drafters;
  uint64_t seed = 1;
  std::function<void(uint32_t step, double* seconds)> disturb;  // may be empty
};

struct SimResult {
  double seconds = 0;
  double n_tokens = 0;
  uint64_t n_steps = 0, n_verified = 0, n_accepted = 0;
  std::vector<double> token_seconds;    // when the i-th token of all sequences came
  std::vector<uint64_t> n_accepted_of;  // by sequence
  double tokens_per_second() const { return n_tokens / seconds; }
  // The slowest stretch of this many tokens, in tokens per second.
  double slowest(uint32_t n_window) const;
};

SimResult simulate(const SimOptions& options);

}  // namespace floe
