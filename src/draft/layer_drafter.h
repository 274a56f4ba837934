#pragma once
// What drafters that run layers of their own have in common: which rows of a sequence their layers
// have not seen yet, and the chain in which every guess is fed back for the next.
//
// The layers run rows as the trunk does, a token at its position, and cache at the slot that the
// trunk has for that position. Rows that the trunk has committed wait until a draft is asked for or
// kMaxWaitingRows of a sequence have gathered; then those of all sequences run as one batch, so
// that a step without a draft reads no weights. What waits is bounded, and so is how far
// n_final() falls behind.
//
// A guess that is fed back is cached as well, at a position that nobody has committed. Attention
// reads no position beyond its own row's, and the row that is committed there runs before any later
// one: a wrong guess is overwritten before it is read.
//
// A sequence that was dropped leaves its later positions unwritten: nobody asks for its guesses
// again, and n_written() tells those who find its blocks.
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/memory.h"
#include "draft/drafter.h"
#include "draft/factory.h"
#include "model/model.h"

namespace floe {

// Of one sequence. More would make prompts wait, less would read the layers' weights more often
// while nobody asks.
inline constexpr uint32_t kMaxWaitingRows = 32;

// What a row takes along beside its token, made from what was computed at the position before it.
struct RowFeatures {
  uint32_t trunk_dim = 0;       // values of the trunk's; 0: rows are tokens alone
  uint32_t chain_dim = 0;       // of the drafter's own, in a chain
  uint32_t first_position = 0;  // rows at positions below it are not run
};

class LayerDrafter : public Drafter {
 public:
  void begin(SequenceId id, std::span<const int32_t> tokens, uint32_t n_cached,
             std::span<const int32_t> prediction) override;
  void draft(std::span<SequenceRows> step, TokenChooser& chooser) override;
  void accept(std::span<const SequenceRows> step) override;
  void drop(SequenceId id) override;
  void end(SequenceId id) override;
  DraftReads reads() const override { return reads_; }
  uint32_t n_final(SequenceId id, uint32_t n_cached) const override;
  uint32_t n_written(SequenceId id, uint32_t n_cached) const override;

 protected:
  // cache: where the layers cache, with the trunk's slot numbers. n_logits: of one row of
  // forward()'s logits. memory: memory_bytes() of it.
  LayerDrafter(const DraftLimits& limits, const RowFeatures& features, KvCache& cache,
               uint32_t n_logits, HugeBuffer memory);
  static uint64_t memory_bytes(const DraftLimits& limits, const RowFeatures& features);

  // The features that computed rows give to the rows after them: f32 [n_all_rows()][trunk_dim].
  virtual const float* features_of(const SequenceRows& rows) const { return rows.hidden; }
  // Runs the rows, at most max_step_rows of them, caching their keys and values. hidden: their
  // features, f32 [n_rows][trunk_dim], or where the rows are chained [n_rows][chain_dim] as
  // output.hidden of the rows before; null where trunk_dim is 0. Where it fails, sequences that
  // have begun get no more guesses; whether they go on is up to the trunk's own forwards.
  virtual Result<ForwardOutput> forward(const ForwardBatch& batch, const float* hidden,
                                        bool chained) = 0;
  // Whether the head that its ledgers count is the trunk's.
  virtual bool shares_head() const { return false; }

 private:
  // How far the layers are with a sequence.
  struct Progress {
    bool in_use = false;
    bool is_dropped = false;   // nothing is run for it any more
    bool has_failed = false;   // a forward, since it began: nothing is run for it either
    uint32_t n_given = 0;      // tokens that it began with
    uint32_t n_committed = 0;  // positions that the trunk has computed
    // Positions whose cached values are final, the pending token's among them once a draft ran it.
    uint32_t n_filled = 0;
    // Guesses cached from position n_filled on. They are true where the guess turns out right,
    // unless a hidden state belongs to the row: the guess was made with the drafter's own.
    uint32_t n_guessed = 0;
    std::array<int32_t, kMaxDraftTokens> guessed{};
  };
  struct Chain {
    SequenceRows* rows = nullptr;
    Progress* progress = nullptr;
    bool ended = false;
  };

  bool takes_hidden() const { return features_.trunk_dim != 0; }
  const Progress& progress_of(SequenceId id) const;
  Progress& progress_of(SequenceId id) {
    return const_cast<Progress&>(std::as_const(*this).progress_of(id));
  }
  // Of the row at position n_filled + i of a sequence. i = 0 .. n_committed - n_filled are there.
  float* waiting_hidden(const Progress& progress, uint32_t i);
  float* guess_hidden(const Progress& progress);
  void wait(Progress& progress, const SequenceRows& rows);
  // Rows are gathered for the next batch, then run.
  void gather_waiting(Progress& progress, const SequenceRows& rows);
  bool gather_for_draft(SequenceRows& rows);
  bool gather_guesses();
  void gather(int32_t token, uint32_t position, const float* hidden, bool chained);
  void run_gathered(TokenChooser* chooser, bool chained);
  void give_up(const Error& error);
  static bool is_followed(const Progress& progress) {
    return !progress.is_dropped && !progress.has_failed;
  }
  uint32_t gathered_dim(bool chained) const {
    return chained ? features_.chain_dim : features_.trunk_dim;
  }
  void take(Chain& chain, TokenChooser& chooser, std::span<const float> logits,
            const float* hidden);
  void count_reads(const ByteLedger& ledger);

  const RowFeatures features_;
  KvCache& cache_;
  const uint32_t n_logits_;
  const uint32_t max_batch_rows_;
  std::vector<Progress> sequences_;  // [max_sequences], by id

  std::vector<ForwardRow> rows_;  // gathered, those of one sequence one after the other
  std::vector<SequenceSlots> slots_;
  std::vector<Chain> chains_;  // in the order of their rows

  DraftReads reads_;
  HugeBuffer memory_;
  float* waiting_ = nullptr;   // f32 [max_sequences][kMaxWaitingRows + 1][trunk_dim]
  float* guesses_ = nullptr;   // f32 [max_sequences][chain_dim], of the next row of a chain
  float* gathered_ = nullptr;  // f32 [max_gathered_rows][trunk_dim or chain_dim]
};

}  // namespace floe
