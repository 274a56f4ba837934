#include "engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/recorder.h"
#include "engine/schedule_hooks.h"
#include "engine/sequence.h"
#include "sim/scripted_drafter.h"

namespace floe {
namespace {

using testing::ChoiceRecord;
using testing::Expected;
using testing::expected_output;
using testing::make_prompt;
using testing::Recorder;

class EngineTest : public ::testing::Test {
 protected:
  void start(EngineOptions options, FakeModelOptions model_options = {}) {
    model_options.after_forward = [this](size_t n_rows) {
      clock_.advance(1'000'000 + 10'000 * static_cast<int64_t>(n_rows));
    };
    options.poison_freed_blocks = true;
    model_ = std::make_unique<FakeModel>(model_options);
    auto engine = Engine::create(options, *model_, clock_);
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    engine_ = std::move(engine).value();
  }
  void TearDown() override {
    if (engine_ == nullptr) return;
    EXPECT_EQ(model_->violation(), "");
    engine_->audit();
  }

  struct Handle {
    RequestId id = 0;
    std::shared_ptr<Recorder> sink;
  };
  Handle submit(Request request) {
    Handle handle{0, std::make_shared<Recorder>()};
    request.sink = handle.sink;
    const SubmitOutcome outcome = engine_->submit(std::move(request));
    EXPECT_EQ(outcome.status, SubmitStatus::accepted) << outcome.message;
    handle.id = outcome.id;
    return handle;
  }
  static Request greedy(std::vector<int32_t> prompt, uint32_t max_tokens) {
    Request request;
    request.prompt = std::move(prompt);
    request.max_tokens = max_tokens;
    request.sampling.temperature = 0.0f;
    return request;
  }
  void run_all() {
    for (int i = 0; i < 100000 && engine_->step(); ++i) engine_->audit();
    EXPECT_TRUE(engine_->idle());
  }
  void step(int n_steps = 1) {
    for (int i = 0; i < n_steps; ++i) {
      engine_->step();
      engine_->audit();
    }
  }
  Expected expect(const Request& request, uint32_t choice = 0) {
    Sampler sampler(model_->info().n_vocab);
    const uint32_t left =
        engine_->limits().n_context() - static_cast<uint32_t>(request.prompt.size());
    return expected_output(*model_, request.prompt, request.sampling,
                           choice_seed(request.sampling.seed, choice),
                           std::min(request.max_tokens, left), request.stop_tokens, sampler);
  }

  VirtualClock clock_;
  std::unique_ptr<FakeModel> model_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, OneRequestGivesTheClosedForm) {
  start({});
  const Request request = greedy(make_prompt(1, 70), 50);
  Handle handle = submit(request);
  run_all();
  const Expected expected = expect(request);
  EXPECT_EQ(handle.sink->only().tokens, expected.tokens);
  EXPECT_EQ(handle.sink->only().finish, FinishReason::length);
  EXPECT_EQ(handle.sink->only().counts.prompt_tokens, 70u);
  EXPECT_EQ(handle.sink->only().counts.completion_tokens, 50u);
  EXPECT_TRUE(handle.sink->done);
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.n_generated_tokens, 50u);
  EXPECT_EQ(stats.n_finished_length, 1u);
  EXPECT_EQ(stats.n_kv_blocks_used, 0u);
  EXPECT_EQ(stats.n_rows, 70u + 49u);
  EXPECT_EQ(stats.n_tokens_max, 70u + 49u) << "nobody computed the row of the last token";
  for (const DrafterState state : stats.drafters) EXPECT_EQ(state, DrafterState::absent);
  // A shorter one is not the longest.
  submit(greedy(make_prompt(1, 7), 5));
  run_all();
  EXPECT_EQ(engine_->stats().n_tokens_max, 70u + 49u);
}

TEST_F(EngineTest, RightGuessesSaveStepsAndAreCounted) {
  EngineOptions options;
  options.spec = {SpecMode::fixed, 4};
  uint32_t n_asked = 0;
  // Drafts of four of which the third is wrong.
  options.drafters = [&](Model& model, KvCache& cache, const DraftLimits& limits) {
    EXPECT_EQ(limits.max_sequences, options.max_sequences);
    return scripted_drafters(dynamic_cast<FakeModel&>(model),
                             {[&n_asked] { return n_asked++ % 4 == 2; },
                              [](uint32_t n_room) { return n_room; }, [](uint32_t) { return 0u; }})(
        model, cache, limits);
  };
  start(options);
  const Request request = greedy(make_prompt(1, 70), 31);
  Handle handle = submit(request);
  run_all();
  EXPECT_EQ(handle.sink->only().tokens, expect(request).tokens);
  // The prompt brings one token, every step two right guesses and the right third token.
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.n_steps, 1u + 10u);
  EXPECT_EQ(stats.n_drafts, 10u);
  EXPECT_EQ(stats.n_drafted[static_cast<size_t>(DraftSource::draft_model)], 9u * 4 + 2);
  EXPECT_EQ(stats.n_draft_accepted[static_cast<size_t>(DraftSource::draft_model)], 20u);
  EXPECT_EQ(stats.accepted_by_position[0], 10u);
  EXPECT_EQ(stats.accepted_by_position[1], 10u);
  EXPECT_EQ(stats.accepted_by_position[2], 0u);
  // Wrong guesses are cached and count for nothing.
  EXPECT_EQ(stats.n_tokens_max, 70u + 30u);
  const TokenEvent& last = handle.sink->only().events.back();
  EXPECT_EQ(last.telemetry.n_accepted, 20u);
  EXPECT_EQ(last.telemetry.n_drafted, 38u);
  EXPECT_EQ(last.telemetry.n_steps, 10u);
}

TEST_F(EngineTest, SwitchesAreCountedByWhy) {
  EngineOptions options;
  options.spec = {SpecMode::fixed, 4};
  uint32_t n_asked = 0;
  // A right guess in every third step.
  options.drafters = [&](Model& model, KvCache& cache, const DraftLimits& limits) {
    return scripted_drafters(
        dynamic_cast<FakeModel&>(model),
        {[] { return false; }, [&n_asked](uint32_t) { return n_asked++ % 3 == 0 ? 1u : 0u; },
         [](uint32_t) { return 0u; }})(model, cache, limits);
  };
  start(options);
  submit(greedy(make_prompt(1, 70), 1 + 5 * 4));
  run_all();
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.n_steps, 1u + 5 * 3);
  std::array<uint64_t, kSpecReasons> expected{};
  expected[static_cast<size_t>(SpecReason::fixed)] = 5;
  expected[static_cast<size_t>(SpecReason::no_guess)] = 5;
  EXPECT_EQ(stats.n_spec_switches, expected);
}

TEST_F(EngineTest, AStepWithoutRoomForAGuessIsNoSwitch) {
  EngineOptions options;
  options.spec = {SpecMode::fixed, 4};
  // One right guess per step.
  options.drafters = [](Model& model, KvCache& cache, const DraftLimits& limits) {
    return scripted_drafters(
        dynamic_cast<FakeModel&>(model),
        {[] { return false; }, [](uint32_t n_room) { return std::min(n_room, 1u); },
         [](uint32_t) { return 0u; }})(model, cache, limits);
  };
  start(options);
  submit(greedy(make_prompt(1, 70), 1 + 5 * 2 + 1));
  run_all();
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.n_steps, 1u + 5 + 1);
  EXPECT_EQ(stats.n_drafts, 5u);
  std::array<uint64_t, kSpecReasons> expected{};
  expected[static_cast<size_t>(SpecReason::fixed)] = 1;
  EXPECT_EQ(stats.n_spec_switches, expected);
}

TEST_F(EngineTest, SaysWhichDraftersMayGuess) {
  const std::pair<SpecMode, DrafterState> cases[] = {{SpecMode::fixed, DrafterState::on},
                                                     {SpecMode::adaptive, DrafterState::on},
                                                     {SpecMode::report, DrafterState::off},
                                                     {SpecMode::off, DrafterState::absent}};
  for (const auto& [mode, state] : cases) {
    EngineOptions options;
    options.spec = {mode, 4};
    options.drafters = [](Model& model, KvCache& cache, const DraftLimits& limits) {
      return scripted_drafters(dynamic_cast<FakeModel&>(model),
                               {[] { return false; }, [](uint32_t n_room) { return n_room; },
                                [](uint32_t) { return 0u; }})(model, cache, limits);
    };
    engine_.reset();
    start(options);
    submit(greedy(make_prompt(1, 70), 31));
    run_all();
    std::array<DrafterState, kDraftSources> expected{};
    expected[static_cast<size_t>(DraftSource::draft_model)] = state;
    EXPECT_EQ(engine_->stats().drafters, expected) << to_string(options.spec);
  }
}

TEST_F(EngineTest, ARequestMayForbidGuesses) {
  EngineOptions options;
  options.spec = {SpecMode::fixed, 4};
  options.drafters = [](Model& model, KvCache& cache, const DraftLimits& limits) {
    return scripted_drafters(dynamic_cast<FakeModel&>(model),
                             {[] { return false; }, [](uint32_t n_room) { return n_room; },
                              [](uint32_t) { return 0u; }})(model, cache, limits);
  };
  start(options);
  Request request = greedy(make_prompt(1, 70), 31);
  request.max_draft_tokens = 0;
  Handle handle = submit(request);
  run_all();
  EXPECT_EQ(handle.sink->only().tokens, expect(request).tokens);
  EXPECT_EQ(engine_->stats().n_drafts, 0u);
  EXPECT_EQ(engine_->stats().n_steps, 31u);
}

// Whatever changes which token is drawn changes no log probability: they are those of the closed
// form's rows.
TEST_F(EngineTest, LogprobsAreTheModelsOwn) {
  start({});
  struct Case {
    const char* what;
    float temperature;
    float presence_penalty;
    bool biased;
  };
  const Case cases[] = {{"greedy", 0.0f, 0.0f, false},
                        {"cold", 0.25f, 0.0f, false},
                        {"hot", 2.0f, 0.0f, false},
                        {"penalised", 1.0f, 1.5f, false},
                        {"biased", 1.0f, 0.0f, true}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    Request request = greedy(make_prompt(2, 5), 4);
    request.sampling.logprobs = true;
    request.sampling.top_logprobs = 3;
    request.sampling.temperature = c.temperature;
    request.sampling.presence_penalty = c.presence_penalty;
    if (c.biased) request.sampling.logit_bias = {{7, 100.0f}};
    Handle handle = submit(request);
    run_all();
    const ChoiceRecord& choice = handle.sink->only();
    ASSERT_EQ(choice.events.size(), 4u);

    FakeModel::State state;
    uint32_t position = 0;
    for (const int32_t token : request.prompt) state = model_->next(state, token, position++);
    std::vector<float> row(model_->info().n_vocab);
    for (const TokenEvent& event : choice.events) {
      model_->logits(state, row);
      double sum = 0;
      for (const float logit : row) sum += std::exp(static_cast<double>(logit));
      const auto expected = [&](int32_t token) {
        return static_cast<double>(row[static_cast<size_t>(token)]) - std::log(sum);
      };
      EXPECT_NEAR(event.logprob, expected(event.token), 1e-5);
      if (c.biased) EXPECT_EQ(event.token, 7);
      std::vector<float> best = row;
      std::sort(best.begin(), best.end(), std::greater<>());
      ASSERT_EQ(event.top_logprobs.size(), 3u);
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_NEAR(event.top_logprobs[i].logprob, expected(event.top_logprobs[i].token), 1e-5);
        EXPECT_NEAR(event.top_logprobs[i].logprob, static_cast<double>(best[i]) - std::log(sum),
                    1e-5);
      }
      state = model_->next(state, event.token, position++);
    }
  }
}

TEST_F(EngineTest, BatchedEqualsSolo) {
  EngineOptions options;
  options.max_sequences = 5;
  options.max_step_rows = 40;
  options.max_mixed_rows = 17;
  start(options);
  std::vector<Request> requests;
  std::vector<Handle> handles;
  for (uint64_t i = 0; i < 20; ++i) {
    Request request = greedy(make_prompt(i, 1 + i * 7), 5 + static_cast<uint32_t>(i));
    if (i % 2 == 0) request.sampling.temperature = 0.9f;
    request.sampling.seed = i;
    requests.push_back(request);
    handles.push_back(submit(request));
    step();
  }
  run_all();
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(handles[i].sink->only().tokens, expect(requests[i]).tokens) << i;
  }
}

TEST_F(EngineTest, StopTokenEndsAndIsNotSent) {
  start({});
  Request request = greedy(make_prompt(3, 9), 200);
  const Expected endless = expect(request);
  request.stop_tokens = {endless.tokens[6]};
  Handle handle = submit(request);
  run_all();
  const Expected expected = expect(request);
  EXPECT_EQ(expected.finish, FinishReason::stop);
  EXPECT_EQ(handle.sink->only().tokens, expected.tokens);
  EXPECT_EQ(handle.sink->only().finish, FinishReason::stop);
  EXPECT_EQ(handle.sink->only().counts.completion_tokens, expected.tokens.size());
}

TEST_F(EngineTest, ContextBoundaries) {
  EngineOptions options;
  options.max_context = 64;
  start(options);
  Request too_long = greedy(make_prompt(4, 64), 1);
  too_long.sink = std::make_shared<Recorder>();
  const SubmitOutcome refused = engine_->submit(too_long);
  EXPECT_EQ(refused.status, SubmitStatus::context_exceeded);
  EXPECT_EQ(refused.n_prompt_tokens, 64u);
  EXPECT_EQ(refused.n_context, 64u);
  Handle just_fits = submit(greedy(make_prompt(4, 63), 1u << 31));
  Handle grows = submit(greedy(make_prompt(4, 10), UINT32_MAX));
  run_all();
  EXPECT_EQ(just_fits.sink->only().tokens.size(), 1u);
  EXPECT_EQ(just_fits.sink->only().finish, FinishReason::length);
  EXPECT_EQ(grows.sink->only().tokens.size(), 54u);
  EXPECT_EQ(grows.sink->only().finish, FinishReason::length);
}

TEST_F(EngineTest, ARequestThatCanNeverFitIsRefusedAtOnce) {
  EngineOptions options;
  options.max_context = 4096;
  options.n_kv_tokens = 64;
  start(options);
  Request request = greedy(make_prompt(5, 64), 8);
  request.sink = std::make_shared<Recorder>();
  EXPECT_EQ(engine_->submit(request).status, SubmitStatus::context_exceeded);
  EXPECT_TRUE(engine_->idle());
  EXPECT_EQ(engine_->stats().n_kv_blocks_used, 0u);
}

TEST_F(EngineTest, BadFieldsAreNamed) {
  start({});
  const auto status_of = [&](Request request) {
    request.sink = std::make_shared<Recorder>();
    return engine_->submit(std::move(request));
  };
  const Request good = greedy({1, 2, 3}, 4);
  Request request = good;
  request.prompt.clear();
  EXPECT_EQ(status_of(request).param, "prompt");
  request = good;
  request.prompt = {64};
  EXPECT_EQ(status_of(request).param, "prompt");
  request.prompt = {-1};
  EXPECT_EQ(status_of(request).param, "prompt");
  request = good;
  request.n = 0;
  EXPECT_EQ(status_of(request).param, "n");
  request.n = 1000000;
  EXPECT_EQ(status_of(request).param, "n");
  request = good;
  request.sampling.top_logprobs = 21;
  EXPECT_EQ(status_of(request).param, "top_logprobs");
  request = good;
  request.sampling.logit_bias = {{64, 1.0f}};
  EXPECT_EQ(status_of(request).param, "logit_bias");
  request = good;
  request.top_prompt_logprobs = 21;
  EXPECT_EQ(status_of(request).param, "prompt_logprobs");
  for (const std::vector<int32_t>& word : {std::vector<int32_t>{}, {64}, {1, -1}}) {
    request = good;
    request.sampling.bad_words = {{1}, word};
    EXPECT_EQ(status_of(request).param, "bad_words");
  }
  request = good;
  request.prediction = {1, 64};
  EXPECT_EQ(status_of(request).param, "prediction");
  request.prediction = {-1};
  EXPECT_EQ(status_of(request).param, "prediction");
  request.prediction.assign(engine_->limits().n_context() + 1, 1);
  EXPECT_EQ(status_of(request).param, "prediction");
  request = good;
  request.max_draft_tokens = kMaxDraftTokens + 1;
  EXPECT_EQ(status_of(request).param, "max_draft_tokens");
  EXPECT_TRUE(engine_->idle());
}

TEST_F(EngineTest, FullQueueRefusesWithAnEstimate) {
  EngineOptions options;
  options.max_sequences = 1;
  options.max_waiting = 2;
  start(options);
  Handle running = submit(greedy(make_prompt(6, 4), 30));
  step();
  Handle first = submit(greedy(make_prompt(7, 4), 3));
  Handle second = submit(greedy(make_prompt(8, 4), 3));
  Request third = greedy(make_prompt(9, 4), 3);
  third.sink = std::make_shared<Recorder>();
  const SubmitOutcome outcome = engine_->submit(third);
  EXPECT_EQ(outcome.status, SubmitStatus::queue_full);
  EXPECT_GT(outcome.wait_seconds, 0.0);
  EXPECT_EQ(engine_->stats().n_waiting, 2u);
  EXPECT_EQ(engine_->stats().n_refused_queue_full, 1u);
  run_all();
  EXPECT_EQ(second.sink->only().tokens.size(), 3u);
}

// Two sequences that together need more blocks than there are.
TEST_F(EngineTest, PreemptedRequestsGiveTheSameOutput) {
  EngineOptions options;
  options.max_sequences = 4;
  options.max_context = 256;
  options.n_kv_tokens = 256;
  options.reserve_output_tokens = 1;
  start(options);
  std::vector<Request> requests;
  std::vector<Handle> handles;
  for (uint64_t i = 0; i < 6; ++i) {
    Request request = greedy(make_prompt(20 + i, 20 + 5 * i), 150);
    request.sampling.temperature = i % 2 == 0 ? 0.0f : 1.1f;
    request.sampling.repetition_penalty = 1.2f;
    request.sampling.seed = 77 + i;
    requests.push_back(request);
    handles.push_back(submit(request));
  }
  run_all();
  EXPECT_GT(engine_->stats().n_preemptions, 0u);
  EXPECT_GT(engine_->stats().n_recomputed_tokens, 0u);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(handles[i].sink->only().tokens, expect(requests[i]).tokens) << i;
  }
}

class PreemptAt final : public ScheduleHooks {
 public:
  uint32_t chunk_rows(uint32_t n_wanted) override { return n_wanted; }
  bool force_preemption(const Sequence& sequence) override {
    if (sequence.n_output() != at || done) return false;
    return done = true;
  }
  void order(std::span<SequenceRows>) override {}
  uint32_t at = 0;
  bool done = false;
};

TEST_F(EngineTest, PreemptionAtEveryPosition) {
  for (uint32_t at = 0; at < 40; ++at) {
    PreemptAt hooks;
    hooks.at = at;
    EngineOptions options;
    options.hooks = &hooks;
    start(options);
    Request request = greedy(make_prompt(30, 40), 40);
    request.sampling.temperature = 0.8f;
    Handle handle = submit(request);
    run_all();
    EXPECT_TRUE(hooks.done);
    EXPECT_EQ(engine_->stats().n_preemptions, 1u);
    EXPECT_EQ(handle.sink->only().tokens, expect(request).tokens) << at;
  }
}

TEST_F(EngineTest, NoTokenIsWantedAndThePromptMayFillTheContext) {
  EngineOptions options;
  options.max_context = 40;
  options.max_step_rows = 16;
  start(options);
  for (const size_t n_prompt : {1u, 2u, 39u, 40u}) {
    Request request = greedy(make_prompt(50 + n_prompt, n_prompt), 0);
    Handle handle = submit(request);
    run_all();
    const ChoiceRecord& record = handle.sink->only();
    EXPECT_EQ(record.finish, FinishReason::length) << n_prompt;
    EXPECT_TRUE(record.tokens.empty());
    EXPECT_EQ(record.counts.prompt_tokens, n_prompt);
    EXPECT_EQ(record.counts.completion_tokens, 0u);
  }
  Request request = greedy(make_prompt(1, 41), 0);
  request.sink = std::make_shared<Recorder>();
  EXPECT_EQ(engine_->submit(request).status, SubmitStatus::context_exceeded);
  request.prompt.pop_back();
  request.max_tokens = 1;
  EXPECT_EQ(engine_->submit(request).status, SubmitStatus::context_exceeded);
}

// Whatever the chunks, the room for logits, the siblings and the preemptions.
// A prompt that may take one row only, for want of room for logits, takes it from the rows of
// prompts: the model refuses a forward of more rows than it was reserved for.
TEST_F(EngineTest, AScoredPromptsOnlyRowCounts) {
  EngineOptions options;
  options.max_prompt_logit_rows = 1;
  options.max_step_rows = options.max_mixed_rows = 2;
  options.max_sequences = 3;
  start(options);
  Request scored = greedy(make_prompt(1, 40), 3);
  scored.prompt_logprobs = true;
  const Handle first = submit(scored);
  const Handle second = submit(greedy(make_prompt(2, 60), 3));
  run_all();
  EXPECT_EQ(first.sink->choices.at(0).tokens.size(), 3u);
  EXPECT_EQ(second.sink->choices.at(0).tokens.size(), 3u);
}

TEST_F(EngineTest, PromptLogprobsAreThoseOfTheModel) {
  Sampler sampler(64);
  std::vector<float> row(64);
  for (const uint32_t n_room : {1u, 3u, 32u}) {
    for (const uint32_t n_step_rows : {2u, 7u, 512u}) {
      for (const size_t n_prompt : {1u, 2u, 33u, 100u}) {
        EngineOptions options;
        options.max_prompt_logit_rows = n_room;
        options.max_step_rows = n_step_rows;
        options.max_mixed_rows = n_step_rows;
        options.max_sequences = 3;
        options.n_kv_tokens = 32 * 7;  // too few for all: somebody is preempted
        options.reserve_output_tokens = 1;
        start(options);
        std::vector<Request> requests;
        std::vector<Handle> handles;
        for (const uint32_t max_tokens : {0u, 30u}) {
          for (const uint32_t n : {1u, 2u}) {
            Request request = greedy(make_prompt(n_prompt + n, n_prompt), max_tokens);
            request.n = n;
            request.prompt_logprobs = true;
            request.top_prompt_logprobs = max_tokens == 0 ? 5 : 0;
            requests.push_back(request);
            handles.push_back(submit(request));
            step(1);
          }
        }
        run_all();
        for (size_t i = 0; i < requests.size(); ++i) {
          const std::vector<int32_t>& prompt = requests[i].prompt;
          size_t n_told = 0;
          for (const auto& [index, choice] : handles[i].sink->choices) {
            for (const TokenEvent& event : choice.events) {
              if (event.prompt_logprobs.empty()) continue;
              ++n_told;
              EXPECT_EQ(index, 0u);
              EXPECT_EQ(&event, &choice.events.front());
              ASSERT_EQ(event.prompt_logprobs.size(), n_prompt - 1);
              FakeModel::State state;
              for (uint32_t p = 0; p + 1 < n_prompt; ++p) {
                state = model_->next(state, prompt[p], p);
                model_->logits(state, row);
                PromptLogprob expected;
                ASSERT_TRUE(
                    sampler.score(row, prompt[p + 1], requests[i].top_prompt_logprobs, expected));
                const PromptLogprob& told = event.prompt_logprobs[p];
                EXPECT_EQ(told.logprob, expected.logprob);
                EXPECT_EQ(told.rank, expected.rank);
                ASSERT_EQ(told.top.size(), requests[i].top_prompt_logprobs);
                for (size_t k = 0; k < told.top.size(); ++k) {
                  EXPECT_EQ(told.top[k].token, expected.top[k].token);
                  EXPECT_EQ(told.top[k].logprob, expected.top[k].logprob);
                }
              }
            }
            EXPECT_EQ(choice.tokens, expect(requests[i]).tokens);
          }
          EXPECT_EQ(n_told, n_prompt > 1 ? 1u : 0u);
        }
      }
    }
  }
}

TEST_F(EngineTest, MinTokensHoldBackWhatEndsAChoice) {
  start({});
  Request request = greedy(make_prompt(60, 20), 40);
  Handle free = submit(request);
  run_all();
  const std::vector<int32_t> tokens = free.sink->only().tokens;
  ASSERT_EQ(tokens.size(), 40u);
  // The third token now ends the choice, and may do so from min_tokens on.
  request.stop_tokens = {tokens[2]};
  for (const uint32_t min_tokens : {0u, 2u, 3u, 10u, 40u, 100u}) {
    request.sampling.min_tokens = min_tokens;
    Handle handle = submit(request);
    run_all();
    const ChoiceRecord& record = handle.sink->only();
    EXPECT_EQ(record.tokens, expect(request).tokens) << min_tokens;
    EXPECT_GE(record.tokens.size(), std::min(min_tokens, 40u));
    if (min_tokens <= 2) {
      EXPECT_EQ(record.tokens.size(), 2u);
    }
    for (const int32_t token : record.tokens) EXPECT_NE(token, tokens[2]);
  }
}

TEST_F(EngineTest, CancelAtEveryStage) {
  EngineOptions options;
  options.max_sequences = 2;
  options.max_step_rows = 16;
  options.max_mixed_rows = 16;
  start(options);
  const Request neighbour = greedy(make_prompt(40, 33), 200);
  Handle honest = submit(neighbour);
  step(4);

  Handle prefilling = submit(greedy(make_prompt(41, 100), 10));
  Handle queued = submit(greedy(make_prompt(42, 10), 10));
  step(2);
  EXPECT_EQ(engine_->stats().n_waiting, 1u);
  EXPECT_TRUE(prefilling.sink->choices.empty());
  engine_->cancel(queued.id);
  EXPECT_EQ(queued.sink->only().finish, FinishReason::cancelled);
  EXPECT_TRUE(queued.sink->done);
  engine_->audit();
  const uint32_t n_used = engine_->stats().n_kv_blocks_used;
  engine_->cancel(prefilling.id);
  EXPECT_EQ(prefilling.sink->only().finish, FinishReason::cancelled);
  EXPECT_EQ(prefilling.sink->only().counts.completion_tokens, 0u);
  EXPECT_LT(engine_->stats().n_kv_blocks_used, n_used);
  engine_->audit();

  Handle decoding = submit(greedy(make_prompt(43, 5), 100));
  step(10);
  EXPECT_GT(decoding.sink->only().tokens.size(), 3u);
  engine_->cancel(decoding.id);
  engine_->cancel(decoding.id);
  engine_->cancel(999);
  EXPECT_EQ(decoding.sink->only().finish, FinishReason::cancelled);
  const size_t n_sent = decoding.sink->only().tokens.size();
  run_all();
  EXPECT_EQ(decoding.sink->only().tokens.size(), n_sent);
  EXPECT_EQ(honest.sink->only().tokens, expect(neighbour).tokens);
  EXPECT_EQ(honest.sink->only().finish, FinishReason::length);
  EXPECT_EQ(engine_->stats().n_finished_cancelled, 3u);
}

TEST_F(EngineTest, CancelWhilePreempted) {
  PreemptAt hooks;
  hooks.at = 5;
  EngineOptions options;
  options.hooks = &hooks;
  start(options);
  Handle handle = submit(greedy(make_prompt(44, 5), 100));
  while (!hooks.done) step();
  EXPECT_EQ(engine_->stats().n_kv_blocks_used, 0u);
  engine_->cancel(handle.id);
  EXPECT_TRUE(engine_->idle());
  EXPECT_EQ(handle.sink->only().finish, FinishReason::cancelled);
  EXPECT_EQ(handle.sink->only().counts.completion_tokens, 5u);
}

// A reader that is behind holds no slot while somebody waits, and loses nothing by it.
TEST_F(EngineTest, APausedRequestGivesItsSlotAwayAndGoesOnLater) {
  EngineOptions options;
  options.max_sequences = 1;
  start(options);
  const Request slow = greedy(make_prompt(1, 40), 60);
  const Request waits = greedy(make_prompt(2, 40), 5);
  const Handle first = submit(slow);
  step(10);
  const size_t n_before = first.sink->only().tokens.size();
  ASSERT_GT(n_before, 0u);
  engine_->pause(first.id);
  EXPECT_FALSE(engine_->step());  // alone: it keeps its slot and makes nothing
  EXPECT_EQ(engine_->stats().n_sequences, 1u);
  const Handle second = submit(waits);
  for (int i = 0; i < 20 && !second.sink->done; ++i) step();
  EXPECT_EQ(second.sink->only().tokens, expect(waits).tokens);
  EXPECT_EQ(first.sink->only().tokens.size(), n_before);
  EXPECT_EQ(engine_->stats().n_preemptions, 1u);
  EXPECT_FALSE(engine_->has_work());
  EXPECT_FALSE(engine_->idle());
  engine_->resume(first.id);
  run_all();
  EXPECT_EQ(first.sink->only().tokens, expect(slow).tokens);
}

// The older one holds every block: the younger one takes them all the same.
TEST_F(EngineTest, APausedRequestGivesItsBlocksAway) {
  EngineOptions options;
  options.max_sequences = 2;
  options.n_kv_tokens = 128;
  options.reserve_output_tokens = 0;
  start(options);
  const Request slow = greedy(make_prompt(1, 60), 60);
  const Request grows = greedy(make_prompt(2, 20), 100);
  const Handle first = submit(slow);
  const Handle second = submit(grows);
  step(12);
  ASSERT_EQ(engine_->stats().n_sequences, 2u);
  engine_->pause(first.id);
  for (int i = 0; i < 200 && !second.sink->done; ++i) step();
  EXPECT_EQ(second.sink->only().tokens, expect(grows).tokens);
  EXPECT_GE(engine_->stats().n_preemptions, 1u);
  engine_->resume(first.id);
  run_all();
  EXPECT_EQ(first.sink->only().tokens, expect(slow).tokens);
}

TEST_F(EngineTest, APausedRequestCanEnd) {
  start({});
  const Handle waiting = submit(greedy(make_prompt(1, 10), 10));
  engine_->pause(waiting.id);
  engine_->pause(waiting.id);
  EXPECT_FALSE(engine_->has_work());
  engine_->cancel(waiting.id);
  EXPECT_EQ(waiting.sink->only().finish, FinishReason::cancelled);
  const Handle running = submit(greedy(make_prompt(1, 10), 10));
  step(2);
  engine_->pause(running.id);
  engine_->finish(running.id, 0, 1);
  EXPECT_TRUE(engine_->idle());
  engine_->resume(running.id);
  EXPECT_FALSE(engine_->has_work());
}

TEST_F(EngineTest, FinishCountsTokensUpToTheStop) {
  start({});
  Request request = greedy(make_prompt(45, 5), 100);
  request.n = 2;
  request.sampling.temperature = 1.0f;
  Handle handle = submit(request);
  step(10);
  ASSERT_GT(handle.sink->choices[1].tokens.size(), 4u);
  engine_->finish(handle.id, 1, 4);
  EXPECT_EQ(handle.sink->choices[1].finish, FinishReason::stop);
  EXPECT_EQ(handle.sink->choices[1].counts.completion_tokens, 4u);
  EXPECT_FALSE(handle.sink->done);
  engine_->finish(handle.id, 1, 2);
  engine_->finish(handle.id, 7, 2);
  run_all();
  EXPECT_TRUE(handle.sink->done);
  EXPECT_EQ(handle.sink->choices[0].tokens, expect(request, 0).tokens);
}

TEST_F(EngineTest, ChoicesShareThePromptAndEqualTheirSoloRuns) {
  EngineOptions options;
  options.max_sequences = 4;
  start(options);
  Request request = greedy(make_prompt(46, 100), 20);
  request.sampling.temperature = 1.0f;
  request.sampling.seed = 123;
  request.n = 4;
  Handle together = submit(request);
  run_all();
  // 100 prompt rows once, then 4 prompt rows for each of the others, which share three blocks.
  EXPECT_EQ(engine_->stats().n_rows, 100u + 3 * 4 + 4 * 19);
  EXPECT_EQ(together.sink->choices[0].counts.cached_tokens, 0u);
  EXPECT_EQ(together.sink->choices[3].counts.cached_tokens, 96u);
  for (uint32_t choice = 0; choice < 4; ++choice) {
    Request solo = request;
    solo.n = 1;
    solo.sampling.seed = choice_seed(123, choice);
    Handle alone = submit(solo);
    run_all();
    EXPECT_EQ(together.sink->choices[choice].tokens, alone.sink->only().tokens) << choice;
    EXPECT_EQ(together.sink->choices[choice].tokens, expect(request, choice).tokens) << choice;
  }
  EXPECT_NE(together.sink->choices[0].tokens, together.sink->choices[1].tokens);
}

TEST_F(EngineTest, NanEndsThatRequestOnly) {
  FakeModelOptions model_options;
  model_options.nan_marker = 0;
  model_options.nan_one_in = 3;
  EngineOptions options;
  options.max_sequences = 6;
  start(options, model_options);
  const Request good = greedy(make_prompt(47, 40), 60);
  Handle honest = submit(good);
  std::vector<int32_t> prompt = make_prompt(48, 10);
  prompt[0] = 0;
  Request bad = greedy(prompt, 100);
  bad.n = 3;
  bad.sampling.temperature = 1.0f;
  Handle broken = submit(bad);
  run_all();
  EXPECT_EQ(honest.sink->only().tokens, expect(good).tokens);
  ASSERT_EQ(broken.sink->choices.size(), 3u);
  for (const auto& [index, choice] : broken.sink->choices) {
    EXPECT_EQ(choice.finish, FinishReason::error);
    EXPECT_EQ(choice.error, EndError::numeric);
  }
  EXPECT_EQ(engine_->stats().n_finished_error, 3u);
}

TEST_F(EngineTest, DrainEndsWaitingAndFinishesRunning) {
  EngineOptions options;
  options.max_sequences = 1;
  start(options);
  const Request request = greedy(make_prompt(49, 10), 20);
  Handle running = submit(request);
  step(3);
  Handle waiting = submit(request);
  engine_->begin_drain();
  EXPECT_EQ(waiting.sink->only().finish, FinishReason::error);
  EXPECT_EQ(waiting.sink->only().error, EndError::shutdown);
  Request late = request;
  late.sink = std::make_shared<Recorder>();
  EXPECT_EQ(engine_->submit(late).status, SubmitStatus::draining);
  run_all();
  EXPECT_EQ(running.sink->only().tokens, expect(request).tokens);
}

TEST_F(EngineTest, AbortEndsEverything) {
  start({});
  Request request = greedy(make_prompt(50, 10), 200);
  request.n = 2;
  Handle first = submit(request);
  Handle second = submit(request);
  step(5);
  engine_->abort_all();
  EXPECT_TRUE(engine_->idle());
  for (const Handle& handle : {first, second}) {
    EXPECT_TRUE(handle.sink->done);
    EXPECT_EQ(handle.sink->choices[1].error, EndError::shutdown);
  }
}

// Decoding sequences get a row in every step while a long prompt is computed in chunks.
TEST_F(EngineTest, DecodeGoesOnDuringALongPrompt) {
  EngineOptions options;
  options.max_sequences = 3;
  options.max_step_rows = 64;
  options.max_mixed_rows = 8;
  start(options);
  Handle decoding = submit(greedy(make_prompt(51, 4), 100));
  step();
  EXPECT_EQ(decoding.sink->only().tokens.size(), 1u);
  Handle prompt = submit(greedy(make_prompt(52, 70), 5));
  for (size_t i = 0; i < 9; ++i) {
    step();
    EXPECT_EQ(decoding.sink->only().tokens.size(), 2 + i);
    EXPECT_EQ(engine_->stats().last_rows, 8u);
    EXPECT_TRUE(prompt.sink->choices.empty());
  }
  EXPECT_EQ(engine_->stats().n_tokens_max, 9u * 7) << "of the prompt, what is computed";
  step();
  EXPECT_EQ(prompt.sink->only().tokens.size(), 1u);
}

TEST_F(EngineTest, TimingsAndTelemetryAddUp) {
  EngineOptions options;
  options.max_sequences = 1;
  start(options);
  Handle first = submit(greedy(make_prompt(53, 10), 5));
  Handle second = submit(greedy(make_prompt(54, 10), 5));
  run_all();
  const TokenEvent& last = second.sink->only().events.back();
  // One forward of 10 rows, four of one row, each 1 ms + 10 us per row.
  EXPECT_NEAR(last.timings.queue_ms, 1.1 + 4 * 1.01, 1e-9);
  EXPECT_NEAR(last.timings.prefill_ms, 1.1, 1e-9);
  EXPECT_NEAR(last.timings.decode_ms, 4 * 1.01, 1e-9);
  EXPECT_EQ(last.step.n_rows, 1u);
  EXPECT_EQ(last.step.total_bytes, 6000u);
  EXPECT_EQ(last.step.experts_union_mean, 4.0);
  EXPECT_NEAR(last.step.gb_s, 6000 / 1.01e-3 * 1e-9, 1e-9);
  EXPECT_EQ(last.telemetry.n_steps, 4u);
  EXPECT_EQ(last.telemetry.total_bytes, 24000u);
  EXPECT_EQ(last.telemetry.batch_mean, 1.0);
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.time_to_first_token.n_observations, 2u);
  EXPECT_EQ(stats.inter_token.n_observations, 8u);
  EXPECT_NEAR(stats.inter_token.sum, 8 * 1.01e-3, 1e-12);
  EXPECT_EQ(stats.end_to_end.n_observations, 2u);
  const ExpertsHistogram& one = stats.experts_union[batch_bucket(1)];
  EXPECT_EQ(one.n_observations, 8u);
  EXPECT_EQ(one.sum, 8 * 4.0);
  EXPECT_EQ(one.counts[2], 8u) << "4 is the third bound";
  const ExpertsHistogram& ten = stats.experts_union[batch_bucket(10)];
  EXPECT_EQ(ten.n_observations, 2u);
  EXPECT_EQ(ten.sum, 2 * 16.0);
}

TEST(BatchBucket, EndsAtPowersOfTwo) {
  const std::pair<uint32_t, uint32_t> cases[] = {{1, 0},  {2, 1},   {3, 2},   {4, 2},
                                                 {5, 3},  {8, 3},   {9, 4},   {64, 6},
                                                 {65, 7}, {128, 7}, {129, 8}, {1u << 31, 8}};
  for (const auto& [n_rows, bucket] : cases) EXPECT_EQ(batch_bucket(n_rows), bucket) << n_rows;
}

TEST_F(EngineTest, ContradictoryOptionsAreRefused) {
  FakeModel model;
  EngineOptions options;
  options.max_sequences = 0;
  EXPECT_EQ(Engine::create(options, model, clock_).error().kind, ErrorKind::usage);
  options = {};
  options.max_context = 1;
  EXPECT_EQ(Engine::create(options, model, clock_).error().kind, ErrorKind::usage);
  options = {};
  options.max_context = 4096;
  options.max_sequences = 1u << 31;
  EXPECT_EQ(Engine::create(options, model, clock_).error().kind, ErrorKind::usage);
}

// Sequences have no states here: neither a model nor a draft model may need them.
TEST_F(EngineTest, ModelsThatKeepStatesAreRefused) {
  FakeModelOptions recurrent_options;
  recurrent_options.state_bytes = 64;
  FakeModel recurrent(recurrent_options);
  const auto engine = Engine::create({}, recurrent, clock_);
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().kind, ErrorKind::model);
  EXPECT_NE(engine.error().message.find("recurrent"), std::string::npos) << engine.error().message;

  FakeModel trunk;
  auto cache = trunk.make_cache({32, KvType::F16});
  ASSERT_TRUE(cache.ok());
  DrafterSetup choice{DraftSource::draft_model};
  choice.draft_model = &recurrent;
  const auto drafter = make_drafter(choice, trunk, **cache, {1, 32, 8, KvType::F16});
  ASSERT_FALSE(drafter.ok());
  EXPECT_EQ(drafter.error().kind, ErrorKind::model);
}

}  // namespace
}  // namespace floe
