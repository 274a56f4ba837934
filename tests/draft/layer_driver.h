#pragma once
// The bundled model and a drafter driven by hand, greedily, in the order the engine keeps: draft,
// forward, accept.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "draft/factory.h"
#include "model/harness.h"

namespace floe::test {

// The most likely token; at places that wrong_every divides (0: nowhere) another one.
class GreedyChooser final : public TokenChooser {
 public:
  explicit GreedyChooser(uint32_t wrong_every = 0) : wrong_every_(wrong_every) {}
  static bool is_wrong(uint32_t wrong_every, size_t place) {
    return wrong_every != 0 && place % wrong_every == 0;
  }
  int32_t choose(const SequenceRows& rows, std::span<const float> logits) override {
    const bool wrong = is_wrong(wrong_every_, rows.tokens.size() + rows.draft.size());
    return static_cast<int32_t>((argmax(logits) + (wrong ? 1 : 0)) % logits.size());
  }

 private:
  const uint32_t wrong_every_;
};

struct DrivenSequence {
  SequenceId id = 0;
  std::vector<int32_t> tokens;
  std::vector<uint32_t> slots;
  uint32_t n_cached = 0;
  std::vector<float> hidden;  // f32 [n_cached][hidden_dim]
  std::vector<float> taps;    // f32 [n_cached][kTaps * hidden_dim], where the trunk gives them
  // By the number of tokens that were there when the draft was made.
  std::map<uint32_t, std::vector<DraftToken>> drafts;
};

// Of a sequence that wants a draft of n_wanted tokens, the first of which others have guessed.
SequenceRows asking_rows(const DrivenSequence& sequence, uint32_t n_wanted,
                         std::vector<DraftToken> draft = {});
// The next n_rows rows of a sequence, which stay.
SequenceRows committed_rows(const DrivenSequence& sequence, uint32_t n_rows, const float* hidden,
                            const float* taps = nullptr);

struct DriveOptions {
  uint32_t chunk = 512;     // rows of a prompt in one forward
  uint32_t max_tokens = 4;  // of a draft
  uint32_t n_verify = 0;    // guesses that become rows
  uint32_t every = 1;       // a draft is asked for in one step of so many
  uint32_t n_new = 60;      // tokens of every sequence
  uint32_t wrong_every = 0;
};

class LayerDriver {
 public:
  // Greedy answers of the bundled model to these are long, and some repeat what was asked.
  static std::vector<std::vector<int32_t>> prompts();
  static std::string model_path();
  static std::unique_ptr<LayerDriver> start(uint32_t max_step_rows = 256,
                                            std::optional<TapLayers> tap_layers = std::nullopt);

  LoadedModel& trunk() { return trunk_; }
  const DraftLimits& limits() const { return limits_; }
  void use(const DrafterSetup& choice);
  Drafter& drafter() { return *drafter_; }

  DrivenSequence make(std::span<const int32_t> tokens);
  // From position n_cached on; ends with the token behind the last row where that is a new one.
  void prefill(DrivenSequence& sequence, uint32_t chunk);
  // asks: whether this step asks for drafts.
  void step(std::span<DrivenSequence> sequences, const DriveOptions& options, bool asks);
  // All prompts together, from begin to end.
  std::vector<DrivenSequence> drive(std::span<const std::vector<int32_t>> prompts,
                                    const DriveOptions& options);
  void release(DrivenSequence& sequence);
  // What the second of two guesses behind a prompt costs: one row, with logits.
  DraftReads reads_of_a_guess(std::span<const int32_t> prompt);
  // Commits rows and asks for drafts, with pauses in which rows wait. hidden: of the rows' trunk,
  // or null.
  void expect_no_allocations(std::span<const int32_t> prompt, const float* hidden);

 private:
  LoadedModel trunk_;
  DraftLimits limits_;
  std::unique_ptr<Drafter> drafter_;
  uint32_t n_made_ = 0;
};

// Drafts of each prompt alone, against those made together and with rows that wait, guesses that
// become rows, and more rows than a forward takes. start: a new driver with a drafter.
void expect_drafts_of_tokens_alone(
    const std::function<LayerDriver*(uint32_t max_step_rows)>& start);

// Compares the drafts that both made at the same place; returns how many there were.
uint32_t expect_equal_drafts(const DrivenSequence& a, const DrivenSequence& b);

}  // namespace floe::test
