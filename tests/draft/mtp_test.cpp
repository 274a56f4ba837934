// The draft head of the bundled model: its drafts depend on the tokens alone, not on when they were
// asked for, with whom, or what was guessed before.
#include "draft/mtp.h"

#include <gtest/gtest.h>

#include <cstring>

#include "draft/confidence.h"
#include "draft/layer_driver.h"
#include "kv/host_cache.h"

namespace floe::test {
namespace {

class Mtp : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "minutes under the thread sanitizer; the thread pool has tests of its own";
#endif
    start(256);
  }
  void start(uint32_t max_step_rows) {
    driver_ = LayerDriver::start(max_step_rows);
    ASSERT_NE(driver_, nullptr);
    driver_->use({DraftSource::mtp});
  }

  // A sequence's drafts as the head makes them when it sees all rows at once, in slots of its own:
  // row p with the hidden state of p - 1, zeros at the rows listed. Returns the slots.
  std::vector<uint32_t> fill(const DrivenSequence& s, uint32_t n_rows,
                             std::span<const uint32_t> zero_rows, Rows& rows) {
    const size_t hidden_dim = driver_->trunk().model->info().hidden_dim;
    std::vector<float> shifted(n_rows * hidden_dim, 0.0f);
    for (uint32_t p = 1; p < n_rows; ++p) {
      const bool zero = std::find(zero_rows.begin(), zero_rows.end(), p) != zero_rows.end();
      if (zero) continue;
      std::memcpy(shifted.data() + p * hidden_dim, s.hidden.data() + (p - 1) * hidden_dim,
                  hidden_dim * sizeof(float));
    }
    const std::vector<uint32_t> slots = driver_->trunk().take_slots(320);
    rows = run_mtp(driver_->trunk(), slots, std::span(s.tokens).first(n_rows), shifted, 64);
    return slots;
  }
  std::vector<int32_t> chain(const DrivenSequence& s, uint32_t n_tokens, uint32_t n_guesses,
                             std::span<const uint32_t> zero_rows) {
    LoadedModel& trunk = driver_->trunk();
    Rows rows;
    const std::vector<uint32_t> slots = fill(s, n_tokens, zero_rows, rows);
    std::vector<float> hidden(rows.hidden.end() - rows.hidden_dim, rows.hidden.end());
    std::vector<int32_t> guesses{static_cast<int32_t>(argmax(rows.row(n_tokens - 1)))};
    const SequenceSlots sequence{slots};
    while (guesses.size() < n_guesses) {
      const ForwardRow row{guesses.back(), n_tokens - 1 + static_cast<uint32_t>(guesses.size()), 0,
                           true};
      const ForwardOutput output =
          trunk.model->forward_mtp({{&row, 1}, {&sequence, 1}, *trunk.cache}, hidden.data())
              .value();
      hidden.assign(output.hidden, output.hidden + rows.hidden_dim);
      guesses.push_back(static_cast<int32_t>(argmax({output.logits, rows.n_vocab})));
    }
    trunk.free_slots.insert(trunk.free_slots.end(), slots.begin(), slots.end());
    return guesses;
  }
  void expect_chain(const DrivenSequence& s, uint32_t n_tokens,
                    std::span<const uint32_t> zero_rows) {
    const std::vector<DraftToken>& draft = s.drafts.at(n_tokens);
    ASSERT_FALSE(draft.empty());
    const std::vector<int32_t> guesses =
        chain(s, n_tokens, static_cast<uint32_t>(draft.size()), zero_rows);
    for (size_t i = 0; i < draft.size(); ++i) {
      EXPECT_EQ(draft[i].token, guesses[i]) << "guess " << i << " at " << n_tokens;
    }
  }

  const std::vector<std::vector<int32_t>> prompts_ = LayerDriver::prompts();
  std::unique_ptr<LayerDriver> driver_;
};

TEST_F(Mtp, ADraftDoesNotDependOnWhenOrWithWhomItIsMade) {
  expect_drafts_of_tokens_alone([this](uint32_t max_step_rows) {
    start(max_step_rows);
    return driver_.get();
  });
}

TEST_F(Mtp, ADraftIsTheChainOfTheHeadOverAllRows) {
  DrivenSequence s = std::move(driver_->drive({&prompts_[0], 1}, {.n_verify = 2, .n_new = 40})[0]);
  const uint32_t n_prompt = static_cast<uint32_t>(prompts_[0].size());
  uint32_t n_checked = 0;
  for (const auto& [n_tokens, draft] : s.drafts) {
    if ((n_tokens - n_prompt) % 5 != 1) continue;
    expect_chain(s, n_tokens, {});
    ++n_checked;
  }
  EXPECT_GE(n_checked, 3u);
}

TEST_F(Mtp, WrongGuessesLeaveNothingInTheCache) {
  LoadedModel& trunk = driver_->trunk();
  DrivenSequence s = driver_->make(prompts_[1]);
  driver_->prefill(s, 16);
  uint32_t n_wrong = 0;
  for (int i = 0; i < 40; ++i) {
    driver_->step({&s, 1}, {.max_tokens = 6, .n_verify = 2}, i % 3 != 2);
    const uint32_t n_final = driver_->drafter().n_final(s.id, s.n_cached);
    EXPECT_LE(n_final, s.n_cached);
    EXPECT_GE(n_final + kMaxWaitingRows, s.n_cached);
  }
  for (const auto& [n_tokens, draft] : s.drafts) {
    for (size_t i = 0; i < draft.size() && n_tokens + i < s.tokens.size(); ++i) {
      n_wrong += draft[i].token != s.tokens[n_tokens + i] ? 1 : 0;
    }
  }
  EXPECT_GT(n_wrong, 5u);
  const uint32_t n_final = driver_->drafter().n_final(s.id, s.n_cached);
  ASSERT_GT(n_final, 32u);
  Rows rows;
  const std::vector<uint32_t> slots = fill(s, n_final, {}, rows);
  const uint32_t layer = trunk.model->info().n_layers;
  auto& cache = dynamic_cast<HostKvCache&>(*trunk.cache);
  const size_t key_bytes = cache.plane(layer, 0).stride_bytes;
  for (uint32_t p = 0; p < n_final; ++p) {
    EXPECT_EQ(std::memcmp(cache.vector(layer, 0, 0, slots[p]),
                          cache.vector(layer, 0, 0, s.slots[p]), key_bytes),
              0)
        << "position " << p;
  }
}

TEST_F(Mtp, APreemptedSequenceDraftsAsIfItHadNotBeen) {
  const DrivenSequence whole = std::move(driver_->drive({&prompts_[0], 1}, {})[0]);
  DrivenSequence s = driver_->make(prompts_[0]);
  driver_->prefill(s, 64);
  for (int i = 0; i < 20; ++i) driver_->step({&s, 1}, {}, true);
  driver_->drafter().end(s.id);
  DrivenSequence again = driver_->make(std::span(s.tokens).first(s.tokens.size() - 1));
  driver_->prefill(again, 64);
  for (int i = 0; i < 20; ++i) driver_->step({&again, 1}, {}, true);
  EXPECT_EQ(expect_equal_drafts(again, whole), 20u);
}

TEST_F(Mtp, BehindASharedPrefixOneHiddenStateIsZero) {
  DrivenSequence donor = driver_->make(prompts_[0]);
  driver_->prefill(donor, 64);
  const uint32_t n_shared = 32;
  ASSERT_GE(driver_->drafter().n_final(donor.id, donor.n_cached), n_shared);
  DrivenSequence s = driver_->make(prompts_[0]);
  std::copy_n(donor.slots.begin(), n_shared, s.slots.begin());
  s.n_cached = n_shared;
  s.hidden.assign(donor.hidden.begin(),
                  donor.hidden.begin() + n_shared * driver_->trunk().model->info().hidden_dim);
  driver_->prefill(s, 64);
  for (int i = 0; i < 3; ++i) driver_->step({&s, 1}, {}, true);
  for (const auto& [n_tokens, draft] : s.drafts) expect_chain(s, n_tokens, {&n_shared, 1});
}

TEST_F(Mtp, NothingIsReadForASequenceThatRests) {
  const DrivenSequence whole = std::move(driver_->drive({&prompts_[1], 1}, {})[0]);
  std::vector<DrivenSequence> both;
  for (const size_t i : {0, 1}) {
    both.push_back(driver_->make(prompts_[i]));
    driver_->prefill(both.back(), 64);
  }
  driver_->step(both, {}, true);
  driver_->drafter().drop(both[0].id);
  // The other one goes on as if it were alone.
  for (int i = 0; i < 40; ++i) {
    driver_->step(std::span(both).last(1), {}, true);
    driver_->step(std::span(both).first(1), {}, false);
    EXPECT_EQ(driver_->drafter().n_final(both[0].id, both[0].n_cached), both[0].n_cached);
  }
  EXPECT_GT(expect_equal_drafts(both[1], whole), 40u);
  const uint64_t n_bytes = driver_->drafter().reads().weight_bytes;
  EXPECT_GT(n_bytes, 0u);
  for (int i = 0; i < 40; ++i) driver_->step(std::span(both).first(1), {}, false);
  EXPECT_EQ(driver_->drafter().reads().weight_bytes, n_bytes);
}

TEST_F(Mtp, ReadsItsLayerAndTheTrunksHead) {
  const DraftReads reads = driver_->reads_of_a_guess(prompts_[1]);
  LoadedModel& trunk = driver_->trunk();
  const std::vector<uint32_t> slots = trunk.take_slots(1);
  const SequenceSlots sequence{slots};
  const std::vector<ForwardRow> rows{{5, 0, 0, true}};
  const std::vector<float> hidden(trunk.model->info().hidden_dim, 0.5f);
  const ByteLedger one_row =
      trunk.model->forward_mtp({rows, {&sequence, 1}, *trunk.cache}, hidden.data()).value().ledger;
  EXPECT_EQ(reads.weight_bytes, one_row.draft_bytes);
  EXPECT_EQ(reads.head_bytes, one_row.head_bytes);
  EXPECT_EQ(reads.kv_bytes, (prompts_[1].size() + 2) * one_row.kv_bytes);
}

TEST_F(Mtp, GuessesItsOwnTextWell) {
  uint32_t n_right = 0;
  uint32_t n_drafts = 0;
  uint32_t n_sure_right = 0;
  uint32_t n_sure = 0;
  for (const DrivenSequence& s : driver_->drive(prompts_, {.n_verify = 4, .n_new = 80})) {
    for (const auto& [n_tokens, draft] : s.drafts) {
      if (n_tokens >= s.tokens.size()) continue;
      ASSERT_FALSE(draft.empty());
      const bool right = draft[0].token == s.tokens[n_tokens];
      const bool sure = draft[0].confidence == kConfidenceLevels - 1;
      n_right += right ? 1 : 0;
      n_sure += sure ? 1 : 0;
      n_sure_right += right && sure ? 1 : 0;
      ++n_drafts;
    }
  }
  EXPECT_GT(n_right, n_drafts / 2) << "of " << n_drafts;
  // What it is sure of is right more often.
  EXPECT_GT(n_sure_right * n_drafts, n_right * n_sure);
  RecordProperty("first_right", std::to_string(n_right) + "/" + std::to_string(n_drafts));
}

TEST_F(Mtp, LeavesWhatOthersBegan) {
  DrivenSequence s = driver_->make(prompts_[1]);
  driver_->prefill(s, 64);
  SequenceRows rows = asking_rows(s, 4, {{5, DraftSource::prompt_lookup, 1}});
  GreedyChooser chooser;
  driver_->drafter().draft({&rows, 1}, chooser);
  EXPECT_EQ(rows.n_drafted(), 1u);
  EXPECT_EQ(rows.draft[0].token, 5);
}

TEST_F(Mtp, ASmallVocabularyGuessesOnlyItsTokens) {
  constexpr uint32_t kVocab = 300;
  driver_->use({.source = DraftSource::mtp, .mtp_vocab = kVocab});
  const std::vector<DrivenSequence> small = driver_->drive(prompts_, {.n_verify = 4, .n_new = 20});
  driver_->use({DraftSource::mtp});
  const std::vector<DrivenSequence> all = driver_->drive(prompts_, {.n_new = 20});
  uint32_t n_same = 0;
  uint32_t n_other = 0;
  for (size_t i = 0; i < small.size(); ++i) {
    for (const auto& [n_tokens, draft] : small[i].drafts) {
      for (const DraftToken& guess : draft) EXPECT_LT(guess.token, static_cast<int32_t>(kVocab));
      const auto whole = all[i].drafts.find(n_tokens);
      if (whole == all[i].drafts.end()) continue;
      // Where the best token of all is one of the first, it is the best of them.
      if (whole->second[0].token < static_cast<int32_t>(kVocab)) {
        EXPECT_EQ(draft[0].token, whole->second[0].token);
        ++n_same;
      } else {
        ++n_other;
      }
    }
  }
  EXPECT_GT(n_same, 0u);
  EXPECT_GT(n_other, 0u);
}

TEST_F(Mtp, AllocatesNothingInAStep) {
  const std::vector<float> hidden(40 * driver_->trunk().model->info().hidden_dim, 0.25f);
  driver_->expect_no_allocations(prompts_[0], hidden.data());
}

TEST(Confidence, IsTheProbabilityOfTheToken) {
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = 9.0f * std::sin(static_cast<float>(i * i)) - 3.0f;
  }
  for (const size_t n : {1ul, 15ul, 16ul, 17ul, 1000ul}) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += std::exp(double{logits[i]});
    for (const size_t token : {size_t{0}, n / 2, n - 1}) {
      const double expected = std::exp(double{logits[token]}) / sum;
      EXPECT_NEAR(softmax_probability({logits.data(), n}, static_cast<int32_t>(token)) / expected,
                  1.0, 1e-5);
    }
  }
  logits[3] = 3000.0f;
  EXPECT_NEAR(softmax_probability(logits, 3), 1.0f, 1e-6f);
  EXPECT_LT(softmax_probability(logits, 4), 1e-30f);
}

TEST(Confidence, LevelsRiseWithTheProbability) {
  EXPECT_EQ(confidence_level(0.0f), 0);
  for (uint8_t level = 1; level < kConfidenceLevels; ++level) {
    EXPECT_EQ(confidence_level(kConfidenceBegins[level - 1]), level);
    EXPECT_LT(confidence_level(std::nextafter(kConfidenceBegins[level - 1], 0.0f)), level);
  }
  EXPECT_EQ(confidence_level(1.0f), kConfidenceLevels - 1);
}

}  // namespace
}  // namespace floe::test
