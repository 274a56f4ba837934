#pragma once
// Counters and histograms of the engine, as one copyable snapshot.
#include <array>
#include <cstdint>
#include <span>

#include "draft/decision.h"
#include "draft/drafter.h"

namespace floe {

inline constexpr std::array<double, 20> kSecondsBounds = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,  0.15,  0.25,
    0.5,   0.75,   1.0,   2.5,  5.0,   10.0, 30.0,  60.0, 120.0, 300.0};
inline constexpr std::array<double, 16> kExpertsBounds = {1,  2,  4,  6,  8,   12,  16,  24,
                                                          32, 48, 64, 96, 128, 192, 256, 384};

// Fixed buckets, ready for Prometheus: counts[i] observations were <= bounds[i] (not cumulative),
// the last count is above every bound.
template <const auto& kBuckets>
struct HistogramOf {
  static constexpr auto& kBounds = kBuckets;
  std::array<uint64_t, kBuckets.size() + 1> counts{};
  uint64_t n_observations = 0;
  double sum = 0.0;

  void observe(double value);
};
using Histogram = HistogramOf<kSecondsBounds>;
using ExpertsHistogram = HistogramOf<kExpertsBounds>;

// Forwards by their number of rows: 1, 2, 3-4, 5-8, ... 65-128, more.
inline constexpr uint32_t kBatchBuckets = 9;
uint32_t batch_bucket(uint32_t n_rows);  // n_rows at least 1

// A choice that runs.
struct SequenceStats {
  uint64_t request = 0;  // its id
  uint32_t choice = 0;
  uint32_t slot = 0;      // below max_sequences; another choice's afterwards
  uint32_t n_prompt = 0;  // tokens
  uint32_t n_reused = 0;  // that were in the prefix cache when it last started to run
  uint32_t n_cached = 0;  // that are in the KV cache now
  uint32_t n_output = 0;
  uint32_t max_tokens = 0;  // of output
  bool is_drafting = false;
};

struct EngineStats {
  // Now.
  uint32_t n_waiting = 0;    // requests not started yet (those still in the inbox included)
  uint32_t n_running = 0;    // requests started and not ended
  uint32_t n_sequences = 0;  // choices in the running batch
  uint32_t n_drafting = 0;   // of those, by the state that speculation left them in: "draft"
  uint32_t n_parked = 0;     // and "parked"
  std::array<DrafterState, kDraftSources> drafters{};  // by source
  uint32_t n_kv_blocks = 0;
  uint32_t n_kv_blocks_used = 0;    // by running choices
  uint32_t n_kv_blocks_cached = 0;  // by nobody: kept for prompts that begin alike
  uint64_t kv_block_bytes = 0;      // of one, in all caches of the trunk
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
  uint64_t n_cached_tokens = 0;     // of those, found in the prefix cache
  uint64_t n_prefix_hits = 0;       // admitted choices that found a part of their prompt there
  uint64_t n_prefix_misses = 0;     // and those that found none of it
  uint64_t n_kv_evictions = 0;      // cached blocks that gave way
  uint64_t n_generated_tokens = 0;  // sent to sinks
  uint32_t n_tokens_max = 0;        // of one sequence that were cached at a time
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
  std::array<DraftReads, kDraftSources> draft_reads{};  // by source, beyond what the ledger counted
  uint64_t n_drafts = 0;  // drafts of which at least one guess became a row
  std::array<uint64_t, kDraftSources> n_drafted{};  // guesses that became rows, by DraftSource
  std::array<uint64_t, kDraftSources> n_draft_accepted{};
  std::array<uint64_t, kMaxDraftTokens> drafted_by_position{};   // guesses that became rows
  std::array<uint64_t, kMaxDraftTokens> accepted_by_position{};  // [i]: the (i+1)th of its draft
  double draft_seconds = 0.0;
  // A sequence began or ceased to speculate, by SpecReason.
  std::array<uint64_t, kSpecReasons> n_spec_switches{};

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
  // Distinct experts, mean over the MoE layers of a forward, by batch_bucket() of its rows.
  std::array<ExpertsHistogram, kBatchBuckets> experts_union;
};

}  // namespace floe
