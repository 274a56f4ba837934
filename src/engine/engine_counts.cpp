#include <algorithm>

#include "base/time_between.h"
#include "engine/engine_impl.h"

namespace floe {

void Engine::Impl::count_step(const ForwardOutput& output, std::span<const SequenceRows> step,
                              int64_t begin_ns) {
  const ByteLedger& ledger = output.ledger;
  telemetry_.n_rows = static_cast<uint32_t>(rows_.size());
  telemetry_.n_sequences = static_cast<uint32_t>(step.size());
  telemetry_.n_draft_rows = 0;
  telemetry_.predicted_seconds = 0.0;
  for (const SequenceRows& rows : step) {
    telemetry_.n_draft_rows += rows.n_verify;
    if (!rows.decodes() || !rows.has_drafters) continue;
    telemetry_.predicted_seconds = verify_.decision(scheduler_.sequence_of(rows)).predicted_seconds;
  }
  telemetry_.experts_union_mean = ledger.mean_union();
  telemetry_.total_bytes = ledger.total_bytes();
  telemetry_.routed_bytes = ledger.routed_bytes;
  telemetry_.seconds = seconds_between(begin_ns, now_ns_);
  telemetry_.gb_s = telemetry_.seconds > 0.0
                        ? static_cast<double>(telemetry_.total_bytes) / telemetry_.seconds * 1e-9
                        : 0.0;

  bool has_prompt_rows = false;
  uint32_t n_scored_rows = 0;
  for (const SequenceRows& rows : step) {
    const Sequence& sequence = scheduler_.sequence_of(rows);
    n_scored_rows += rows.n_scored;
    has_prompt_rows |= sequence.n_cached < sequence.n_prompt;
    if (sequence.n_cached < sequence.n_highest_cached) {
      stats_.n_recomputed_tokens +=
          std::min(rows.n_rows, sequence.n_highest_cached - sequence.n_cached);
    }
  }
  ++stats_.n_steps;
  stats_.n_rows += telemetry_.n_rows;
  stats_.n_decode_rows += output.n_logit_rows - telemetry_.n_draft_rows - n_scored_rows;
  stats_.step_seconds += telemetry_.seconds;
  (has_prompt_rows ? stats_.prefill_seconds : stats_.decode_seconds) += telemetry_.seconds;
  stats_.attention_bytes += ledger.attention_bytes;
  stats_.dense_bytes += ledger.dense_bytes;
  stats_.shared_bytes += ledger.shared_bytes;
  stats_.routed_bytes += ledger.routed_bytes;
  stats_.head_bytes += ledger.head_bytes;
  stats_.kv_bytes += ledger.kv_bytes;
  stats_.last_gb_s = telemetry_.gb_s;
  stats_.last_union_mean = telemetry_.experts_union_mean;
  stats_.last_rows = telemetry_.n_rows;
  stats_.step.observe(telemetry_.seconds);
  if (ledger.n_moe_layers != 0) {
    stats_.experts_union[batch_bucket(telemetry_.n_rows)].observe(telemetry_.experts_union_mean);
  }
}

void Engine::Impl::count_decode_step(Sequence& sequence) {
  ChoiceTelemetry& sums = sequence.telemetry;
  ++sums.n_steps;
  sequence.n_telemetry_rows += telemetry_.n_rows;
  sequence.sum_telemetry_union += telemetry_.experts_union_mean;
  sums.total_bytes += telemetry_.total_bytes;
  sums.routed_bytes += telemetry_.routed_bytes;
  sums.seconds += telemetry_.seconds;
}

void Engine::Impl::count_guesses(Sequence& sequence, const SequenceRows& rows) {
  ChoiceTelemetry& sums = sequence.telemetry;
  if (!sequence.known_to_drafters) {
    sums.spec_state = "off";
    sums.spec_reason = SpecReason::not_wanted;
    return;
  }
  const SpecDecision decision = verify_.decision(sequence);
  const bool was_drafting = sequence.drafting;
  sequence.drafting = rows.n_verify != 0;
  // The step of the last token that there may be has no room for a guess.
  const bool has_room = sequence.n_output() + 1 < sequence.max_tokens;
  stats_.n_spec_switches[static_cast<size_t>(decision.reason)] +=
      has_room && sequence.drafting != was_drafting ? 1 : 0;
  stats_.n_drafts += sequence.drafting ? 1 : 0;
  sums.spec_state = decision.state;
  sums.spec_reason = decision.reason;
  sums.predicted_seconds += telemetry_.predicted_seconds;
  sums.n_predicted_steps += telemetry_.predicted_seconds > 0.0 ? 1 : 0;
  sums.n_drafted += rows.n_verify;
  for (size_t i = 0; i < rows.n_verify; ++i) {
    const DraftToken& guess = rows.draft[i];
    ++stats_.n_drafted[static_cast<size_t>(guess.source)];
    ++stats_.drafted_by_position[i];
    // Until it turns out to be right.
    sums.n_predicted_rejected += guess.source == DraftSource::prediction ? 1 : 0;
  }
}

void Engine::Impl::count_accepted(Sequence& sequence, const DraftToken& guess, uint32_t position) {
  ++sequence.telemetry.n_accepted;
  ++stats_.n_draft_accepted[static_cast<size_t>(guess.source)];
  ++stats_.accepted_by_position[position];
  if (guess.source != DraftSource::prediction) return;
  ++sequence.telemetry.n_predicted_accepted;
  --sequence.telemetry.n_predicted_rejected;
}

TokenEvent Engine::Impl::event_of(const Sequence& sequence) const {
  const RequestState& request = *sequence.request;
  TokenEvent event;
  event.request = request.id;
  event.choice = sequence.choice;
  event.request_done = request.n_open == 0;
  event.counts = TokenCounts{sequence.n_prompt, sequence.n_prompt_cached, sequence.n_output()};
  if (!sequence.was_admitted) {
    event.timings.queue_ms = ms_between(request.arrival_ns, now_ns_);
  } else {
    event.timings.queue_ms = ms_between(request.arrival_ns, sequence.admit_ns);
    const int64_t prefill_end_ns = sequence.first_token_ns != 0 ? sequence.first_token_ns : now_ns_;
    event.timings.prefill_ms = ms_between(sequence.admit_ns, prefill_end_ns);
    event.timings.decode_ms = ms_between(prefill_end_ns, now_ns_);
    event.step = telemetry_;
  }
  event.telemetry = sequence.telemetry;
  if (event.telemetry.n_steps > 0) {
    const auto n_steps = static_cast<double>(event.telemetry.n_steps);
    event.telemetry.batch_mean = static_cast<double>(sequence.n_telemetry_rows) / n_steps;
    event.telemetry.experts_union_mean = sequence.sum_telemetry_union / n_steps;
    if (event.telemetry.seconds > 0.0) {
      event.telemetry.gb_s =
          static_cast<double>(event.telemetry.total_bytes) / event.telemetry.seconds * 1e-9;
    }
  }
  return event;
}

void Engine::Impl::list_running(std::vector<SequenceStats>& out) const {
  out.clear();
  for (const Sequence* sequence : scheduler_.running()) {
    SequenceStats& stats = out.emplace_back();
    stats.request = sequence->request->id;
    stats.choice = sequence->choice;
    stats.slot = sequence->id;
    stats.n_prompt = sequence->n_prompt;
    stats.n_reused = sequence->n_reused;
    stats.n_cached = sequence->n_cached;
    stats.n_output = sequence->n_output();
    stats.max_tokens = sequence->max_tokens;
    stats.is_drafting = sequence->drafting;
  }
}

EngineStats Engine::Impl::stats() const {
  EngineStats stats = stats_;
  admission_.count(stats);
  stats.n_waiting = n_unstarted_;  // also those that came through a thread's admission
  stats.n_running = static_cast<uint32_t>(requests_.size()) - n_unstarted_;
  stats.n_sequences = static_cast<uint32_t>(scheduler_.running().size());
  for (const Sequence* sequence : scheduler_.running()) {
    stats.n_drafting += sequence->drafting ? 1 : 0;
    stats.n_parked += sequence->telemetry.spec_reason == SpecReason::parked ? 1 : 0;
  }
  stats.drafters = verify_.drafter_states();
  stats.n_kv_blocks = scheduler_.pool().n_blocks();
  stats.n_kv_blocks_used = scheduler_.pool().n_used();
  stats.n_kv_blocks_cached = scheduler_.pool().n_cached();
  stats.kv_block_bytes = cache_->block_bytes();
  stats.n_kv_evictions = scheduler_.pool().n_evictions();
  stats.max_sequences = options_.max_sequences;
  stats.max_waiting = options_.max_waiting;
  stats.draining = draining_;
  stats.n_preemptions = scheduler_.n_preemptions();
  return stats;
}

}  // namespace floe
