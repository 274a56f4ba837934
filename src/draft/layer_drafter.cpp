#include "draft/layer_drafter.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "draft/confidence.h"

namespace floe {

namespace {

constexpr uint32_t kHeldRows = kMaxWaitingRows + 1;  // the next row's hidden state waits too

// One step's committed rows, what waited before them, and a draft of each sequence.
uint32_t max_gathered_rows(const DraftLimits& limits) {
  return limits.max_step_rows + limits.max_sequences * (kHeldRows + kMaxDraftTokens);
}

}  // namespace

uint64_t LayerDrafter::memory_bytes(const DraftLimits& limits, const RowFeatures& features) {
  const uint64_t n_rows = uint64_t{limits.max_sequences} * (kHeldRows + 1);
  return (n_rows + max_gathered_rows(limits)) * std::max(features.trunk_dim, features.chain_dim) *
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
  rows_.reserve(max_gathered_rows(limits));
  slots_.reserve(limits.max_sequences);
  chains_.reserve(limits.max_sequences);
  if (!takes_hidden()) return;
  FLOE_CHECK(memory_.size_bytes() >= memory_bytes(limits, features));
  waiting_ = reinterpret_cast<float*>(memory_.data());
  guesses_ = waiting_ + size_t{limits.max_sequences} * kHeldRows * features.trunk_dim;
  gathered_ = guesses_ + size_t{limits.max_sequences} * features.chain_dim;
}

const LayerDrafter::Progress& LayerDrafter::progress_of(SequenceId id) const {
  FLOE_CHECK(id < sequences_.size() && sequences_[id].in_use);
  return sequences_[id];
}

float* LayerDrafter::waiting_hidden(const Progress& progress, uint32_t i) {
  FLOE_CHECK(i < kHeldRows);
  const size_t index = static_cast<size_t>(&progress - sequences_.data());
  return waiting_ + (index * kHeldRows + i) * features_.trunk_dim;
}

float* LayerDrafter::guess_hidden(const Progress& progress) {
  return guesses_ + static_cast<size_t>(&progress - sequences_.data()) * features_.chain_dim;
}

void LayerDrafter::begin(SequenceId id, std::span<const int32_t> tokens, uint32_t n_cached,
                         std::span<const int32_t>) {
  FLOE_CHECK(id < sequences_.size() && !sequences_[id].in_use);
  Progress& progress = sequences_[id];
  progress = Progress{.in_use = true, .n_committed = n_cached};
  progress.n_given = static_cast<uint32_t>(tokens.size());
  progress.n_filled = std::max(n_cached, features_.first_position);
  // Nobody kept the hidden state of the last cached position; before position 0 there is none.
  if (takes_hidden()) std::fill_n(waiting_hidden(progress, 0), features_.trunk_dim, 0.0f);
}

void LayerDrafter::drop(SequenceId id) {
  progress_of(id).is_dropped = true;
}

void LayerDrafter::end(SequenceId id) {
  FLOE_CHECK(id < sequences_.size());
  sequences_[id].in_use = false;
}

uint32_t LayerDrafter::n_final(SequenceId id, uint32_t n_cached) const {
  const Progress& progress = progress_of(id);
  return is_followed(progress) ? std::min(progress.n_filled, n_cached) : n_cached;
}

uint32_t LayerDrafter::n_written(SequenceId id, uint32_t n_cached) const {
  const Progress& progress = progress_of(id);
  // What a forward that failed has left is unknown.
  return progress.has_failed ? 0 : std::min(progress.n_filled, n_cached);
}

void LayerDrafter::accept(std::span<const SequenceRows> step) {
  bool run = false;
  for (const SequenceRows& rows : step) {
    if (!rows.has_drafters || rows.n_committed == 0) continue;
    Progress& progress = progress_of(rows.sequence);
    if (!is_followed(progress)) continue;
    FLOE_CHECK(rows.first_position == progress.n_committed);
    const uint32_t end = rows.first_position + rows.n_committed;
    for (uint32_t i = 0; i < progress.n_guessed && progress.n_filled < end; ++i) {
      if (progress.guessed[i] != rows.tokens[progress.n_filled]) break;
      ++progress.n_filled;
    }
    progress.n_guessed = 0;
    run = run || end > progress.n_filled + kMaxWaitingRows;
    // Other choices of the request wait for the prompt to be final.
    run = run || (rows.first_position < progress.n_given && end >= progress.n_given);
  }
  // Where one sequence has to run its rows the others' cost little more. All hidden states are
  // copied before a forward overwrites them.
  for (const SequenceRows& rows : step) {
    if (!rows.has_drafters || rows.n_committed == 0) continue;
    Progress& progress = progress_of(rows.sequence);
    if (!is_followed(progress)) continue;
    if (run) {
      gather_waiting(progress, rows);
    } else {
      wait(progress, rows);
    }
  }
  run_gathered(nullptr, false);
}

void LayerDrafter::wait(Progress& progress, const SequenceRows& rows) {
  if (takes_hidden()) {
    const uint32_t n_held = progress.n_committed + 1 - progress.n_filled;
    FLOE_CHECK(n_held + rows.n_committed <= kHeldRows);
    std::memcpy(waiting_hidden(progress, n_held), features_of(rows),
                size_t{rows.n_committed} * features_.trunk_dim * sizeof(float));
  }
  progress.n_committed += rows.n_committed;
}

void LayerDrafter::gather_waiting(Progress& progress, const SequenceRows& rows) {
  const uint32_t end = rows.first_position + rows.n_committed;
  if (progress.n_filled < end) slots_.push_back({rows.slots.first(end)});
  for (uint32_t position = progress.n_filled; position < end; ++position) {
    const float* hidden = nullptr;
    if (takes_hidden()) {
      hidden = position <= rows.first_position
                   ? waiting_hidden(progress, position - progress.n_filled)
                   : features_of(rows) +
                         size_t{position - 1 - rows.first_position} * features_.trunk_dim;
    }
    gather(rows.tokens[position], position, hidden, false);
  }
  if (takes_hidden()) {
    std::memcpy(waiting_hidden(progress, 0),
                features_of(rows) + size_t{rows.n_committed - 1} * features_.trunk_dim,
                features_.trunk_dim * sizeof(float));
  }
  progress.n_filled = progress.n_committed = end;
}

void LayerDrafter::draft(std::span<SequenceRows> step, TokenChooser& chooser) {
  chains_.clear();
  for (SequenceRows& rows : step) {
    if (gather_for_draft(rows)) chains_.push_back({&rows, &progress_of(rows.sequence), false});
  }
  run_gathered(&chooser, false);
  while (gather_guesses()) run_gathered(&chooser, true);
}

// Everything that the layers have not seen, up to the token whose successor is wanted.
bool LayerDrafter::gather_for_draft(SequenceRows& rows) {
  // Guesses of somebody else come without the hidden states that a chain would need.
  if (rows.n_drafted() >= rows.n_wanted || (takes_hidden() && !rows.draft.empty())) return false;
  Progress& progress = progress_of(rows.sequence);
  FLOE_CHECK(!progress.is_dropped);
  if (progress.has_failed) return false;
  const uint32_t n_tokens = static_cast<uint32_t>(rows.tokens.size());
  FLOE_CHECK(n_tokens == progress.n_committed + 1);
  if (progress.n_filled == n_tokens) return false;  // the pending token's draft is made already
  slots_.push_back({rows.slots});
  for (uint32_t position = progress.n_filled; position < n_tokens; ++position) {
    gather(rows.tokens[position], position,
           takes_hidden() ? waiting_hidden(progress, position - progress.n_filled) : nullptr,
           false);
  }
  progress.n_filled = n_tokens;
  progress.n_guessed = 0;
  for (const DraftToken& guess : rows.draft) {
    gather(guess.token, n_tokens + progress.n_guessed, nullptr, false);
    progress.guessed[progress.n_guessed++] = guess.token;
  }
  rows_.back().wants_logits = true;
  return true;
}

// The last guess of each chain that goes on.
bool LayerDrafter::gather_guesses() {
  std::erase_if(chains_, [](const Chain& chain) { return chain.ended; });
  for (Chain& chain : chains_) {
    const SequenceRows& rows = *chain.rows;
    const int32_t token = rows.draft.back().token;
    slots_.push_back({rows.slots});
    gather(token, static_cast<uint32_t>(rows.tokens.size() + rows.draft.size()) - 1,
           takes_hidden() ? guess_hidden(*chain.progress) : nullptr, true);
    rows_.back().wants_logits = true;
    if (!takes_hidden()) chain.progress->guessed[chain.progress->n_guessed++] = token;
  }
  return !chains_.empty();
}

// A row of the sequence whose slots were added last.
void LayerDrafter::gather(int32_t token, uint32_t position, const float* hidden, bool chained) {
  FLOE_CHECK(rows_.size() < rows_.capacity());
  if (takes_hidden()) {
    const uint32_t dim = gathered_dim(chained);
    std::memcpy(gathered_ + rows_.size() * dim, hidden, dim * sizeof(float));
  }
  rows_.push_back({token, position, static_cast<uint32_t>(slots_.size()) - 1, false});
}

void LayerDrafter::run_gathered(TokenChooser* chooser, bool chained) {
  size_t n_taken = 0;
  for (size_t begin = 0; begin < rows_.size(); begin += max_batch_rows_) {
    const std::span<const ForwardRow> batch =
        std::span(rows_).subspan(begin, std::min<size_t>(max_batch_rows_, rows_.size() - begin));
    const Result<ForwardOutput> result =
        forward({batch, slots_, cache_, n_logits_},
                takes_hidden() ? gathered_ + begin * gathered_dim(chained) : nullptr, chained);
    if (!result.ok()) {
      give_up(result.error());
      break;
    }
    const ForwardOutput& output = result.value();
    count_reads(output.ledger);
    for (size_t i = 0; i < output.n_logit_rows; ++i) {
      take(chains_[n_taken++], *chooser, {output.logits + i * n_logits_, n_logits_},
           output.hidden + i * features_.chain_dim);
    }
  }
  rows_.clear();
  slots_.clear();
}

// What the layers have cached of the rows is unknown. Sequences that begin later are tried again.
void LayerDrafter::give_up(const Error& error) {
  spdlog::warn("no more guesses for the running sequences: {}", error.message);
  for (Progress& progress : sequences_) progress.has_failed = progress.in_use;
  chains_.clear();
}

void LayerDrafter::count_reads(const ByteLedger& ledger) {
  const uint64_t head_bytes = shares_head() ? ledger.head_bytes : 0;
  reads_.weight_bytes += ledger.total_bytes() - ledger.kv_bytes - head_bytes;
  reads_.head_bytes += head_bytes;
  reads_.kv_bytes += ledger.kv_bytes;
}

void LayerDrafter::take(Chain& chain, TokenChooser& chooser, std::span<const float> logits,
                        const float* hidden) {
  SequenceRows& rows = *chain.rows;
  chain.ended = true;
  const int32_t token = chooser.choose(rows, logits);
  if (token < 0 || static_cast<size_t>(token) >= logits.size()) return;
  const uint8_t level = confidence_level(softmax_probability(logits, token));
  rows.draft.push_back({token, source(), level});
  // What follows a guess that is hardly ever right is never right.
  chain.ended = level == 0 || rows.n_drafted() == rows.n_wanted;
  if (!chain.ended && takes_hidden()) {
    std::memcpy(guess_hidden(*chain.progress), hidden, features_.chain_dim * sizeof(float));
  }
}

}  // namespace floe
