#include "draft/economics.h"

#include <gtest/gtest.h>

#include <string_view>

#include "draft/decode_rows.h"
#include "fuzz/allocation_count.h"

namespace floe {
namespace {

TEST(Economics, FixedTakesTheFirstKOfEveryDraftWhileRowsAreLeft) {
  Economics economics({SpecMode::fixed, 3}, ModelInfo{});
  const std::vector<DraftToken> five(5), two(2);
  std::vector<SequenceRows> step = {decode_rows(1, 10, five), decode_rows(2, 20, two),
                                    prompt_rows(5), decode_rows(3, 30, five)};
  economics.allocate(step, 7);
  EXPECT_EQ(step[0].n_verify, 3u);
  EXPECT_EQ(step[1].n_verify, 2u);
  EXPECT_EQ(step[2].n_verify, 0u);
  EXPECT_EQ(step[3].n_verify, 2u);
  // Few rows go round.
  economics.allocate(step, 4);
  EXPECT_EQ(step[0].n_verify, 2u);
  EXPECT_EQ(step[1].n_verify, 1u);
  EXPECT_EQ(step[3].n_verify, 1u);
}

constexpr DrafterKind kLookup{DraftSource::prompt_lookup, false}, kHead{DraftSource::mtp, true};

// A sequence whose guesses are always or never right, on a machine whose forwards take one second
// and a tenth of one per row.
class Desk {
 public:
  explicit Desk(SpecMode mode)
      : economics({mode, 4}, info(), MachineRates{1000, {KernelRates({{1, 10000}}, 1)}, 1e30}) {
    economics.begin(1);
  }

  // The guesses are a draft head's, which takes so many seconds for each.
  void asks_one_that_costs(double seconds) {
    drafter = {DraftSource::mtp, true};
    seconds_per_guess = seconds;
  }

  static ModelInfo info() {
    ModelInfo model;
    model.n_layers = 2;
    model.n_experts = 8;
    model.n_active_experts = 2;
    return model;
  }

  // Returns n_verify.
  uint32_t step(uint32_t n_guesses, bool is_right, uint32_t n_prompt_rows = 0) {
    std::vector<SequenceRows> step = {decode_rows(1, position)};
    SequenceRows& own = step[0];
    n_asked = economics.tokens_to_ask(own, drafter);
    own.draft.assign(std::min(n_guesses, n_asked), {is_right ? 5 : 6, drafter.source, 0});
    if (has_stranger) step.push_back(decode_rows(99, position));
    if (n_prompt_rows != 0) step.push_back(prompt_rows(n_prompt_rows));
    economics.allocate(step, 8);
    SequenceRows& rows = step[0];
    const uint32_t n_rows = 1 + rows.n_verify + (has_stranger ? 1 : 0) + n_prompt_rows;
    const bool fails = fails_when_verified && rows.n_verify != 0;
    const uint32_t n_accepted = is_right && !fails ? rows.n_verify : 0;
    std::vector<int32_t> text(position + 1, 0);
    const std::vector<int32_t> strangers_text(position + 2, 0);
    text.resize(text.size() + n_accepted + (is_last_step ? 0 : 1), fails ? 7 : 5);
    commit(rows, n_accepted, text);
    if (has_stranger) commit(step[1], 0, strangers_text);
    position += n_accepted + 1;
    ByteLedger ledger;
    ledger.attention_bytes = 1000;
    ledger.dense_macs = 1000 * n_rows;
    const std::vector<uint32_t> routing(size_t{2} * n_rows * 2, 3);
    DraftSeconds draft_seconds{};
    draft_seconds[static_cast<size_t>(drafter.source)] =
        other_draft_seconds + n_asked * seconds_per_guess;
    economics.observe(step, {1 + 0.1 * n_rows, draft_seconds, &ledger, routing});
    return rows.n_verify;
  }
  std::string_view reason() const { return to_string(economics.decision(1).reason); }

  Economics economics;
  DrafterKind drafter = kLookup;
  double seconds_per_guess = 0, other_draft_seconds = 0;
  bool is_last_step = false;  // the last token ends the sequence
  bool fails_when_verified = false;
  bool has_stranger = false;  // a sequence that wants no guesses decodes beside it
  uint32_t position = 10;
  uint32_t n_asked = 0;
};

TEST(Economics, SaysWhy) {
  Desk desk(SpecMode::adaptive);
  EXPECT_EQ(desk.step(4, true), 0u);
  EXPECT_STREQ(desk.economics.decision(1).state, "plain");
  EXPECT_EQ(desk.reason(), "no timing yet");
  EXPECT_EQ(desk.economics.decision(1).predicted_seconds, 0);
  for (int i = 0; i < 3; ++i) desk.step(4, true);
  EXPECT_EQ(desk.step(4, true), 4u);
  EXPECT_STREQ(desk.economics.decision(1).state, "draft");
  EXPECT_EQ(desk.reason(), "pays");
  EXPECT_NEAR(desk.economics.decision(1).predicted_seconds, 1.5, 0.01);
  desk.step(0, true);
  EXPECT_STREQ(desk.economics.decision(1).state, "plain");
  EXPECT_EQ(desk.reason(), "no guess");
  for (int i = 0; i < 30; ++i) desk.step(4, false);
  EXPECT_EQ(desk.step(4, false), 0u);
  EXPECT_EQ(desk.reason(), "would not pay");
  EXPECT_STREQ(desk.economics.decision(2).state, "off");
}

TEST(Economics, SaysWhyADrafterThatCostsIsNotAsked) {
  Desk desk(SpecMode::adaptive);
  desk.asks_one_that_costs(0.01);
  for (int i = 0; i < 60; ++i) desk.step(8, true);
  EXPECT_EQ(desk.reason(), "pays");
  desk.step(0, true);
  EXPECT_GT(desk.n_asked, 0u);
  EXPECT_EQ(desk.reason(), "no guess") << "it was asked and had none";
  uint32_t n_unasked = 0;
  for (int i = 0; i < 100; ++i) {
    desk.step(8, false);
    if (desk.n_asked != 0) continue;
    ++n_unasked;
    EXPECT_EQ(desk.reason(), "would not pay") << i;
  }
  EXPECT_GT(n_unasked, 0u);
  EXPECT_EQ(desk.reason(), "would not pay");
  // The plan is of the batch of the step before: a sequence that has just begun is not in it.
  do {
    desk.step(8, false);
  } while (desk.n_asked == 0);
  do {
    desk.step(8, false);
  } while (desk.n_asked != 0);
  desk.economics.begin(2);
  std::vector<SequenceRows> step = {decode_rows(1, desk.position), decode_rows(2, 10)};
  for (const SequenceRows& rows : step) {
    EXPECT_EQ(desk.economics.tokens_to_ask(rows, desk.drafter), 0u) << "it was probed of late";
  }
  desk.economics.allocate(step, 8);
  EXPECT_EQ(desk.reason(), "would not pay");
  EXPECT_EQ(desk.economics.decision(2).reason, SpecReason::no_guess);
}

TEST(Economics, SaysThatTheAccountDoesNotCoverADrafterThatCosts) {
  Desk desk(SpecMode::adaptive);
  desk.asks_one_that_costs(0.01);
  // Guesses that would have been right whenever they are not verified run the account dry.
  desk.fails_when_verified = true;
  uint32_t n_uncovered = 0;
  for (int i = 0; i < 1000; ++i) {
    desk.step(8, true);
    n_uncovered += desk.n_asked == 0 && desk.reason() == "loss account" ? 1 : 0;
  }
  EXPECT_GT(n_uncovered, 0u);
}

TEST(Economics, LetsADrafterThatCostsGuessWhileItPays) {
  Desk desk(SpecMode::adaptive);
  desk.asks_one_that_costs(0.01);
  const auto lets = [&] { return desk.economics.lets_guess(kHead); };
  EXPECT_FALSE(lets()) << "nothing is known of it";
  for (int i = 0; i < 60; ++i) desk.step(8, true);
  EXPECT_TRUE(lets());
  // The answer ends, and nothing is decided anew before the next one decodes.
  desk.economics.end(1);
  EXPECT_TRUE(lets());
  desk.economics.begin(1);
  desk.step(8, true, 100);
  EXPECT_TRUE(lets());
  uint32_t n_asked_aside = 0;
  for (int i = 0; i < 200; ++i) {
    desk.step(8, false);
    if (i < 100) continue;
    EXPECT_FALSE(lets()) << i;
    n_asked_aside += desk.n_asked != 0 ? 1 : 0;
  }
  EXPECT_GT(n_asked_aside, 0u) << "which is no use of it";
  for (int i = 0; i < 400; ++i) desk.step(8, true);
  EXPECT_TRUE(lets());
}

TEST(Economics, ADrafterThatNobodyKeepsUpDoesNotGuess) {
  for (const uint32_t n_prompt_rows : {0u, 100u}) {
    Desk desk(SpecMode::adaptive);
    desk.asks_one_that_costs(0.01);
    const auto lets = [&] { return desk.economics.lets_guess(kHead); };
    for (int i = 0; i < 60; ++i) desk.step(8, true);
    EXPECT_TRUE(lets());
    desk.economics.end(1);
    std::vector<SequenceRows> prompts = {prompt_rows(100)};
    desk.economics.allocate(prompts, 8);
    desk.economics.observe(prompts, {.forward_seconds = 10});
    EXPECT_TRUE(lets()) << "nobody decodes";
    desk.has_stranger = true;
    desk.step(0, true, n_prompt_rows);
    EXPECT_FALSE(lets()) << n_prompt_rows;
  }
}

TEST(Economics, LetsFreeDraftersGuessUnlessItIsParked) {
  for (const SpecMode mode : {SpecMode::off, SpecMode::report}) {
    Desk desk(mode);
    for (int i = 0; i < 20; ++i) desk.step(4, true);
    EXPECT_FALSE(desk.economics.lets_guess(kLookup));
  }
  Desk fixed(SpecMode::fixed);
  EXPECT_TRUE(fixed.economics.lets_guess(kLookup));
  EXPECT_TRUE(fixed.economics.lets_guess(kHead));
  // Guesses that would have been right whenever they are not verified run the account dry.
  Desk desk(SpecMode::adaptive);
  desk.fails_when_verified = true;
  uint32_t n_parked = 0;
  for (int i = 0; i < 3000; ++i) {
    const bool lets = desk.economics.lets_guess(kLookup);
    desk.step(4, true);
    const bool is_parked = desk.reason() == "parked";
    EXPECT_NE(lets, is_parked) << i;
    n_parked += is_parked ? 1 : 0;
  }
  EXPECT_GT(n_parked, 64u);
  EXPECT_LT(n_parked, 3000u - 64);
}

TEST(Economics, ASequenceThatWantsNoGuessesDoesNotKeepOthersFromAsking) {
  Desk desk(SpecMode::adaptive);
  desk.asks_one_that_costs(0.01);
  desk.has_stranger = true;
  uint32_t n_verified = 0;
  for (int i = 0; i < 60; ++i) n_verified += desk.step(8, true);
  EXPECT_GT(n_verified, 100u);
  EXPECT_FALSE(desk.economics.is_dropped(1, DraftSource::mtp));
}

TEST(Economics, RefreshesThePlainTime) {
  Desk desk(SpecMode::adaptive);
  uint32_t n_refreshed = 0;
  for (int i = 0; i < 300; ++i) {
    desk.step(4, true);
    n_refreshed += desk.reason() == "refresh" ? 1 : 0;
  }
  EXPECT_EQ(n_refreshed, 4u);
}

TEST(Economics, ReportsWhatItWouldDo) {
  Desk desk(SpecMode::report);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(desk.step(4, true), 0u);
  EXPECT_STREQ(desk.economics.decision(1).state, "would draft");
  EXPECT_EQ(desk.reason(), "pays");
  EXPECT_NEAR(desk.economics.decision(1).predicted_seconds, 1.1, 0.01) << "of a plain step";
  for (int i = 0; i < 40; ++i) desk.step(4, false);
  EXPECT_STREQ(desk.economics.decision(1).state, "plain");
}

TEST(Economics, OffAsksNobody) {
  Desk desk(SpecMode::off);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(desk.step(4, true), 0u);
  EXPECT_EQ(desk.n_asked, 0u);
  EXPECT_STREQ(desk.economics.decision(1).state, "off");
}

TEST(Economics, GuessesRideAlongWithPrompts) {
  Desk desk(SpecMode::adaptive);
  for (int i = 0; i < 8; ++i) desk.step(4, true);
  desk.step(4, true, 100);
  EXPECT_EQ(desk.step(4, true, 100), 4u);
  EXPECT_EQ(desk.reason(), "pays");
  for (int i = 0; i < 30; ++i) desk.step(4, false);
  EXPECT_EQ(desk.step(4, false, 100), 0u);
}

// A tail of two rows costs its rows more than a chunk does.
TEST(Economics, FewPromptRowsCarryNoGuesses) {
  Desk desk(SpecMode::adaptive);
  for (int i = 0; i < 8; ++i) desk.step(4, true);
  for (int i = 0; i < 20; ++i) desk.step(4, true, 2);
  EXPECT_EQ(desk.step(4, true, 2), 0u);
  desk.step(4, true, 100);
  EXPECT_EQ(desk.step(4, true, 100), 4u);
}

// Drafters that run layers of their own fill their caches while prompts are read.
TEST(Economics, PromptsDoNotTeachWhatGuessesCost) {
  Desk desk(SpecMode::adaptive);
  desk.asks_one_that_costs(2);
  desk.other_draft_seconds = 20;
  for (int i = 0; i < 8; ++i) desk.step(4, true, 100);
  desk.other_draft_seconds = 0.01;
  uint32_t n_steps = 0;
  for (int i = 0; i < 300; ++i) {
    desk.step(4, true);
    n_steps += desk.n_asked != 0 ? 1 : 0;
  }
  EXPECT_LE(n_steps, 8u) << "a guess takes two plain steps";
  EXPECT_TRUE(desk.economics.is_dropped(1, DraftSource::mtp));
  desk.seconds_per_guess = 0.01;
  desk.other_draft_seconds = 0;
  desk.economics.end(1);
  desk.economics.begin(1);
  for (int i = 0; i < 3000; ++i) desk.step(4, true);
  EXPECT_GT(desk.n_asked, 0u) << "and now it takes none";
}

// A sequence of n_steps: whether the drafter was there for it from the first one on.
bool begins_with_drafter(Desk& desk, bool is_right, uint32_t n_steps) {
  desk.economics.end(1);
  desk.economics.begin(1);
  const bool begins = !desk.economics.is_dropped(1, desk.drafter.source);
  for (uint32_t i = 0; i < n_steps; ++i) desk.step(4, is_right);
  return begins;
}

TEST(Economics, ADrafterThatNeverPaysSitsOutMostSequences) {
  Desk desk(SpecMode::adaptive);
  desk.asks_one_that_costs(0.1);
  desk.other_draft_seconds = 0.05;
  uint32_t n_with = 0;
  for (int i = 0; i < 300; ++i) n_with += begins_with_drafter(desk, false, 60) ? 1 : 0;
  EXPECT_LE(n_with, 30u);
  EXPECT_GE(n_with, 8u) << "it is tried again now and then";
  // Whoever may need its keys and values later gets them.
  desk.economics.end(1);
  desk.economics.begin(1, true);
  EXPECT_FALSE(desk.economics.is_dropped(1, DraftSource::mtp));
  // One sequence that it pays for brings it back for all.
  for (int i = 0; i < 64; ++i) begins_with_drafter(desk, true, 200);
  n_with = 0;
  for (int i = 0; i < 20; ++i) n_with += begins_with_drafter(desk, true, 60) ? 1 : 0;
  EXPECT_EQ(n_with, 20u);
}

// A drafter is behind where it was not asked for a while, and is not the dearer for it.
TEST(Economics, CatchingUpIsNoPartOfWhatAGuessCosts) {
  Desk desk(SpecMode::adaptive);
  desk.drafter = kHead;
  for (int i = 0; i < 40; ++i) desk.step(4, false);
  uint32_t n_drafted = 0, n_before = 0;
  for (int i = 0; i < 600; ++i) {
    desk.seconds_per_guess = n_before == 0 ? 1 : 0.05;
    n_drafted += desk.step(4, true) != 0 ? 1 : 0;
    n_before = desk.n_asked;
  }
  EXPECT_GT(n_drafted, 300u);
}

TEST(Economics, ShortAnswersDoNotAskAsideEachAnew) {
  Desk desk(SpecMode::adaptive);
  desk.asks_one_that_costs(0.2);
  uint32_t n_steps = 0;
  for (int answer = 0; answer < 60; ++answer) {
    desk.economics.end(1);
    desk.economics.begin(1);
    for (int i = 0; i < 10; ++i) {
      desk.step(4, false);
      n_steps += desk.n_asked != 0 ? 1 : 0;
    }
  }
  EXPECT_LE(n_steps, 16u);
}

// What drafters take that nobody has to ask is the price of having them, not of speculating.
TEST(Economics, FreeDraftersDoNotDrainTheAccountOfPlainSteps) {
  Desk desk(SpecMode::adaptive);
  desk.other_draft_seconds = 0.2;
  for (int i = 0; i < 400; ++i) desk.step(4, false);
  for (int i = 0; i < 40; ++i) desk.step(4, true);
  EXPECT_EQ(desk.reason(), "pays");
}

TEST(Economics, ATokenThatEndsTheSequenceHasBeenMade) {
  Desk desk(SpecMode::adaptive);
  for (int i = 0; i < 8; ++i) desk.step(1, true);
  desk.is_last_step = true;
  for (int i = 0; i < 400; ++i) {
    desk.economics.end(1);
    desk.economics.begin(1);
    desk.step(1, true);
    EXPECT_NE(desk.reason(), "loss account") << i;
  }
}

TEST(Economics, AsksForNoMoreThanTheDraftCanHave) {
  Desk desk(SpecMode::adaptive);
  Economics fixed({SpecMode::fixed, 3}, ModelInfo{});
  const struct {
    Economics& economics;
    DrafterKind drafter;
    uint32_t n_drafted, max_draft, n_asked;
  } cases[] = {{desk.economics, kLookup, 0, 3, 3},
               {desk.economics, kLookup, 2, 3, 1},
               {desk.economics, kHead, 0, 0, 0},
               {desk.economics, kHead, 0, 1, 1},
               {fixed, kHead, 1, 9, 2},
               {fixed, kHead, 1, 2, 1}};
  for (const auto& c : cases) {
    SequenceRows rows = decode_rows(1, 10, std::vector<DraftToken>(c.n_drafted));
    rows.max_draft = c.max_draft;
    EXPECT_EQ(c.economics.tokens_to_ask(rows, c.drafter), c.n_asked) << &c - cases;
  }
}

TEST(Economics, ADrafterThatCostsIsAskedRarelyWhileItDoesNotPay) {
  Economics economics({SpecMode::adaptive, 0}, Desk::info());
  economics.begin(1);
  uint32_t n_asked = 0, n_late = 0;
  for (uint32_t step = 0; step < 640; ++step) {
    SequenceRows rows = decode_rows(1, 10 + step);
    const uint32_t n = economics.tokens_to_ask(rows, kHead);
    n_asked += n != 0 ? 1 : 0;
    n_late += n != 0 && step >= 320 ? 1 : 0;
    DraftSeconds seconds{};
    seconds[static_cast<size_t>(DraftSource::mtp)] = 0.1 * n;
    rows.draft.assign(n, {6, DraftSource::mtp, 0});
    economics.allocate({&rows, 1}, 8);
    const std::vector<int32_t> text(rows.first_position + 2, 5);
    commit(rows, 0, text);
    ByteLedger ledger;
    ledger.dense_bytes = 1000;
    economics.observe({&rows, 1}, {1.0 + 0.5 * rows.n_verify, seconds, &ledger, {}});
  }
  // Twice two tokens that cost 0.1 of a step are 0.5 % of 80 steps.
  EXPECT_GE(n_late, 2u * 3);
  EXPECT_LE(n_late, 2u * 320 / 80);
  EXPECT_LE(n_asked, 2u * 640 / 80 + 4);
}

TEST(Economics, AllocatesNothingOnceItHasSeenItsSequences) {
  Desk desk(SpecMode::adaptive);
  SequenceRows rows = decode_rows(1, 0);
  const std::vector<int32_t> text(300, 5);
  const std::vector<uint32_t> routing(size_t{2} * 9 * 2, 3);
  ByteLedger ledger;
  ledger.dense_bytes = 1000;
  const auto step = [&](uint32_t i) {
    rows.first_position = i;
    rows.draft.clear();
    desk.economics.tokens_to_ask(rows, kLookup);
    rows.draft.assign(8, {5, DraftSource::prompt_lookup, 1});
    desk.economics.tokens_to_keep(rows, kHead);
    desk.economics.tokens_to_ask(rows, kHead);
    desk.economics.allocate({&rows, 1}, 8);
    commit(rows, rows.n_verify, std::span(text).first(i + 2 + rows.n_verify));
    desk.economics.observe(
        {&rows, 1}, {1.0, {}, &ledger, std::span(routing).first(size_t{4} * (1 + rows.n_verify))});
  };
  for (uint32_t i = 0; i < 20; ++i) step(i);
  const AllocationCount count;
  for (uint32_t i = 20; i < 200; ++i) step(i);
  desk.economics.end(1);
  desk.economics.begin(1);
  for (uint32_t i = 0; i < 20; ++i) step(i);
  EXPECT_EQ(count.bytes(), 0u);
}

TEST(SpecPolicy, ReadsWhatTheFlagSays) {
  EXPECT_EQ(parse_spec_policy("on:7").value().n_fixed, 7u);
  for (const char* text : {"off", "on:3", "on:32", "auto", "report"}) {
    EXPECT_EQ(to_string(parse_spec_policy(text).value()), text);
  }
  EXPECT_EQ(to_string(parse_spec_policy("on").value()), "on:3");
  for (const char* text : {"", "on:0", "on:33", "on:x", "on:", "maybe"}) {
    const auto policy = parse_spec_policy(text);
    ASSERT_FALSE(policy.ok()) << text;
    EXPECT_EQ(policy.error().kind, ErrorKind::usage);
  }
}

}  // namespace
}  // namespace floe
