#include "draft/spec_history.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace floe {

namespace {

// Guesses that will hardly ever be reached are not worth a look.
constexpr double kLeastReach = 0.01;
constexpr uint32_t kPromptSamples = 16;

}  // namespace

SpecHistory::SpecHistory(const ModelInfo& model, std::optional<MachineRates> rates)
    : router_(model.n_layers, model.n_experts, model.n_active_experts),
      cost_(std::move(rates)),
      rows_(router_),
      priced_rows_(router_) {}

SequenceHistory& SpecHistory::begin(SequenceId id) {
  while (sequences_.size() <= id) {
    sequences_.push_back(std::make_unique<SequenceHistory>());
    const size_t n = sequences_.size();
    cost_.reserve(static_cast<uint32_t>(n));
    plain_steps_.reserve(static_cast<uint32_t>(n));
    decoding_.reserve(n);
    guesses_.reserve(n * kMaxDraftTokens);
    forward_seconds_.reserve(n * kMaxDraftTokens);
    rows_.reserve(static_cast<uint32_t>(n));
    priced_rows_.reserve(static_cast<uint32_t>(n));
  }
  SequenceHistory& sequence = *sequences_[id];
  RouterMemory memory = std::move(sequence.router);
  sequence = SequenceHistory{};
  sequence.router = std::move(memory);
  router_.begin(sequence.router);
  sequence.is_live = true;
  return sequence;
}

void SpecHistory::end(SequenceId id) {
  SequenceHistory* sequence = find(id);
  if (sequence == nullptr) return;
  sequence->is_live = false;
  n_ended_ += std::exchange(sequence->in_batch, false) ? 1 : 0;
}

void SpecHistory::begin_step(std::span<const SequenceRows> step) {
  each_in_batch([](SequenceHistory& sequence) { sequence.in_batch = false; });
  decoding_.clear();
  n_ended_ = 0;
  n_prompt_rows_ = 0;
  n_positions_ = 0;
  for (uint32_t i = 0; i < step.size(); ++i) {
    const SequenceRows& rows = step[i];
    if (!rows.decodes()) {
      n_prompt_rows_ += rows.n_rows;
      continue;
    }
    SequenceHistory* sequence = find(rows.sequence);
    decoding_.push_back({i, sequence});
    n_positions_ += rows.first_position + 1;
    if (sequence == nullptr) continue;
    sequence->in_batch = true;
    sequence->decision = {};
  }
  plain_steps_.reserve(n_decoding());
  has_basis_ = n_decoding() != 0 && cost_.knows_any();
  if (!has_basis_) return;
  rows_.reset(n_decoding());
  basis_ = cost_.basis(n_decoding(), n_positions_, rows_.experts_union());
}

template <typename Add>
void SpecHistory::each_chance(const SequenceHistory& sequence, std::span<const DraftToken> draft,
                              Add&& add) const {
  RecentOutcomes recent = recent_outcomes(sequence.acceptance);
  double reach = 1;
  for (uint32_t k = 0; k < draft.size(); ++k) {
    uint8_t& bits = recent[static_cast<size_t>(draft[k].source)];
    reach *=
        acceptance_.probability(sequence.acceptance, draft[k].source, draft[k].confidence, bits, k);
    if (!add(reach)) return;
    bits = Acceptance::push(bits, true);
  }
}

std::span<const ListedGuess> SpecHistory::list_guesses(std::span<const SequenceRows> step) {
  guesses_.clear();
  for (uint32_t i = 0; i < decoding_.size(); ++i) {
    const Decoding& one = decoding_[i];
    if (one.history == nullptr) continue;
    const std::span<const DraftToken> draft = step[one.row_index].draft;
    each_chance(*one.history, draft.first(std::min<size_t>(draft.size(), kMaxDraftTokens)),
                [&](double reach) {
                  if (reach < kLeastReach) return false;
                  guesses_.push_back({reach, i});
                  return true;
                });
  }
  sort_by_reach(guesses_);
  return guesses_;
}

std::span<const ListedGuess> SpecHistory::list_guesses_of(DraftSource source, uint32_t n_tokens) {
  guesses_.clear();
  for (uint32_t i = 0; i < decoding_.size(); ++i) {
    const SequenceHistory* sequence = decoding_[i].history;
    if (sequence == nullptr || !sequence->in_batch) continue;
    if (sequence->drafters[static_cast<size_t>(source)].is_dropped) continue;
    uint8_t recent = sequence->acceptance.of_source[static_cast<size_t>(source)].recent;
    double reach = 1;
    for (uint32_t k = 0; k < n_tokens; ++k) {
      reach *= acceptance_.probability(sequence->acceptance, source, Acceptance::kAnyConfidence,
                                       recent, k);
      recent = Acceptance::push(recent, true);
      guesses_.push_back({reach, i});
    }
  }
  sort_by_reach(guesses_);
  return guesses_;
}

double SpecHistory::expected_tokens(const SequenceHistory& sequence,
                                    std::span<const DraftToken> draft, uint32_t n_guesses) const {
  double sum = 0;
  each_chance(sequence, draft.first(std::min<size_t>(draft.size(), n_guesses)), [&](double reach) {
    sum += reach;
    return true;
  });
  return sum;
}

std::span<const double> SpecHistory::forward_seconds(std::span<const ListedGuess> guesses) {
  forward_seconds_.clear();
  priced_rows_.reset(n_decoding());
  for (const ListedGuess& guess : guesses) {
    priced_rows_.add(guess.index);
    forward_seconds_.push_back(
        cost_.seconds(basis_, priced_rows_.n_rows(), priced_rows_.experts_union()));
  }
  return forward_seconds_;
}

double SpecHistory::seconds_of(std::span<const SequenceRows> step) {
  priced_rows_.reset(n_decoding());
  for (uint32_t i = 0; i < decoding_.size(); ++i) {
    const uint32_t n_guesses = step[decoding_[i].row_index].n_verify;
    for (uint32_t k = 0; k < n_guesses; ++k) priced_rows_.add(i);
  }
  return cost_.seconds(basis_, priced_rows_.n_rows(), priced_rows_.experts_union());
}

void SpecHistory::learn(std::span<const SequenceRows> step, const StepMeasure& measure,
                        double predicted_seconds) {
  uint32_t n_rows = 0, n_guesses = 0;
  for (const SequenceRows& rows : step) {
    n_rows += rows.n_all_rows();
    n_guesses += rows.n_verify;
  }
  rows_.reset(n_decoding());
  for (uint32_t i = 0; i < decoding_.size(); ++i) {
    FLOE_CHECK(decoding_[i].row_index < step.size());
    const uint32_t n_own = step[decoding_[i].row_index].n_verify;
    for (uint32_t k = 0; k < n_own; ++k) rows_.add(i);
  }
  for (const Decoding& one : decoding_) {
    if (one.history == nullptr) continue;
    const SequenceRows& rows = step[one.row_index];
    one.history->shadows.score(acceptance_, one.history->acceptance, rows.draft, rows.new_tokens());
    router_.commit(one.history->router, measure.routing, n_rows, rows.first_row,
                   rows.n_accepted + 1);
  }
  if (n_prompt_rows_ == 0) {
    if (n_decoding() != 0) learn_from_decoding(measure, n_guesses, predicted_seconds);
  } else if (has_many_prompt_rows(n_prompt_rows_)) {
    prompt_row_seconds_.add(measure.forward_seconds / n_rows, kPromptSamples);
  }
}

void SpecHistory::learn_from_decoding(const StepMeasure& measure, uint32_t n_guesses,
                                      double predicted_seconds) {
  const uint32_t n_sequences = n_decoding();
  const ByteLedger nothing;
  const ByteLedger& ledger = measure.ledger != nullptr ? *measure.ledger : nothing;
  if (rows_.n_rows() > 1) {
    router_.observe_union(rows_.none_chosen(), n_sequences > 1, ledger.mean_union());
  }
  if (n_guesses == 0) {
    cost_.observe_plain(n_sequences, n_positions_, ledger.mean_union(), measure.forward_seconds,
                        ledger);
    plain_steps_.plain_step(n_sequences);
    return;
  }
  plain_steps_.verified_step(n_sequences);
  if (!has_basis_) return;
  if (cost_.observe_verify(basis_, rows_.n_rows(), predicted_seconds, measure.forward_seconds)) {
    plain_steps_.time_anew(n_sequences);
  }
}

}  // namespace floe
