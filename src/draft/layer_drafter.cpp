#include "draft/layer_drafter.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "draft/confidence.h"

namespace floe {

namespace {

constexpr uint32_t kHeldRows = kMaxWaitingRows + 1;  // the next row's hidden state waits too

// One step's committed rows, what waited before them, and a draft of each sequence.
uint32_t max_staged_rows(const DraftLimits& limits) {
  return limits.max_step_rows + limits.max_sequences * (kHeldRows + kMaxDraftTokens);
}

}  // namespace

uint64_t LayerDrafter::memory_bytes(const DraftLimits& limits, const RowFeatures& features) {
  const uint64_t n_rows = uint64_t{limits.max_sequences} * (kHeldRows + 1);
  return (n_rows + max_staged_rows(limits)) * std::max(features.trunk_dim, features.chain_dim) *
         sizeof(float);
}

LayerDrafter::LayerDrafter(const DraftLimits& limits, const RowFeatures& features, KvCache& cache,
                           uint32_t n_logits, HugeBuffer memory)
    : features_(features),
      cache_(cache),
      n_logits_(n_logits),
      max_batch_rows_(limits.max_step_rows),
      sequences_(limits.max_sequences),
      memory_(std::move(memory)) {
  rows_.reserve(max_staged_rows(limits));
  slots_.reserve(limits.max_sequences);
  chains_.reserve(limits.max_sequences);
  if (!takes_hidden()) return;
  FLOE_CHECK(memory_.size_bytes() >= memory_bytes(limits, features));
  waiting_ = reinterpret_cast<float*>(memory_.data());
  guesses_ = waiting_ + size_t{limits.max_sequences} * kHeldRows * features.trunk_dim;
  staged_ = guesses_ + size_t{limits.max_sequences} * features.chain_dim;
}

const LayerDrafter::Sequence& LayerDrafter::find(SequenceId id) const {
  const auto found = std::find_if(sequences_.begin(), sequences_.end(),
                                  [&](const Sequence& s) { return s.in_use && s.id == id; });
  FLOE_CHECK(found != sequences_.end());
  return *found;
}

float* LayerDrafter::waiting_hidden(const Sequence& sequence, uint32_t i) {
  FLOE_CHECK(i < kHeldRows);
  const size_t index = static_cast<size_t>(&sequence - sequences_.data());
  return waiting_ + (index * kHeldRows + i) * features_.trunk_dim;
}

float* LayerDrafter::guess_hidden(const Sequence& sequence) {
  return guesses_ + static_cast<size_t>(&sequence - sequences_.data()) * features_.chain_dim;
}

void LayerDrafter::begin(SequenceId id, std::span<const int32_t> tokens, uint32_t n_cached,
                         std::span<const int32_t>) {
  const auto found = std::find_if(sequences_.begin(), sequences_.end(),
                                  [](const Sequence& s) { return !s.in_use; });
  FLOE_CHECK(found != sequences_.end());
  *found = Sequence{.id = id, .in_use = true, .n_committed = n_cached};
  found->n_given = static_cast<uint32_t>(tokens.size());
  found->n_filled = std::max(n_cached, features_.first_position);
  // Nobody kept the hidden state of the last cached position; before position 0 there is none.
  if (takes_hidden()) std::fill_n(waiting_hidden(*found, 0), features_.trunk_dim, 0.0f);
}

void LayerDrafter::rest(SequenceId id) {
  find(id).rests = true;
}

void LayerDrafter::end(SequenceId id) {
  find(id).in_use = false;
}

uint32_t LayerDrafter::n_settled(SequenceId id, uint32_t n_cached) const {
  const Sequence& sequence = find(id);
  return sequence.rests ? n_cached : std::min(sequence.n_filled, n_cached);
}

void LayerDrafter::accept(std::span<const CommittedRows> committed) {
  bool run = false;
  for (const CommittedRows& rows : committed) {
    Sequence& sequence = find(rows.sequence);
    if (sequence.rests) continue;
    FLOE_CHECK(rows.first_position == sequence.n_committed && rows.n_rows != 0);
    const uint32_t end = rows.first_position + rows.n_rows;
    for (uint32_t i = 0; i < sequence.n_guessed && sequence.n_filled < end; ++i) {
      if (sequence.guessed[i] != rows.tokens[sequence.n_filled]) break;
      ++sequence.n_filled;
    }
    sequence.n_guessed = 0;
    run = run || end > sequence.n_filled + kMaxWaitingRows;
    // Other choices of the request wait for the prompt to be final.
    run = run || (rows.first_position < sequence.n_given && end >= sequence.n_given);
  }
  // Where one sequence has to run its rows the others' cost little more. All hidden states are
  // copied before a forward overwrites them.
  for (const CommittedRows& rows : committed) {
    Sequence& sequence = find(rows.sequence);
    if (sequence.rests) continue;
    if (run) {
      stage_waiting(sequence, rows);
    } else {
      wait(sequence, rows);
    }
  }
  run_staged(nullptr, false);
}

void LayerDrafter::wait(Sequence& sequence, const CommittedRows& rows) {
  if (takes_hidden()) {
    const uint32_t n_held = sequence.n_committed + 1 - sequence.n_filled;
    FLOE_CHECK(n_held + rows.n_rows <= kHeldRows);
    std::memcpy(waiting_hidden(sequence, n_held), features_of(rows),
                size_t{rows.n_rows} * features_.trunk_dim * sizeof(float));
  }
  sequence.n_committed += rows.n_rows;
}

void LayerDrafter::stage_waiting(Sequence& sequence, const CommittedRows& rows) {
  const uint32_t end = rows.first_position + rows.n_rows;
  if (sequence.n_filled < end) slots_.push_back({rows.slots});
  for (uint32_t position = sequence.n_filled; position < end; ++position) {
    const float* hidden = nullptr;
    if (takes_hidden()) {
      hidden = position <= rows.first_position
                   ? waiting_hidden(sequence, position - sequence.n_filled)
                   : features_of(rows) +
                         size_t{position - 1 - rows.first_position} * features_.trunk_dim;
    }
    stage(rows.tokens[position], position, hidden, false);
  }
  if (takes_hidden()) {
    std::memcpy(waiting_hidden(sequence, 0),
                features_of(rows) + size_t{rows.n_rows - 1} * features_.trunk_dim,
                features_.trunk_dim * sizeof(float));
  }
  sequence.n_filled = sequence.n_committed = end;
}

void LayerDrafter::draft(std::span<DraftTask> tasks, TokenChooser& chooser) {
  chains_.clear();
  for (DraftTask& task : tasks) {
    if (stage_task(task)) chains_.push_back({&task, &find(task.sequence), false});
  }
  run_staged(&chooser, false);
  while (stage_guesses()) run_staged(&chooser, true);
}

// Everything that the layers have not seen, up to the token whose successor is wanted.
bool LayerDrafter::stage_task(DraftTask& task) {
  const size_t n_guessed = task.draft->size();
  // Guesses of somebody else come without the hidden states that a chain would need.
  if (n_guessed >= task.max_tokens || (takes_hidden() && n_guessed != 0)) return false;
  Sequence& sequence = find(task.sequence);
  FLOE_CHECK(!sequence.rests);
  const uint32_t n_tokens = static_cast<uint32_t>(task.tokens.size());
  FLOE_CHECK(n_tokens == sequence.n_committed + 1);
  if (sequence.n_filled == n_tokens) return false;  // the pending token's draft is made already
  slots_.push_back({task.slots});
  for (uint32_t position = sequence.n_filled; position < n_tokens; ++position) {
    stage(task.tokens[position], position,
          takes_hidden() ? waiting_hidden(sequence, position - sequence.n_filled) : nullptr, false);
  }
  sequence.n_filled = n_tokens;
  sequence.n_guessed = 0;
  for (const DraftToken& guess : *task.draft) {
    stage(guess.token, n_tokens + sequence.n_guessed, nullptr, false);
    sequence.guessed[sequence.n_guessed++] = guess.token;
  }
  rows_.back().wants_logits = true;
  return true;
}

// The last guess of each chain that goes on.
bool LayerDrafter::stage_guesses() {
  std::erase_if(chains_, [](const Chain& chain) { return chain.ended; });
  for (Chain& chain : chains_) {
    const DraftTask& task = *chain.task;
    const int32_t token = task.draft->back().token;
    slots_.push_back({task.slots});
    stage(token, static_cast<uint32_t>(task.tokens.size() + task.draft->size()) - 1,
          takes_hidden() ? guess_hidden(*chain.sequence) : nullptr, true);
    rows_.back().wants_logits = true;
    if (!takes_hidden()) chain.sequence->guessed[chain.sequence->n_guessed++] = token;
  }
  return !chains_.empty();
}

// A row of the sequence whose slots were added last.
void LayerDrafter::stage(int32_t token, uint32_t position, const float* hidden, bool chained) {
  FLOE_CHECK(rows_.size() < rows_.capacity());
  if (takes_hidden()) {
    const uint32_t dim = staged_dim(chained);
    std::memcpy(staged_ + rows_.size() * dim, hidden, dim * sizeof(float));
  }
  rows_.push_back({token, position, static_cast<uint32_t>(slots_.size()) - 1, false});
}

void LayerDrafter::run_staged(TokenChooser* chooser, bool chained) {
  size_t n_taken = 0;
  for (size_t begin = 0; begin < rows_.size(); begin += max_batch_rows_) {
    const std::span<const ForwardRow> batch =
        std::span(rows_).subspan(begin, std::min<size_t>(max_batch_rows_, rows_.size() - begin));
    const ForwardOutput output =
        forward({batch, slots_, cache_, n_logits_},
                takes_hidden() ? staged_ + begin * staged_dim(chained) : nullptr, chained);
    count_reads(output.ledger);
    for (size_t i = 0; i < output.n_logit_rows; ++i) {
      take(chains_[n_taken++], *chooser, {output.logits + i * n_logits_, n_logits_},
           output.hidden + i * features_.chain_dim);
    }
  }
  rows_.clear();
  slots_.clear();
}

void LayerDrafter::count_reads(const ByteLedger& ledger) {
  const uint64_t head_bytes = shares_head() ? ledger.head_bytes : 0;
  reads_.weight_bytes += ledger.total_bytes() - ledger.kv_bytes - head_bytes;
  reads_.head_bytes += head_bytes;
  reads_.kv_bytes += ledger.kv_bytes;
}

void LayerDrafter::take(Chain& chain, TokenChooser& chooser, std::span<const float> logits,
                        const float* hidden) {
  const DraftTask& task = *chain.task;
  chain.ended = true;
  const int32_t token = chooser.choose(task, logits);
  if (token < 0 || static_cast<size_t>(token) >= logits.size()) return;
  const uint8_t level = confidence_level(softmax_probability(logits, token));
  task.draft->push_back({token, source(), level});
  // What follows a guess that is hardly ever right is never right.
  chain.ended = level == 0 || task.draft->size() == task.max_tokens;
  if (!chain.ended && takes_hidden()) {
    std::memcpy(guess_hidden(*chain.sequence), hidden, features_.chain_dim * sizeof(float));
  }
}

}  // namespace floe
