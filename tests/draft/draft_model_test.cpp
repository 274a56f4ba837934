// The bundled model guesses for itself: what it is sure of is what the trunk says, so every guess
// has to be right until the test itself makes one wrong.
#include "draft/draft_model.h"

#include <gtest/gtest.h>

#include <numeric>

#include "draft/layer_driver.h"
#include "store/scratch_folder.h"
#include "tiny/tiny_model.h"

namespace floe::test {
namespace {

// A model on a device that can be made to fail.
class FailingModel final : public Model {
 public:
  explicit FailingModel(Model& model) : model_(model) {}
  const ModelInfo& info() const override { return model_.info(); }
  KvCacheBytes cache_bytes(KvTypes types) const override { return model_.cache_bytes(types); }
  Result<std::unique_ptr<KvCache>> make_cache(const KvCacheLimits& limits) override {
    return model_.make_cache(limits);
  }
  uint64_t cache_fingerprint(KvTypes types) const override {
    return model_.cache_fingerprint(types);
  }
  Result<void> reserve(const ForwardLimits& limits) override { return model_.reserve(limits); }
  Result<ForwardOutput> forward(const ForwardBatch& batch) override {
    if (fails) return Error{ErrorKind::runtime, "the device fails"};
    return model_.forward(batch);
  }
  Result<ForwardOutput> forward_mtp(const ForwardBatch& batch, const float* hidden) override {
    return model_.forward_mtp(batch, hidden);
  }
  void embed(int32_t token, float* out) const override { model_.embed(token, out); }
  std::span<const std::byte> weights() const override { return model_.weights(); }

  bool fails = false;

 private:
  Model& model_;
};

class DraftModel : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "minutes under the thread sanitizer; the thread pool has tests of its own";
#endif
    start(256);
  }
  void start(uint32_t max_step_rows) {
    model_.reset();
    driver_ = LayerDriver::start(max_step_rows);
    ASSERT_NE(driver_, nullptr);
    auto model = load_model(LayerDriver::model_path(), {}, *driver_->trunk().pool);
    ASSERT_TRUE(model.ok()) << model.error().message;
    model_ = std::move(model).value();
    driver_->use({.source = DraftSource::draft_model, .draft_model = model_.get()});
  }

  // Returns the number of guesses that were as they should.
  static uint32_t expect_right(const DrivenSequence& s, uint32_t wrong_every) {
    uint32_t n_right = 0;
    for (const auto& [place, draft] : s.drafts) {
      for (size_t i = 0; i < draft.size() && place + i < s.tokens.size(); ++i) {
        EXPECT_EQ(draft[i].source, DraftSource::draft_model);
        const bool right = draft[i].token == s.tokens[place + i];
        const bool spoilt = GreedyChooser::is_wrong(wrong_every, place + i);
        EXPECT_NE(right, spoilt) << "guess " << i << " at " << place;
        if (spoilt) break;
        ++n_right;
      }
    }
    return n_right;
  }

  const std::vector<std::vector<int32_t>> prompts_ = LayerDriver::prompts();
  std::unique_ptr<LayerDriver> driver_;
  std::unique_ptr<Model> model_;
};

TEST_F(DraftModel, TheTrunkItselfIsAlwaysRight) {
  for (const DrivenSequence& s : driver_->drive(prompts_, {.n_verify = 4})) {
    EXPECT_GT(expect_right(s, 0), 40u);
    // Nothing was verified in vain, so the steps were few.
    EXPECT_LT(s.drafts.size(), 40u);
  }
}

TEST_F(DraftModel, RowsThatWaitAndWrongGuessesChangeNothing) {
  struct Way {
    DriveOptions options;
    uint32_t max_step_rows;
  };
  const Way ways[] = {
      {{.chunk = 5, .every = 55}, 256},  // more wait than may
      {{.chunk = 29, .max_tokens = 6, .n_verify = 6, .wrong_every = 4}, 256},
      {{.chunk = 100, .max_tokens = 6, .n_verify = 2, .every = 3, .wrong_every = 5}, 256},
      {{.chunk = 20, .every = 10, .n_new = 90, .wrong_every = 3},
       24},  // more wait than one forward takes
  };
  for (const Way& way : ways) {
    if (way.max_step_rows != driver_->limits().max_step_rows) start(way.max_step_rows);
    for (const DrivenSequence& s : driver_->drive(prompts_, way.options)) {
      EXPECT_GT(expect_right(s, way.options.wrong_every), 4u) << &way - ways;
    }
  }
}

TEST_F(DraftModel, GoesOnFromAnothersGuesses) {
  const DrivenSequence told = std::move(driver_->drive({&prompts_[0], 1}, {.n_new = 40})[0]);
  DrivenSequence s = driver_->make(prompts_[0]);
  driver_->prefill(s, 64);
  GreedyChooser chooser;
  for (uint32_t step = 0; step < 12; ++step) {
    const size_t place = s.tokens.size();
    std::vector<DraftToken> draft;
    for (uint32_t i = 0; i < 2; ++i) {
      draft.push_back({told.tokens[place + i], DraftSource::prompt_lookup, 3});
    }
    const bool spoilt = step % 3 == 1;
    if (spoilt) draft[1].token = (draft[1].token + 1) % 300;
    SequenceRows rows = asking_rows(s, 5, draft);
    driver_->drafter().draft({&rows, 1}, chooser);
    draft = rows.draft;
    ASSERT_GT(draft.size(), 2u);
    EXPECT_EQ(draft[1].source, DraftSource::prompt_lookup);
    EXPECT_EQ(draft[2].source, DraftSource::draft_model);
    for (size_t i = 2; i < draft.size() && !spoilt; ++i) {
      EXPECT_EQ(draft[i].token, told.tokens[place + i]) << "guess " << i << " at " << place;
    }
    driver_->step({&s, 1}, {}, false);
  }
}

TEST_F(DraftModel, OtherTokensThanTheGuessedAreRun) {
  GreedyChooser chooser;
  const auto draft = [&](const DrivenSequence& s) {
    SequenceRows rows = asking_rows(s, 4);
    driver_->drafter().draft({&rows, 1}, chooser);
    return rows.draft;
  };
  DrivenSequence s = driver_->make(prompts_[0]);
  driver_->prefill(s, 64);
  const std::vector<DraftToken> guesses = draft(s);
  ASSERT_EQ(guesses.size(), 4u);
  for (const DraftToken& guess : guesses) s.tokens.push_back((guess.token + 100) % 8000);
  const SequenceRows rows = committed_rows(s, 4, nullptr);
  driver_->drafter().accept({&rows, 1});
  DrivenSequence fresh = driver_->make(std::span(s.tokens).first(s.tokens.size() - 1));
  driver_->prefill(fresh, 64);
  fresh.tokens.back() = s.tokens.back();
  s.drafts[0] = draft(s);
  fresh.drafts[0] = draft(fresh);
  EXPECT_FALSE(s.drafts[0].empty());
  EXPECT_EQ(expect_equal_drafts(s, fresh), 1u);
}

TEST_F(DraftModel, APreemptedSequenceAndASharedPrefixStayRight) {
  DrivenSequence donor = driver_->make(prompts_[0]);
  driver_->prefill(donor, 64);
  for (int i = 0; i < 10; ++i) driver_->step({&donor, 1}, {.n_verify = 2, .wrong_every = 3}, true);
  const uint32_t n_shared = 64;
  ASSERT_GE(driver_->drafter().n_final(donor.id, donor.n_cached), n_shared);
  driver_->drafter().end(donor.id);
  DrivenSequence s = driver_->make(std::span(donor.tokens).first(donor.tokens.size() - 1));
  std::copy_n(donor.slots.begin(), n_shared, s.slots.begin());
  s.n_cached = n_shared;
  driver_->prefill(s, 64);
  for (int i = 0; i < 10; ++i) {
    driver_->step({&s, 1}, {.n_verify = 4}, i % 2 == 0);
    const uint32_t n_final = driver_->drafter().n_final(s.id, s.n_cached);
    EXPECT_LE(n_final, s.n_cached);
    EXPECT_GE(n_final + kMaxWaitingRows, s.n_cached);
  }
  EXPECT_GT(expect_right(s, 0), 10u);
}

TEST_F(DraftModel, AllThatItReadsIsItsOwn) {
  const DraftReads reads = driver_->reads_of_a_guess(prompts_[1]);
  LoadedModel& trunk = driver_->trunk();
  const std::vector<uint32_t> slots = trunk.take_slots(1);
  const SequenceSlots sequence{slots};
  const std::vector<ForwardRow> rows{{5, 0, 0, true}};
  const ByteLedger one_row =
      trunk.model->forward({rows, {&sequence, 1}, *trunk.cache}).value().ledger;
  EXPECT_EQ(reads.weight_bytes, one_row.total_bytes() - one_row.kv_bytes);
  EXPECT_EQ(reads.head_bytes, 0u);
  EXPECT_GT(reads.kv_bytes, one_row.kv_bytes);
}

TEST_F(DraftModel, AFailedForwardEndsTheGuessesOfWhoIsThere) {
  FailingModel failing(*model_);
  const DraftLimits limits = driver_->limits();
  LoadedModel& trunk = driver_->trunk();
  auto drafter = ModelDrafter::create(failing, *trunk.model, 256, limits);
  ASSERT_TRUE(drafter.ok()) << drafter.error().message;
  std::vector<uint32_t> slots(32);
  std::iota(slots.begin(), slots.end(), 0u);
  const std::vector<int32_t> tokens(prompts_[0].begin(), prompts_[0].begin() + 8);
  GreedyChooser chooser(0);
  const auto n_guessed = [&](SequenceId id) {
    SequenceRows rows;
    rows.sequence = id;
    rows.tokens = tokens;
    rows.slots = slots;
    rows.first_position = 7;
    rows.n_rows = 1;
    rows.n_wanted = 3;
    rows.has_drafters = true;
    (*drafter)->draft({&rows, 1}, chooser);
    return rows.draft.size();
  };
  const auto commit = [&](SequenceId id) {
    SequenceRows rows;
    rows.sequence = id;
    rows.tokens = tokens;
    rows.slots = slots;
    rows.n_rows = rows.n_committed = 7;
    rows.has_drafters = true;
    (*drafter)->accept({&rows, 1});
  };
  (*drafter)->begin(0, tokens, 0, {});
  commit(0);
  failing.fails = true;
  EXPECT_EQ(n_guessed(0), 0u);
  failing.fails = false;
  EXPECT_EQ(n_guessed(0), 0u);
  EXPECT_EQ((*drafter)->n_final(0, 7), 7u);
  (*drafter)->begin(1, tokens, 0, {});
  commit(1);
  EXPECT_GT(n_guessed(1), 0u);
  (*drafter)->end(0);
  (*drafter)->end(1);
}

TEST_F(DraftModel, AllocatesNothingInAStep) {
  driver_->expect_no_allocations(prompts_[0], nullptr);
}

TEST_F(DraftModel, WhatDoesNotFitIsRefused) {
  const Model& trunk = *driver_->trunk().model;
  DraftLimits limits = driver_->limits();
  const auto endless = ModelDrafter::create(*model_, trunk, UINT32_MAX, limits);
  ASSERT_FALSE(endless.ok());
  EXPECT_EQ(endless.error().kind, ErrorKind::memory);
  EXPECT_NE(endless.error().message.find(" GB"), std::string::npos) << endless.error().message;

  const ScratchFolder folder;
  auto tiny =
      load_model(folder.write("tiny.gguf", tiny_llama().bytes()), {}, *driver_->trunk().pool);
  ASSERT_TRUE(tiny.ok()) << tiny.error().message;
  const auto other = ModelDrafter::create(**tiny, trunk, 256, limits);
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().kind, ErrorKind::model);
  EXPECT_NE(other.error().message.find("expected 8192 tokens"), std::string::npos)
      << other.error().message;
  EXPECT_NE(other.error().message.find("found 48"), std::string::npos) << other.error().message;

  const auto headless = make_drafter({DraftSource::mtp}, **tiny, *driver_->trunk().cache, limits);
  ASSERT_FALSE(headless.ok());
  EXPECT_EQ(headless.error().kind, ErrorKind::model);
}

}  // namespace
}  // namespace floe::test
