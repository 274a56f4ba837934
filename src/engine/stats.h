#pragma once
// Counters and histograms of the engine, as one copyable snapshot.
#include <array>
#include <cstdint>
#include <span>

#include "draft/drafter.h"

namespace floe {

// Fixed buckets, ready for Prometheus: counts[i] observations were <= bounds[i] (not cumulative),
// the last count is above every bound.
struct Histogram {
  static constexpr std::array<double, 20> kBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075,
                                                     0.1,   0.15,   0.25,  0.5,  0.75,  1.0,  2.5,
                                                     5.0,   10.0,   30.0,  60.0, 120.0, 300.0};
  std::array<uint64_t, kBounds.size() + 1> counts{};
  uint64_t n_observations = 0;
  double sum = 0.0;

  void observe(double seconds);
};

struct EngineStats {
  // Now.
  uint32_t n_waiting = 0;    // requests not started yet (those still in the inbox included)
  uint32_t n_running = 0;    // requests started and not ended
  uint32_t n_sequences = 0;  // choices in the running batch
  uint32_t n_drafting = 0;   // of those, by the state that speculation left them in: "draft"
  uint32_t n_parked = 0;     // and "parked"
  uint32_t n_kv_blocks = 0;
  uint32_t n_kv_blocks_used = 0;
  uint32_t max_sequences = 0;
  uint32_t max_waiting = 0;
  bool draining = false;

  // Since start.
  uint64_t n_accepted = 0;
  uint64_t n_refused_queue_full = 0;
  uint64_t n_refused_invalid = 0;
  uint64_t n_finished_stop = 0;  // choices, by finish reason
  uint64_t n_finished_length = 0;
  uint64_t n_finished_cancelled = 0;
  uint64_t n_finished_error = 0;
  uint64_t n_requests_done = 0;
  uint64_t n_prompt_tokens = 0;     // of admitted choices, each with its whole prompt
  uint64_t n_cached_tokens = 0;     // of those, already cached: by a sibling choice
  uint64_t n_generated_tokens = 0;  // sent to sinks
  uint64_t n_preemptions = 0;
  uint64_t n_recomputed_tokens = 0;  // rows computed again after a preemption
  uint64_t n_steps = 0;
  uint64_t n_rows = 0;           // rows of all forwards
  uint64_t n_decode_rows = 0;    // of those, rows that give a token whatever is guessed
  double step_seconds = 0.0;     // summed over steps
  double prefill_seconds = 0.0;  // steps that held prompt rows
  double decode_seconds = 0.0;   // steps of decode rows only
  uint64_t attention_bytes = 0;  // what the ledger counted, summed
  uint64_t dense_bytes = 0;
  uint64_t shared_bytes = 0;
  uint64_t routed_bytes = 0;
  uint64_t head_bytes = 0;
  uint64_t kv_bytes = 0;
  uint64_t draft_bytes = 0;
  uint64_t n_drafts = 0;  // drafts of which at least one guess became a row
  std::array<uint64_t, kDraftSources> n_drafted{};  // guesses that became rows, by DraftSource
  std::array<uint64_t, kDraftSources> n_draft_accepted{};
  std::array<uint64_t, kMaxDraftTokens> drafted_by_position{};   // guesses that became rows
  std::array<uint64_t, kMaxDraftTokens> accepted_by_position{};  // [i]: the (i+1)th of its draft
  double draft_seconds = 0.0;
  uint64_t n_spec_switches = 0;  // a sequence began or ceased to speculate

  // The last step.
  double last_gb_s = 0.0;
  double last_union_mean = 0.0;
  uint32_t last_rows = 0;

  Histogram time_to_first_token;  // seconds, per choice
  Histogram inter_token;
  Histogram end_to_end;
  Histogram queue;
  Histogram prefill;
  Histogram decode;
  Histogram step;
};

}  // namespace floe
