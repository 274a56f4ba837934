#include "draft/speculation.h"

#include <algorithm>

#include "base/error.h"
#include "base/time_between.h"

namespace floe {

namespace {

// Adds the time that it lives to a sum of seconds.
class Stopwatch {
 public:
  Stopwatch(const Clock& clock, double* seconds)
      : clock_(clock), seconds_(seconds), begin_ns_(clock.now_ns()) {}
  ~Stopwatch() { *seconds_ += seconds_between(begin_ns_, clock_.now_ns()); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  const Clock& clock_;
  double* seconds_;
  int64_t begin_ns_;
};

}  // namespace

void Speculation::begin(SequenceId sequence, std::span<const int32_t> tokens, uint32_t n_cached,
                        const std::array<uint32_t, kDraftSources>& n_written,
                        std::span<const int32_t> prediction, bool shares_prompt) {
  economics_.begin(sequence, shares_prompt);
  for (const auto& drafter : drafters_) {
    drafter->begin(sequence, tokens, n_cached, prediction);
    const bool lacks_some = n_written[static_cast<size_t>(drafter->source())] < n_cached;
    if (drafter->kind().runs_layers && lacks_some) economics_.drop(sequence, drafter->source());
  }
  drop_drafters(sequence);
}

void Speculation::end(SequenceId sequence) {
  for (const auto& drafter : drafters_) drafter->end(sequence);
  economics_.end(sequence);
}

void Speculation::propose(std::span<SequenceRows> step, uint32_t max_draft_rows,
                          TokenChooser& chooser) {
  draft_seconds_ = {};
  for (const auto& drafter : drafters_) {
    const Stopwatch stopwatch(clock_, seconds_of(*drafter));
    const DrafterKind kind = drafter->kind();
    bool is_asked = false;
    for (SequenceRows& rows : step) {
      rows.n_wanted = 0;
      if (!rows.decodes() || !rows.has_drafters) continue;
      rows.draft.resize(economics_.tokens_to_keep(rows, kind));
      const uint32_t n_asked = economics_.tokens_to_ask(rows, kind);
      const bool is_dropped = kind.runs_layers && economics_.is_dropped(rows.sequence, kind.source);
      if (n_asked == 0 || is_dropped) continue;
      rows.n_wanted = rows.n_drafted() + n_asked;
      is_asked = true;
    }
    if (is_asked) drafter->draft(step, chooser);
  }
  for (const SequenceRows& rows : step) FLOE_CHECK(rows.n_drafted() <= rows.max_draft);
  economics_.allocate(step, max_draft_rows);
  for (const SequenceRows& rows : step) FLOE_CHECK(rows.n_verify <= rows.n_drafted());
}

void Speculation::accept(std::span<const SequenceRows> step) {
  for (const auto& drafter : drafters_) {
    const Stopwatch stopwatch(clock_, seconds_of(*drafter));
    drafter->accept(step);
  }
}

void Speculation::learn(std::span<const SequenceRows> step, StepMeasure measure) {
  measure.draft_seconds = draft_seconds_;
  economics_.observe(step, measure);
  for (const SequenceRows& rows : step) {
    if (rows.decodes() && rows.has_drafters) drop_drafters(rows.sequence);
  }
}

void Speculation::drop_drafters(SequenceId sequence) {
  for (const auto& drafter : drafters_) {
    if (economics_.is_dropped(sequence, drafter->source())) drafter->drop(sequence);
  }
}

std::array<DraftReads, kDraftSources> Speculation::reads() const {
  std::array<DraftReads, kDraftSources> reads{};
  for (const auto& drafter : drafters_) {
    reads[static_cast<size_t>(drafter->source())] = drafter->reads();
  }
  return reads;
}

std::array<DrafterState, kDraftSources> Speculation::drafter_states() const {
  std::array<DrafterState, kDraftSources> states{};
  for (const auto& drafter : drafters_) {
    const bool on = economics_.lets_guess(drafter->kind());
    states[static_cast<size_t>(drafter->source())] = on ? DrafterState::on : DrafterState::off;
  }
  return states;
}

std::array<uint32_t, kDraftSources> Speculation::n_written(SequenceId sequence,
                                                           uint32_t n_cached) const {
  std::array<uint32_t, kDraftSources> n_written{};
  for (const auto& drafter : drafters_) {
    n_written[static_cast<size_t>(drafter->source())] = drafter->n_written(sequence, n_cached);
  }
  return n_written;
}

uint32_t Speculation::n_final(SequenceId sequence, uint32_t n_cached) const {
  uint32_t n = n_cached;
  for (const auto& drafter : drafters_) n = std::min(n, drafter->n_final(sequence, n_cached));
  return n;
}

}  // namespace floe
