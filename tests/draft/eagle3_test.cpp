// The bundled EAGLE-3 head: its drafts depend on the tokens alone, not on when they were asked for,
// with whom, or what was guessed before; and they are often right.
#include "draft/eagle3.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "draft/layer_driver.h"
#include "fuzz/allocation_count.h"
#include "repo_path.h"

namespace floe::test {
namespace {

const std::string kHead = repo_path("models/floe-nano-eagle3");

class Eagle3 : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "minutes under the thread sanitizer; the thread pool has tests of its own";
#endif
    start(256);
  }
  void start(uint32_t max_step_rows) {
    driver_ = LayerDriver::start(max_step_rows, TapLayers{1, 4, 7});
    ASSERT_NE(driver_, nullptr);
    head_ = load_head();
    ASSERT_EQ(head_->tap_layers(), (TapLayers{1, 4, 7}));
    DrafterSetup choice{DraftSource::eagle3};
    choice.eagle3 = head_.get();
    driver_->use(choice);
  }
  std::unique_ptr<Eagle3Head> load_head() {
    auto head = Eagle3Head::load(kHead, *driver_->trunk().model, {}, *driver_->trunk().pool);
    FLOE_CHECK(head.ok());
    return std::move(head).value();
  }

  // The draft behind n_tokens tokens, by a head of its own that sees all rows at once: row i takes
  // token i + 1 and the taps of position i, zeros at the row listed.
  std::vector<int32_t> chain(const DrivenSequence& s, uint32_t n_tokens, uint32_t n_guesses,
                             uint32_t zero_row = UINT32_MAX) {
    const std::unique_ptr<Eagle3Head> head = load_head();
    ForwardLimits limits;
    limits.max_rows = limits.max_logit_rows = limits.max_context = 512;
    FLOE_CHECK(head->reserve(limits).ok());
    auto cache = head->make_cache({512, driver_->limits().kv_types});
    FLOE_CHECK(cache.ok());
    std::vector<uint32_t> slots(512);
    for (uint32_t i = 0; i < slots.size(); ++i) slots[i] = i;
    const SequenceSlots sequence{slots};
    std::vector<float> taps(s.taps.begin(), s.taps.begin() + (n_tokens - 1) * head->taps_dim());
    if (zero_row != UINT32_MAX) {
      std::fill_n(taps.begin() + zero_row * head->taps_dim(), head->taps_dim(), 0.0f);
    }
    std::vector<ForwardRow> rows;
    for (uint32_t i = 0; i + 1 < n_tokens; ++i) {
      rows.push_back({s.tokens[i + 1], i, 0, true});
    }
    ForwardOutput output =
        head->forward({rows, {&sequence, 1}, **cache}, taps.data(), Eagle3Head::Features::taps);
    std::vector<float> hidden(output.hidden + (rows.size() - 1) * head->hidden_dim(),
                              output.hidden + rows.size() * head->hidden_dim());
    const float* last = output.logits + (rows.size() - 1) * head->n_vocab();
    std::vector<int32_t> guesses{static_cast<int32_t>(argmax({last, head->n_vocab()}))};
    while (guesses.size() < n_guesses) {
      const ForwardRow row{guesses.back(), rows.back().position + uint32_t(guesses.size()), 0,
                           true};
      output = head->forward({{&row, 1}, {&sequence, 1}, **cache}, hidden.data(),
                             Eagle3Head::Features::own);
      hidden.assign(output.hidden, output.hidden + head->hidden_dim());
      guesses.push_back(static_cast<int32_t>(argmax({output.logits, head->n_vocab()})));
    }
    return guesses;
  }
  void expect_chain(const DrivenSequence& s, uint32_t n_tokens, uint32_t zero_row = UINT32_MAX) {
    const std::vector<DraftToken>& draft = s.drafts.at(n_tokens);
    ASSERT_FALSE(draft.empty());
    const auto guesses = chain(s, n_tokens, static_cast<uint32_t>(draft.size()), zero_row);
    for (size_t i = 0; i < draft.size(); ++i) {
      EXPECT_EQ(draft[i].token, guesses[i]) << "guess " << i << " at " << n_tokens;
      EXPECT_EQ(draft[i].source, DraftSource::eagle3);
    }
  }

  const std::vector<std::vector<int32_t>> prompts_ = LayerDriver::prompts();
  std::unique_ptr<Eagle3Head> head_;  // outlives the driver's drafter
  std::unique_ptr<LayerDriver> driver_;
};

TEST_F(Eagle3, ADraftDoesNotDependOnWhenOrWithWhomItIsMade) {
  expect_drafts_of_tokens_alone([this](uint32_t max_step_rows) {
    start(max_step_rows);
    return driver_.get();
  });
}

TEST_F(Eagle3, ADraftIsTheChainOfTheHeadOverAllRows) {
  const DrivenSequence s =
      std::move(driver_->drive({&prompts_[0], 1}, {.n_verify = 2, .n_new = 40})[0]);
  const uint32_t n_prompt = static_cast<uint32_t>(prompts_[0].size());
  uint32_t n_checked = 0;
  for (const auto& [n_tokens, draft] : s.drafts) {
    if ((n_tokens - n_prompt) % 5 != 1) continue;
    expect_chain(s, n_tokens);
    ++n_checked;
  }
  EXPECT_GE(n_checked, 3u);
}

// Guesses that were wrong are overwritten before anybody reads them.
TEST_F(Eagle3, WrongGuessesLeaveNothing) {
  const DrivenSequence s = std::move(driver_->drive(
      {&prompts_[1], 1}, {.chunk = 16, .n_verify = 3, .n_new = 40, .wrong_every = 3})[0]);
  uint32_t n_wrong = 0;
  uint32_t n_checked = 0;
  for (const auto& [n_tokens, draft] : s.drafts) {
    for (size_t i = 0; i < draft.size() && n_tokens + i < s.tokens.size(); ++i) {
      n_wrong += draft[i].token != s.tokens[n_tokens + i] ? 1 : 0;
    }
    if (GreedyChooser::is_wrong(3, n_tokens) || draft.empty()) continue;
    EXPECT_EQ(draft[0].token, chain(s, n_tokens, 1)[0]) << n_tokens;
    ++n_checked;
  }
  EXPECT_GT(n_wrong, 5u);
  EXPECT_GT(n_checked, 5u);
}

// Behind a prefix that somebody else filled the first row has no taps.
TEST_F(Eagle3, GoesOnBehindASharedPrefix) {
  DrivenSequence first = driver_->make(prompts_[0]);
  driver_->prefill(first, 512);
  driver_->step({&first, 1}, {}, true);  // runs what waited
  const uint32_t n_shared = 32;
  ASSERT_GE(driver_->drafter().n_final(first.id, first.n_cached), n_shared);
  DrivenSequence second = driver_->make(prompts_[0]);
  std::copy_n(first.slots.begin(), n_shared, second.slots.begin());
  second.n_cached = n_shared;
  second.taps.assign(first.taps.begin(), first.taps.begin() + n_shared * head_->taps_dim());
  driver_->prefill(second, 512);
  driver_->step({&second, 1}, {}, true);
  expect_chain(second, static_cast<uint32_t>(prompts_[0].size()) + 1, n_shared - 1);
}

TEST_F(Eagle3, ASequenceOfOneTokenHasNoDraftYet) {
  DrivenSequence s = driver_->make(std::span(prompts_[0]).first(1));
  driver_->drafter().begin(s.id, s.tokens, 0, {});
  SequenceRows rows = asking_rows(s, 4);
  GreedyChooser chooser;
  driver_->drafter().draft({&rows, 1}, chooser);
  EXPECT_TRUE(rows.draft.empty());
  driver_->drafter().end(s.id);
}

TEST_F(Eagle3, AllThatItReadsIsItsOwn) {
  const DraftReads reads = driver_->reads_of_a_guess(prompts_[0]);
  EXPECT_EQ(reads.head_bytes, 0u);
  EXPECT_GT(reads.weight_bytes, uint64_t{head_->n_draft_vocab()} * head_->hidden_dim() / 2)
      << "its lm_head has four bits per weight or more";
  EXPECT_GT(reads.kv_bytes, 0u);
}

TEST_F(Eagle3, AStepAllocatesNothing) {
  DrivenSequence s = driver_->make(prompts_[0]);
  driver_->prefill(s, 512);
  SequenceRows rows = asking_rows(s, 4);
  rows.draft.reserve(8);
  GreedyChooser chooser;
  const AllocationCount count;
  driver_->drafter().draft({&rows, 1}, chooser);
  EXPECT_EQ(count.bytes(), 0u);
  EXPECT_FALSE(rows.draft.empty());
}

// Most first guesses are right, and those behind right
// ones too.
TEST_F(Eagle3, GuessesAreOftenRight) {
  std::array<uint32_t, 4> n_asked{};
  std::array<uint32_t, 4> n_right{};
  for (const std::vector<int32_t>& prompt : prompts_) {
    const DrivenSequence s = std::move(driver_->drive({&prompt, 1}, {.n_new = 40})[0]);
    for (const auto& [n_tokens, draft] : s.drafts) {
      for (size_t i = 0; i < draft.size() && n_tokens + i < s.tokens.size(); ++i) {
        ++n_asked[i];
        if (draft[i].token != s.tokens[n_tokens + i]) break;
        ++n_right[i];
      }
    }
  }
  for (size_t i = 0; i < n_asked.size(); ++i) {
    ASSERT_GT(n_asked[i], 20u);
    EXPECT_GT(n_right[i], n_asked[i] * 7 / 10) << "guess " << i;
  }
}

TEST(Eagle3Choice, NeedsAHead) {
  const auto driver = LayerDriver::start();
  ASSERT_NE(driver, nullptr);
  const auto drafter = make_drafter({DraftSource::eagle3}, *driver->trunk().model,
                                    *driver->trunk().cache, driver->limits());
  ASSERT_FALSE(drafter.ok());
  EXPECT_EQ(drafter.error().kind, ErrorKind::usage);
}

}  // namespace
}  // namespace floe::test
