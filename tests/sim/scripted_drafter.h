#pragma once
// A drafter that knows what the fake model will say, and lies as often as its script wants. It
// checks what the engine promises to drafters.
#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "draft/drafter.h"
#include "draft/factory.h"
#include "sim/fake_model.h"

namespace floe {

class ScriptedDrafter final : public Drafter {
 public:
  struct Script {
    std::function<bool()> lies;                   // the next guess is wrong
    std::function<uint32_t(uint32_t)> n_guesses;  // of at most so many
    std::function<uint32_t(uint32_t)> n_open;     // positions not final yet, of so many cached
    bool caches = false;  // it writes in every position's slot, and reads what it wrote to guess
  };
  ScriptedDrafter(const FakeModel& model, Script script)
      : model_(model), script_(std::move(script)), logits_(model.info().n_vocab) {}

  // The first broken promise of the engine, empty while there is none.
  const std::string& violation() const { return violation_; }
  uint64_t n_guesses() const { return n_guesses_; }
  size_t n_sequences() const { return cached_.size(); }

  DrafterKind kind() const override { return {DraftSource::draft_model, script_.caches}; }
  void begin(SequenceId sequence, std::span<const int32_t>, uint32_t n_cached,
             std::span<const int32_t>) override {
    const Known known{.n_cached = n_cached, .n_final = n_cached, .n_written = n_cached};
    if (!cached_.emplace(sequence, known).second) violate("begins twice");
  }
  void drop(SequenceId sequence) override {
    const auto known = cached_.find(sequence);
    if (known == cached_.end()) return violate("drops an unknown sequence");
    known->second.is_dropped |= script_.caches;
  }
  void end(SequenceId sequence) override {
    if (cached_.erase(sequence) != 1) violate("ends without a begin");
  }
  void accept(std::span<const SequenceRows> step) override {
    for (const SequenceRows& rows : step) {
      if (!rows.has_drafters || rows.n_committed == 0) continue;
      const auto known = cached_.find(rows.sequence);
      if (known == cached_.end()) return violate("rows of an unknown sequence");
      if (rows.first_position != known->second.n_cached) violate("a hole in the rows");
      known->second.n_cached += rows.n_committed;
      if (rows.slots.size() < known->second.n_cached) violate("rows without slots");
      if (rows.tokens.size() < known->second.n_cached) return violate("rows without tokens");
      FakeModel::State state;
      for (uint32_t p = 0; p < known->second.n_cached; ++p) {
        state = model_.next(state, rows.tokens[p], p);
        if (p < rows.first_position) continue;
        if (script_.caches && !known->second.is_dropped)
          written_[rows.slots[p]] = FakeModel::hidden(state);
        if (rows.hidden[p - rows.first_position] != FakeModel::hidden(state)) {
          violate("another row's hidden state");
        }
      }
      if (!known->second.is_dropped) known->second.n_written = known->second.n_cached;
    }
  }
  void draft(std::span<SequenceRows> step, TokenChooser& chooser) override {
    for (SequenceRows& rows : step) {
      if (rows.n_wanted <= rows.n_drafted()) continue;
      const auto known = cached_.find(rows.sequence);
      if (known == cached_.end()) return violate("a draft for an unknown sequence");
      if (known->second.n_cached + 1 != rows.tokens.size()) violate("not all rows were told");
      if (rows.slots.size() < rows.tokens.size() + rows.n_wanted - rows.n_drafted()) {
        violate("too few slots");
      }
      FakeModel::State state;
      uint32_t position = 0;
      if (known->second.is_dropped) violate("a draft of a sequence that was dropped");
      for (const int32_t token : rows.tokens) {
        state = model_.next(state, token, position);
        if (script_.caches && position < known->second.n_cached) {
          const auto written = written_.find(rows.slots[position]);
          if (written == written_.end() || written->second != FakeModel::hidden(state)) {
            violate("reads a slot that it did not write for these tokens");
          }
        }
        ++position;
      }
      for (uint32_t i = script_.n_guesses(rows.n_wanted - rows.n_drafted()); i > 0; --i) {
        model_.logits(state, logits_);
        int32_t token = chooser.choose(rows, logits_);
        if (token < 0) break;
        const auto n_vocab = static_cast<int32_t>(logits_.size());
        if (script_.lies()) token = (token + 1) % n_vocab;
        rows.draft.push_back({token, source(), static_cast<uint8_t>(i % kConfidenceLevels)});
        state = model_.next(state, token, position++);
        ++n_guesses_;
      }
    }
  }
  // Never takes back what it called final.
  uint32_t n_final(SequenceId sequence, uint32_t n_cached) const override {
    const auto known = cached_.find(sequence);
    if (known == cached_.end()) return n_cached;
    if (known->second.is_dropped) return n_cached;
    uint32_t& n_final = known->second.n_final;
    n_final = std::max(n_final, n_cached - script_.n_open(n_cached));
    return n_final;
  }
  uint32_t n_written(SequenceId sequence, uint32_t n_cached) const override {
    const auto known = cached_.find(sequence);
    return known == cached_.end() ? 0 : std::min(known->second.n_written, n_cached);
  }

 private:
  struct Known {
    uint32_t n_cached = 0;
    mutable uint32_t n_final = 0;
    uint32_t n_written = 0;
    bool is_dropped = false;
  };
  void violate(std::string what) {
    if (violation_.empty()) violation_ = "drafter: " + std::move(what);
  }

  const FakeModel& model_;
  Script script_;
  std::vector<float> logits_;
  std::map<SequenceId, Known> cached_;
  std::map<uint32_t, float> written_;  // by slot, what its keys and values were made from
  std::string violation_;
  uint64_t n_guesses_ = 0;
};

// drafter: where to look at it, may be null.
inline DrafterMaker scripted_drafters(const FakeModel& model, ScriptedDrafter::Script script,
                                      const ScriptedDrafter** drafter = nullptr) {
  return
      [&model, script, drafter](
          Model&, KvCache&, const DraftLimits&) -> Result<std::vector<std::unique_ptr<Drafter>>> {
        auto made = std::make_unique<ScriptedDrafter>(model, script);
        if (drafter != nullptr) *drafter = made.get();
        std::vector<std::unique_ptr<Drafter>> drafters;
        drafters.push_back(std::move(made));
        return drafters;
      };
}

}  // namespace floe
