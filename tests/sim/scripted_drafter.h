#pragma once
// A drafter that knows what the fake model will say, and lies as often as its script wants. It
// checks what the engine promises to drafters.
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
    std::function<bool()> lies;                     // the next guess is wrong
    std::function<uint32_t(uint32_t)> n_guesses;    // of at most so many
    std::function<uint32_t(uint32_t)> n_unsettled;  // positions not final yet, of so many cached
  };
  ScriptedDrafter(const FakeModel& model, Script script)
      : model_(model), script_(std::move(script)), logits_(model.info().n_vocab) {}

  // The first broken promise of the engine, empty while there is none.
  const std::string& violation() const { return violation_; }
  uint64_t n_guesses() const { return n_guesses_; }
  size_t n_sequences() const { return cached_.size(); }

  DraftSource source() const override { return DraftSource::draft_model; }
  bool is_free() const override { return true; }
  void begin(SequenceId sequence, std::span<const int32_t>, uint32_t n_cached,
             std::span<const int32_t>) override {
    if (!cached_.emplace(sequence, Known{n_cached, n_cached}).second) violate("begins twice");
  }
  void end(SequenceId sequence) override {
    if (cached_.erase(sequence) != 1) violate("ends without a begin");
  }
  void accept(std::span<const CommittedRows> rows) override {
    for (const CommittedRows& committed : rows) {
      const auto known = cached_.find(committed.sequence);
      if (known == cached_.end()) return violate("rows of an unknown sequence");
      if (committed.first_position != known->second.n_cached) violate("a hole in the rows");
      known->second.n_cached += committed.n_rows;
      if (committed.slots.size() != known->second.n_cached) violate("slots and rows differ");
      if (committed.tokens.size() < known->second.n_cached) return violate("rows without tokens");
      FakeModel::State state;
      for (uint32_t p = 0; p < known->second.n_cached; ++p) {
        state = model_.next(state, committed.tokens[p], p);
        if (p < committed.first_position) continue;
        if (committed.hidden[p - committed.first_position] != FakeModel::hidden(state)) {
          violate("another row's hidden state");
        }
      }
    }
  }
  void draft(std::span<DraftTask> tasks, TokenChooser& chooser) override {
    for (const DraftTask& task : tasks) {
      const auto known = cached_.find(task.sequence);
      if (known == cached_.end()) return violate("a draft for an unknown sequence");
      if (known->second.n_cached + 1 != task.tokens.size()) violate("not all rows were told");
      if (task.slots.size() < task.tokens.size() + task.max_tokens - task.draft->size()) {
        violate("too few slots");
      }
      FakeModel::State state;
      uint32_t position = 0;
      for (const int32_t token : task.tokens) state = model_.next(state, token, position++);
      const auto n_room = task.max_tokens - static_cast<uint32_t>(task.draft->size());
      for (uint32_t i = script_.n_guesses(n_room); i > 0; --i) {
        model_.logits(state, logits_);
        int32_t token = chooser.choose(task, logits_);
        if (token < 0) break;
        const auto n_vocab = static_cast<int32_t>(logits_.size());
        if (script_.lies()) token = (token + 1) % n_vocab;
        task.draft->push_back({token, source(), static_cast<uint8_t>(i % kConfidenceLevels)});
        state = model_.next(state, token, position++);
        ++n_guesses_;
      }
    }
  }
  // Never takes back what it called final.
  uint32_t n_settled(SequenceId sequence, uint32_t n_cached) const override {
    const auto known = cached_.find(sequence);
    if (known == cached_.end()) return n_cached;
    uint32_t& settled = known->second.n_settled;
    settled = std::max(settled, n_cached - script_.n_unsettled(n_cached));
    return settled;
  }

 private:
  struct Known {
    uint32_t n_cached = 0;
    mutable uint32_t n_settled = 0;
  };
  void violate(std::string what) {
    if (violation_.empty()) violation_ = "drafter: " + std::move(what);
  }

  const FakeModel& model_;
  Script script_;
  std::vector<float> logits_;
  std::map<SequenceId, Known> cached_;
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
