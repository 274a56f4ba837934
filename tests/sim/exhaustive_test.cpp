// Two requests, two blocks, every interleaving of what can happen to them up to a depth.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>

#include "engine/engine.h"
#include "engine/schedule_hooks.h"
#include "sim/closed_form.h"
#include "sim/fake_model.h"

namespace floe::sim {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kDepth = 7;
#else
constexpr size_t kDepth = 10;
#endif
constexpr char kActions[] = {'s', 'A', 'B', 'a', 'b', 'f', 'p'};

class PreemptNext final : public ScheduleHooks {
 public:
  uint32_t chunk_rows(uint32_t n_wanted) override { return n_wanted; }
  bool force_preemption(const Sequence&) override { return armed; }
  void order(std::span<SequenceRows>) override { armed = false; }
  bool armed = false;
};

class Judge final : public TokenSink {
 public:
  void on_event(TokenEvent&& event) noexcept override {
    const Expected& right = expected[event.choice];
    auto& choice = choices[event.choice];
    good = good && choice.finish == FinishReason::none && !done;
    if (event.token >= 0) {
      good = good && event.index == choice.n_tokens && event.index < right.tokens.size() &&
             event.token == right.tokens[event.index];
      ++choice.n_tokens;
    }
    choice.finish = event.finish;
    if (event.finish == FinishReason::length) good = good && choice.n_tokens == right.tokens.size();
    done = event.request_done;
  }
  struct Choice {
    size_t n_tokens = 0;
    FinishReason finish = FinishReason::none;
  };
  std::array<Expected, 2> expected;
  std::array<Choice, 2> choices;
  uint32_t n = 1;
  bool good = true;
  bool done = false;
};

class Exhaustive : public ::testing::Test {
 protected:
  void start(uint32_t n_choices_b) {
    EngineOptions options;
    options.max_context = 64;
    options.n_kv_tokens = 64;  // two blocks; each request needs both
    options.max_sequences = 3;
    options.max_step_rows = 20;
    options.max_mixed_rows = 6;
    options.reserve_output_tokens = 0;
    options.poison_freed_blocks = true;
    options.hooks = &hooks_;
    auto engine = Engine::create(options, model_, clock_);
    ASSERT_TRUE(engine.ok());
    engine_ = std::move(engine).value();
    requests_[0].prompt.assign(31, 5);
    requests_[0].max_tokens = 4;
    requests_[1].prompt.assign(33, 5);
    requests_[1].max_tokens = 3;
    requests_[1].n = n_choices_b;
    Sampler sampler(model_.info().n_vocab);
    for (size_t r = 0; r < 2; ++r) {
      for (uint32_t c = 0; c < requests_[r].n; ++c) {
        expected_[r][c] = expected_output(model_, requests_[r].prompt, requests_[r].sampling,
                                          choice_seed(requests_[r].sampling.seed, c),
                                          requests_[r].max_tokens, {}, sampler);
      }
    }
  }

  static bool possible(char action, const std::string& before) {
    const auto was = [&](char other) { return before.find(other) != std::string::npos; };
    switch (action) {
      case 'A':
      case 'B':
        return !was(action);
      case 'a':
      case 'f':
        return was('A') && !was(action);
      case 'b':
        return was('B') && !was(action);
      case 'p':
        return (was('A') || was('B')) && before.back() != 'p';
      default:
        return was('A') || was('B');  // a step of an idle engine does nothing
    }
  }

  void submit(size_t which) {
    judges_[which] = std::make_shared<Judge>();
    judges_[which]->expected = expected_[which];
    Request request = requests_[which];
    request.sink = judges_[which];
    const SubmitOutcome outcome = engine_->submit(std::move(request));
    ASSERT_EQ(outcome.status, SubmitStatus::accepted);
    ids_[which] = outcome.id;
  }

  void replay(const std::string& actions) {
    judges_ = {};
    for (const char action : actions) {
      switch (action) {
        case 's':
          engine_->step();
          break;
        case 'A':
          submit(0);
          break;
        case 'B':
          submit(1);
          break;
        case 'a':
          engine_->cancel(ids_[0]);
          break;
        case 'b':
          engine_->cancel(ids_[1]);
          break;
        case 'f':
          engine_->finish(ids_[0], 0, 1);
          break;
        case 'p':
          hooks_.armed = true;
          engine_->step();
          hooks_.armed = false;
          break;
      }
      engine_->audit();
    }
    int n_steps = 0;
    while (engine_->step() && ++n_steps < 200) engine_->audit();
    ASSERT_LT(n_steps, 200) << actions << ": does not end";
    ASSERT_EQ(engine_->stats().n_kv_blocks_used, 0u) << actions;
    ASSERT_EQ(model_.violation(), "") << actions;
    for (const auto& judge : judges_) {
      if (judge == nullptr) continue;
      ASSERT_TRUE(judge->good && judge->done) << actions;
    }
  }

  uint64_t explore() {
    uint64_t n_runs = 0;
    // An odometer over action strings; impossible prefixes are stepped over as a whole.
    std::vector<size_t> digits(1, 0);
    std::string actions;
    while (!digits.empty() && !HasFatalFailure()) {
      if (digits.back() == std::size(kActions)) {
        digits.pop_back();
        if (!actions.empty()) actions.pop_back();
        if (!digits.empty()) ++digits.back();
        continue;
      }
      const char action = kActions[digits.back()];
      if (!possible(action, actions)) {
        ++digits.back();
        continue;
      }
      actions.push_back(action);
      if (actions.size() < kDepth) {
        digits.push_back(0);
        continue;
      }
      replay(actions);
      ++n_runs;
      actions.pop_back();
      ++digits.back();
    }
    return n_runs;
  }

  VirtualClock clock_;
  FakeModel model_;
  PreemptNext hooks_;
  std::unique_ptr<Engine> engine_;
  std::array<Request, 2> requests_;
  std::array<std::array<Expected, 2>, 2> expected_;
  std::array<std::shared_ptr<Judge>, 2> judges_;
  std::array<RequestId, 2> ids_{};
};

TEST_F(Exhaustive, TwoRequestsOnTwoBlocks) {
  start(1);
  const uint64_t n_runs = explore();
  EXPECT_GT(n_runs, 2000u);
  EXPECT_GT(engine_->stats().n_preemptions, n_runs / 4);
  std::printf("%llu interleavings\n", static_cast<unsigned long long>(n_runs));
}

TEST_F(Exhaustive, OneOfThemWithTwoChoices) {
  start(2);
  const uint64_t n_runs = explore();
  EXPECT_GT(n_runs, 2000u);
  std::printf("%llu interleavings\n", static_cast<unsigned long long>(n_runs));
}

}  // namespace
}  // namespace floe::sim
