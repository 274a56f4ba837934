#pragma once
// A drafter guesses the tokens that follow. The forward verifies a guess as further rows of its
// batch: a wrong guess costs time and never changes a token.
//
// Drafters that run layers of their own keep what they cache in planes beside the trunk's: a
// position of a sequence has one slot, whoever caches there.
#include <array>
#include <cstdint>
#include <span>

#include "draft/sequence_rows.h"

namespace floe {

using DraftSeconds = std::array<double, kDraftSources>;  // by source

// What a drafter has read since it was made. The embedding rows of an EAGLE-3 head, its own or the
// trunk's, are not counted.
struct DraftReads {
  uint64_t weight_bytes = 0;  // of its own
  uint64_t head_bytes = 0;    // lm_head and embedding rows that are the trunk's
  uint64_t kv_bytes = 0;
};

// Whether a drafter's guesses may become rows at present.
enum class DrafterState : uint8_t { absent, off, on };

struct DrafterKind {
  DraftSource source = DraftSource::prompt_lookup;
  // A guess reads weights and takes a good part of a step, and what the layers cache of a position
  // is in its block. Otherwise it takes microseconds, and nothing is cached.
  bool runs_layers = false;
};

// The token that the engine would sample from a drafter's logits, with the sequence's own
// parameters and the random number of that position. Guesses chosen this way meet the verified
// token more often than the most likely ones where temperature is above 0.
class TokenChooser {
 public:
  virtual ~TokenChooser() = default;
  // The token after rows.tokens and rows.draft. logits f32 [n_vocab], or fewer where the drafter
  // guesses only the first tokens of the vocabulary. -1: they are not finite.
  virtual int32_t choose(const SequenceRows& rows, std::span<const float> logits) = 0;
};

// Sequences come with begin() and go with end(); a preempted one ends and begins again. Not
// thread-safe. Allocates while it sees its first rows and sequences, not in every step.
class Drafter {
 public:
  virtual ~Drafter() = default;
  virtual DrafterKind kind() const = 0;
  DraftSource source() const { return kind().source; }
  // tokens: prompt, and output where a preempted sequence comes back. n_cached: positions that were
  // found cached, and that accept() will not be called for. prediction: may be empty.
  virtual void begin(SequenceId sequence, std::span<const int32_t> tokens, uint32_t n_cached,
                     std::span<const int32_t> prediction) = 0;
  // Extends the drafts of the rows that have less than n_wanted tokens, or leaves them. Those rows
  // have one known token, which is not cached yet, and slots for n_wanted tokens after it.
  virtual void draft(std::span<SequenceRows> step, TokenChooser& chooser) = 0;
  // The forward has computed the first n_committed of each sequence's rows, and they stay: tokens
  // of the prompt, or accepted guesses. Sequences without drafters are passed over. hidden and taps
  // are valid during the call.
  virtual void accept(std::span<const SequenceRows> step) = 0;
  // No guess will be asked for again for this sequence: its rows need not be followed.
  virtual void drop(SequenceId sequence) { static_cast<void>(sequence); }
  // Also where begin() ran out of memory, or was not reached for that.
  virtual void end(SequenceId sequence) = 0;
  virtual DraftReads reads() const { return {}; }
  // Positions below it will not be written by this drafter any more. n_cached: the trunk's.
  virtual uint32_t n_final(SequenceId sequence, uint32_t n_cached) const {
    static_cast<void>(sequence);
    return n_cached;
  }
  // Positions below it hold what this drafter's layers cache of them: as n_final(), but for a
  // sequence that was dropped, whose later positions stay unwritten.
  virtual uint32_t n_written(SequenceId sequence, uint32_t n_cached) const {
    static_cast<void>(sequence);
    return n_cached;
  }
};

}  // namespace floe
