// What sequences leave in the cache is found by those that begin alike, and changes no output.
#include <gtest/gtest.h>

#include <algorithm>

#include "draft/factory.h"
#include "engine/recorder.h"
#include "engine/schedule_hooks.h"
#include "sim/scripted_drafter.h"
#include "store/scratch_folder.h"
#include "tiny/tiny_model.h"

namespace floe {
namespace {

using testing::ChoiceRecord;
using testing::expected_output;
using testing::make_prompt;
using testing::Recorder;
using Tokens = std::vector<int32_t>;

Tokens operator+(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class PrefixReuse : public ::testing::Test {
 protected:
  void start(EngineOptions options, FakeModelOptions model_options = {}) {
    options.cache_prefixes = true;
    options.poison_freed_blocks = true;
    model_options.after_forward = [this](size_t n_rows) {
      clock_.advance(1'000'000 + 10'000 * static_cast<int64_t>(n_rows));
    };
    model_options.context_length = 16384;
    model_ = std::make_unique<FakeModel>(model_options);
    if (has_drafter_) {
      ScriptedDrafter::Script script;
      script.lies = [] { return false; };
      script.n_guesses = [](uint32_t n_room) { return n_room; };
      script.n_open = [](uint32_t) { return 0u; };
      script.caches = true;
      options.drafters = scripted_drafters(*model_, script, &drafter_);
      options.spec = {SpecMode::fixed, 3};
    }
    auto engine = Engine::create(options, *model_, clock_);
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    engine_ = std::move(engine).value();
  }
  void TearDown() override {
    if (engine_ == nullptr) return;
    EXPECT_EQ(model_->violation(), "");
    if (drafter_ != nullptr) EXPECT_EQ(drafter_->violation(), "");
    engine_->audit();
  }
  static Request greedy(Tokens prompt, uint32_t max_tokens) {
    Request request;
    request.prompt = std::move(prompt);
    request.max_tokens = max_tokens;
    request.sampling.temperature = 0.0f;
    return request;
  }
  std::shared_ptr<Recorder> submit(Request request) {
    auto sink = std::make_shared<Recorder>();
    request.sink = sink;
    EXPECT_EQ(engine_->submit(std::move(request)).status, SubmitStatus::accepted);
    return sink;
  }
  void run_all() {
    while (engine_->step()) engine_->audit();
  }
  // Runs the request alone; its answer is that of an empty cache.
  ChoiceRecord answer(const Request& request) {
    const auto sink = submit(request);
    run_all();
    Sampler sampler(model_->info().n_vocab);
    EXPECT_EQ(sink->only().tokens,
              expected_output(*model_, request.prompt, request.sampling, request.sampling.seed,
                              request.max_tokens, request.stop_tokens, sampler)
                  .tokens);
    return sink->only();
  }

  VirtualClock clock_;
  std::unique_ptr<FakeModel> model_;
  std::unique_ptr<Engine> engine_;
  bool has_drafter_ = false;
  const ScriptedDrafter* drafter_ = nullptr;
};

// An agent: a system prompt with tools, then turns of a question or a tool's result, each answered.
// Another client talks in between.
TEST_F(PrefixReuse, SixtyTurnsComputeOnlyWhatIsNew) {
  EngineOptions options;
  options.max_context = 16384;
  options.n_kv_tokens = 16384;
  options.n_prefix_tokens = 16384;
  start(options);
  Tokens conversation = make_prompt(1, 1500);
  Tokens other = make_prompt(2, 300);
  uint64_t n_computed = 0, n_prompt = 0;
  for (uint64_t turn = 0; turn < 60; ++turn) {
    const size_t n_before = conversation.size();  // computed but for the answer's last token
    const Tokens input = make_prompt(100 + turn, turn % 3 == 0 ? 40 : 20 + turn * 7 % 180);
    conversation = conversation + input;
    const uint64_t n_rows = engine_->stats().n_rows;
    const ChoiceRecord record =
        answer(greedy(conversation, 10 + static_cast<uint32_t>(turn * 11 % 90)));
    const auto n_answer = static_cast<uint32_t>(record.tokens.size());
    const size_t n_new = turn == 0 ? conversation.size() : conversation.size() - n_before;
    const uint32_t n_turn = record.counts.prompt_tokens - record.counts.cached_tokens;
    EXPECT_LE(n_turn, n_new + kKvBlockTokens) << "turn " << turn;
    EXPECT_EQ(engine_->stats().n_rows - n_rows, n_turn + n_answer - 1) << "turn " << turn;
    n_computed += n_turn;
    n_prompt += record.counts.prompt_tokens;
    conversation = conversation + record.tokens;
    other = other + answer(greedy(other, 20)).tokens;
  }
  EXPECT_LT(n_computed * 20, n_prompt) << "of all prompts";
  EXPECT_EQ(engine_->stats().n_prefix_misses, 2u) << "the first turns alone";
}

// A template that leaves out the thinking of earlier turns: what stands before it is found.
TEST_F(PrefixReuse, DroppedThinkingKeepsWhatIsBeforeIt) {
  EngineOptions options;
  options.max_context = 16384;
  options.n_prefix_tokens = 16384;
  start(options);
  Tokens history = make_prompt(1, 700);
  for (uint64_t turn = 0; turn < 20; ++turn) {
    history = history + make_prompt(100 + turn, 50);
    const ChoiceRecord record = answer(greedy(history, 120));
    if (turn > 0) {
      // The last turn's prompt and the turn behind the thinking, without and with a question.
      EXPECT_LE(record.counts.prompt_tokens - record.counts.cached_tokens,
                60u + 50u + kKvBlockTokens);
    }
    // 60 tokens of thinking, then the answer.
    history = history + Tokens(record.tokens.begin() + 60, record.tokens.end());
  }
}

TEST_F(PrefixReuse, ARequestSaysWhetherItSharesAndWithWhom) {
  struct Case {
    const char* name;
    uint64_t key;
    bool cache_prompt;
    uint32_t n_cached;
  };
  const Case cases[] = {
      {"the first of all", 1, true, 0},
      {"the same again", 1, true, 96},
      {"another key", 2, true, 0},
      {"that key again", 2, true, 96},
      {"without the cache", 1, false, 0},
      {"again", 1, false, 0},
      {"the others lose nothing", 1, true, 96},
  };
  EngineOptions options;
  options.n_prefix_tokens = 2048;
  start(options);
  for (const Case& c : cases) {
    Request request = greedy(make_prompt(1, 100), 5);
    request.cache_key = {c.key, 0};
    request.cache_prompt = c.cache_prompt;
    EXPECT_EQ(answer(request).counts.cached_tokens, c.n_cached) << c.name;
  }
  EXPECT_EQ(engine_->stats().n_kv_blocks_cached, 6u) << "three of each key";
}

TEST_F(PrefixReuse, AtLeastOneTokenOfThePromptIsComputed) {
  EngineOptions options;
  options.n_prefix_tokens = 2048;
  start(options);
  const Tokens prompt = make_prompt(1, 64);
  EXPECT_EQ(answer(greedy(prompt, 40)).counts.cached_tokens, 0u);
  EXPECT_EQ(answer(greedy(prompt, 40)).counts.cached_tokens, 32u);
  EXPECT_EQ(answer(greedy(prompt + make_prompt(2, 1), 4)).counts.cached_tokens, 64u);
}

TEST_F(PrefixReuse, ScoredPromptsAreComputedWhole) {
  EngineOptions options;
  options.n_prefix_tokens = 2048;
  start(options);
  Request request = greedy(make_prompt(1, 100), 4);
  answer(request);
  request.prompt_logprobs = true;
  EXPECT_EQ(answer(request).counts.cached_tokens, 0u);
}

TEST_F(PrefixReuse, PreemptedSequencesFindTheirBlocksAgain) {
  class PreemptOnce final : public ScheduleHooks {
   public:
    uint32_t chunk_rows(uint32_t n_wanted) override { return n_wanted; }
    bool force_preemption(const Sequence& sequence) override {
      return sequence.n_output() == 20 && !std::exchange(done_, true);
    }
    void order(std::span<SequenceRows>) override {}

   private:
    bool done_ = false;
  } hooks;
  EngineOptions options;
  options.n_prefix_tokens = 2048;
  options.hooks = &hooks;
  start(options);
  answer(greedy(make_prompt(1, 300), 60));
  EXPECT_EQ(engine_->stats().n_preemptions, 1u);
  EXPECT_LT(engine_->stats().n_recomputed_tokens, kKvBlockTokens);
}

TEST_F(PrefixReuse, LiveSequencesComeBeforeCachedBlocks) {
  EngineOptions options;
  options.max_context = 512;
  options.n_kv_tokens = 512;
  start(options);
  for (uint64_t i = 0; i < 10; ++i) answer(greedy(make_prompt(i, 400), 100));
  const EngineStats stats = engine_->stats();
  EXPECT_EQ(stats.n_kv_blocks_used, 0u);
  EXPECT_GT(stats.n_kv_evictions, 100u);
  EXPECT_EQ(stats.n_preemptions, 0u);
}

TEST_F(PrefixReuse, WhatWasNotFiniteIsNotFound) {
  FakeModelOptions model_options;
  model_options.nan_marker = 47;
  model_options.nan_one_in = 1;
  EngineOptions options;
  options.n_prefix_tokens = 2048;
  start(options, model_options);
  Tokens prompt = make_prompt(1, 100, 40);
  answer(greedy(prompt, 4));
  prompt.front() = 47;
  const auto sink = submit(greedy(prompt, 4));
  run_all();
  EXPECT_EQ(sink->only().error, EndError::numeric);
  EXPECT_EQ(engine_->stats().n_kv_blocks_cached, 3u) << "those of the first request";
}

// A drafter that sat a request out has written nothing in its blocks; those who find them get no
// guesses of its, and all others do.
TEST_F(PrefixReuse, DraftersTrustOnlyBlocksThatTheyWrote) {
  has_drafter_ = true;
  EngineOptions options;
  options.n_prefix_tokens = 4096;
  start(options);
  struct Case {
    const char* name;
    uint64_t prompt;
    uint32_t max_draft_tokens;
    uint32_t n_cached;
    bool drafts;
  };
  const Case cases[] = {
      {"nobody guesses", 1, 0, 0, false},  {"its blocks lack the drafter's", 1, 8, 96, false},
      {"another prompt", 2, 8, 0, true},   {"whose blocks have it", 2, 8, 96, true},
      {"nobody guesses", 2, 0, 96, false},
  };
  for (const Case& c : cases) {
    Request request = greedy(make_prompt(c.prompt, 100), 30);
    request.max_draft_tokens = c.max_draft_tokens;
    const ChoiceRecord record = answer(request);
    EXPECT_EQ(record.counts.cached_tokens, c.n_cached) << c.name;
    EXPECT_EQ(record.events.back().telemetry.n_drafted != 0, c.drafts) << c.name;
  }
}

// Every architecture, with what it caches beside keys and values: latents, indexer keys, a draft
// head's planes. Conversations of several turns, with choices, samplers, guesses and preemptions,
// warm against a cold cache each.
TEST(PrefixReuseOfModels, AnswersAreThoseOfAColdCache) {
  const ScratchFolder folder;
  ThreadPool pool(1, false);
  const SteadyClock clock;
  uint64_t n_cached = 0, n_preempted = 0, n_accepted = 0;
  for (const auto& [name, tiny] : test::all_tiny_models()) {
    auto model = load_model(folder.write(name + ".gguf", tiny.bytes()), {}, pool);
    ASSERT_TRUE(model.ok()) << name << ": " << model.error().message;
    for (const KvType type : {KvType::F16, KvType::Q8_0}) {
      for (const bool is_small : {false, true}) {
        EngineOptions options;
        options.max_context = 512;
        options.kv_types = type;
        options.poison_freed_blocks = true;
        options.max_step_rows = 100;
        options.max_mixed_rows = 40;
        options.reserve_output_tokens = 1;
        options.n_kv_tokens = is_small ? 288 : 1024;
        options.n_prefix_tokens = is_small ? 64 : 2048;
        if ((*model)->info().has_mtp) {
          options.spec = {SpecMode::fixed, 3};
          options.drafters =
              [](Model& trunk, KvCache& cache,
                 const DraftLimits& limits) -> Result<std::vector<std::unique_ptr<Drafter>>> {
            std::vector<std::unique_ptr<Drafter>> drafters(1);
            FLOE_TRY(drafters[0], make_drafter({DraftSource::mtp}, trunk, cache, limits));
            return drafters;
          };
        }
        const auto run = [&](bool is_warm, Engine* engine, const std::vector<Request>& requests) {
          std::unique_ptr<Engine> own;
          std::vector<std::shared_ptr<Recorder>> sinks;
          for (Request request : requests) {
            if (!is_warm) {
              auto made = Engine::create(options, **model, clock);
              EXPECT_TRUE(made.ok());
              own = std::move(made).value();
              engine = own.get();
            }
            sinks.push_back(std::make_shared<Recorder>());
            request.sink = sinks.back();
            EXPECT_EQ(engine->submit(std::move(request)).status, SubmitStatus::accepted);
            while (!is_warm && engine->step()) {
            }
          }
          while (is_warm && engine->step()) engine->audit();
          return sinks;
        };
        EngineOptions warm_options = options;
        warm_options.cache_prefixes = true;
        auto warm = Engine::create(warm_options, **model, clock);
        ASSERT_TRUE(warm.ok()) << name << ": " << warm.error().message;
        std::vector<Tokens> conversations;
        for (uint64_t i = 0; i < 3; ++i) {
          conversations.push_back(test::tiny_tokens(70) + make_prompt(i, 10 + i, 48));
        }
        for (uint64_t turn = 0; turn < 4; ++turn) {
          std::vector<Request> requests;
          for (uint64_t i = 0; i < conversations.size(); ++i) {
            Request request;
            request.prompt = conversations[i];
            request.max_tokens = 12;
            request.n = i == 1 ? 2 : 1;
            request.sampling.temperature = i == 0 ? 0.0f : 0.9f;
            request.sampling.seed = turn;
            request.sampling.logprobs = true;
            request.max_draft_tokens = i == 2 && turn == 0 ? 0 : 32;
            requests.push_back(std::move(request));
          }
          const auto with = run(true, warm->get(), requests);
          const auto without = run(false, nullptr, requests);
          for (size_t i = 0; i < requests.size(); ++i) {
            for (const auto& [choice, record] : without[i]->choices) {
              const ChoiceRecord& found = with[i]->choices[choice];
              EXPECT_EQ(found.tokens, record.tokens) << name << " turn " << turn << ' ' << i;
              EXPECT_EQ(found.logprobs, record.logprobs) << name << " turn " << turn << ' ' << i;
              n_cached += found.counts.cached_tokens;
            }
            conversations[i] = conversations[i] + without[i]->choices[0].tokens +
                               make_prompt(turn * 10 + i, 9, 48);
          }
        }
        n_preempted += (*warm)->stats().n_preemptions;
        n_accepted += (*warm)->stats().n_draft_accepted[static_cast<size_t>(DraftSource::mtp)];
        EXPECT_GT((*warm)->stats().n_prefix_hits, 5u) << name;
      }
    }
  }
  EXPECT_GT(n_cached, 10000u);
  EXPECT_GT(n_preempted, 0u);
  EXPECT_GT(n_accepted, 0u);
}

}  // namespace
}  // namespace floe
