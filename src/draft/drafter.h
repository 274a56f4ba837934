#pragma once
// A drafter guesses the tokens that follow. The forward verifies a guess as further rows of its
// batch: a wrong guess costs time and never changes a token.
//
// Drafters that run layers of their own keep what they cache in planes beside the trunk's: a
// position of a sequence has one slot, whoever caches there.
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace floe {

using SequenceId = uint64_t;  // unique for the life of an engine

// Who guessed. A prediction is text that the request itself supplied as its likely output.
enum class DraftSource : uint8_t { prompt_lookup, prediction, mtp, draft_model, eagle3 };
inline constexpr uint32_t kDraftSources = 5;
using DraftSeconds = std::array<double, kDraftSources>;  // by source
const char* to_string(DraftSource source);  // "ngram", "prediction", "mtp", "draft", "eagle3"

// How sure a drafter is, as a level of its own: only tokens of one source compare. Acceptance is
// estimated per level.
inline constexpr uint32_t kConfidenceLevels = 8;

struct DraftToken {
  int32_t token = 0;
  DraftSource source = DraftSource::prompt_lookup;
  uint8_t confidence = 0;  // 0 .. kConfidenceLevels - 1, higher is surer
};

inline constexpr uint32_t kMaxDraftTokens = 32;  // of one sequence in one step

// What a drafter has read since it was made. The embedding rows of an EAGLE-3 head, its own or the
// trunk's, are not counted.
struct DraftReads {
  uint64_t weight_bytes = 0;  // of its own
  uint64_t head_bytes = 0;    // lm_head and embedding rows that are the trunk's
  uint64_t kv_bytes = 0;
};

// Whether a drafter's guesses may become rows at present.
enum class DrafterState : uint8_t { absent, off, on };

// A sequence that decodes and wants guesses.
struct DraftTask {
  SequenceId sequence = 0;
  std::span<const int32_t> tokens;  // prompt and output; the last one is not cached yet
  std::span<const uint32_t> slots;  // of positions 0 .. tokens.size() - 1 + max_tokens
  uint32_t max_tokens = 0;          // of the whole draft
  // What drafters before this one guessed, in order; a drafter appends or leaves it.
  std::vector<DraftToken>* draft = nullptr;
};

// Rows of one sequence that a forward has computed and that stay: tokens of the prompt, or accepted
// ones.
struct CommittedRows {
  SequenceId sequence = 0;
  std::span<const int32_t> tokens;  // prompt and output, as long as they are known
  std::span<const uint32_t> slots;  // of the positions up to the last committed one
  uint32_t first_position = 0;
  uint32_t n_rows = 0;
  // f32 [n_rows][hidden_dim] after the output norm, as ForwardOutput::hidden; valid during the call
  const float* hidden = nullptr;
  // f32 [n_rows][kTaps * hidden_dim], as ForwardOutput::taps; null where the trunk gives none
  const float* taps = nullptr;
};

// The token that the engine would sample from a drafter's logits, with the sequence's own
// parameters and the random number of that position. Guesses chosen this way meet the verified
// token more often than the most likely ones where temperature is above 0.
class TokenChooser {
 public:
  virtual ~TokenChooser() = default;
  // The token after task.tokens and *task.draft. logits f32 [n_vocab], or fewer where the drafter
  // guesses only the first tokens of the vocabulary. -1: they are not finite.
  virtual int32_t choose(const DraftTask& task, std::span<const float> logits) = 0;
};

// Sequences come with begin() and go with end(); a preempted one ends and begins again. Not
// thread-safe. Allocates while it sees its first rows and sequences, not in every step.
class Drafter {
 public:
  virtual ~Drafter() = default;
  virtual DraftSource source() const = 0;
  // Whether a draft reads no weights, so that guessing costs microseconds.
  virtual bool is_free() const = 0;
  // tokens: prompt, and output where a preempted sequence comes back. n_cached: positions that were
  // found cached, and that accept() will not be called for. prediction: may be empty.
  virtual void begin(SequenceId sequence, std::span<const int32_t> tokens, uint32_t n_cached,
                     std::span<const int32_t> prediction) = 0;
  virtual void draft(std::span<DraftTask> tasks, TokenChooser& chooser) = 0;
  virtual void accept(std::span<const CommittedRows> rows) = 0;
  // No guess will be asked for again for this sequence: nothing needs to be kept up for it.
  virtual void rest(SequenceId sequence) { static_cast<void>(sequence); }
  virtual void end(SequenceId sequence) = 0;
  virtual DraftReads reads() const { return {}; }
  // Positions below it will not be written by this drafter any more. n_cached: the trunk's.
  virtual uint32_t n_settled(SequenceId sequence, uint32_t n_cached) const {
    static_cast<void>(sequence);
    return n_cached;
  }
};

}  // namespace floe
