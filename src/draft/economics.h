#pragma once
// Whether guesses pay: how many tokens to ask drafters for, and how many of their guesses become
// rows of the forward.
//
// Time per row comes from the model of what a forward costs, corrected by what steps took;
// acceptance from how often guesses of the same source and confidence were right, in use or on
// the side; a loss account bounds what speculation may cost against decoding without it.
// docs/speculation.md has the formulas and the constants.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "draft/decision.h"
#include "draft/drafter.h"
#include "draft/time_model.h"
#include "model/model.h"

namespace floe {

enum class SpecMode : uint8_t {
  off,       // no drafter is asked
  fixed,     // "on:K": up to K guesses of every sequence, whatever they cost
  adaptive,  // "auto": as many as pay
  report,    // decides as adaptive does and runs none: what auto would do
};

struct SpecPolicy {
  SpecMode mode = SpecMode::adaptive;
  uint32_t n_fixed = 0;    // K of "on:K", 1 .. kMaxDraftTokens
  double max_loss = 0.02;  // of the time that decoding without speculation takes
};

// "off", "on:K" ("on" is on:3), "auto", "report". ErrorKind::usage for anything else.
Result<SpecPolicy> parse_spec_policy(std::string_view text);
std::string to_string(const SpecPolicy& policy);

// A sequence that decodes in the step to come.
struct SpecCandidate {
  SequenceId sequence = 0;
  uint32_t position = 0;              // of its next row
  std::span<const DraftToken> draft;  // may be empty
  uint32_t n_verify = 0;              // out: the first n_verify guesses become rows
};

// Rows of the step that are not the candidates': prompts.
struct StepShape {
  uint32_t n_prompt_rows = 0;
  uint32_t max_draft_rows = 0;  // of the whole step
};

// What became of a candidate.
struct SpecOutcome {
  SequenceId sequence = 0;
  std::span<const DraftToken> draft;  // all guesses, verified or not
  uint32_t n_verified = 0;
  uint32_t n_accepted = 0;  // the first n_accepted of the verified ones
  std::span<const int32_t>
      committed;           // tokens that this step added: n_accepted + 1 unless it ended
  uint32_t first_row = 0;  // of the sequence's rows in the forward
  uint32_t n_sampled = 0;  // tokens that the step sampled, one that ended the sequence included
};

struct StepMeasure {
  uint32_t n_rows = 0;  // of the forward
  uint32_t n_prompt_rows = 0;
  double forward_seconds = 0;
  DraftSeconds draft_seconds{};  // what the drafters took, before and after it
  const ByteLedger* ledger = nullptr;
  std::span<const uint32_t>
      routing;  // u32 [MoE layer][n_rows][n_active_experts]; empty: not logged
};

// Not thread-safe. Allocates while it sees its first sequences, not in every step.
class Economics {
 public:
  // Without rates the cost of further rows is taken as that of the bytes they read until forwards
  // with guesses have been timed.
  Economics(const SpecPolicy& policy, const ModelInfo& model,
            std::optional<MachineRates> rates = std::nullopt);
  ~Economics();
  Economics(const Economics&) = delete;
  Economics& operator=(const Economics&) = delete;

  // shares_prompt: with other sequences, which may need what drafters cache for it. Otherwise a
  // drafter that costs and has not paid lately may have been given up from the first token on.
  void begin(SequenceId sequence, bool shares_prompt = false);
  void end(SequenceId sequence);

  // How many of the guesses that drafters before this one made for the sequence stay: all, or none
  // where this drafter's promise more. To be called before tokens_to_ask().
  uint32_t tokens_to_keep(SequenceId sequence, DraftSource source, bool is_free,
                          std::span<const DraftToken> draft);
  // How many tokens a drafter of this source should guess for the sequence in this step, beyond the
  // n_drafted that drafters before it guessed; the whole draft can have max_tokens. 0: it is not
  // asked. A free drafter is asked even where nothing will be verified: its guesses are scored
  // against what comes.
  uint32_t tokens_to_ask(SequenceId sequence, DraftSource source, bool is_free, uint32_t n_drafted,
                         uint32_t max_tokens);
  // Sets n_verify of every candidate.
  void allocate(std::span<SpecCandidate> candidates, const StepShape& shape);
  void observe(std::span<const SpecOutcome> outcomes, const StepMeasure& measure);
  // Whether a drafter that costs is not worth keeping up with the sequence any more. Once true, it
  // stays so, and tokens_to_ask() is 0.
  bool has_given_up(SequenceId sequence, DraftSource source) const;
  // Whether guesses of this source may become rows at present: of a free drafter unless speculation
  // is parked, of one that costs if besides the last plan for the batch gave it tokens and somebody
  // in the batch keeps it up. Asking it on the side is no use of it. While nobody decodes it keeps
  // its last value.
  bool lets_guess(DraftSource source, bool is_free) const;

  // Of the last step.
  SpecDecision decision(SequenceId sequence) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace floe
