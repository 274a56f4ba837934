// The bundled model through the engine: a batch with preemptions against each request alone.
#include <gtest/gtest.h>

#include "engine/recorder.h"
#include "repo_path.h"

namespace floe {
namespace {

using testing::make_prompt;
using testing::Recorder;

class BundledModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "minutes under the thread sanitizer; the thread pool has tests of its own";
#endif
    auto model = load_model(repo_path("models/floe-nano.gguf"), {}, pool_);
    ASSERT_TRUE(model.ok()) << model.error().message;
    model_ = std::move(model).value();
  }

  std::vector<Request> requests() const {
    std::vector<Request> all;
    for (uint64_t i = 0; i < 6; ++i) {
      Request request;
      request.prompt = make_prompt(i, 5 + 23 * i, model_->info().n_vocab);
      request.max_tokens = 40;
      request.sampling.temperature = i % 2 == 0 ? 0.0f : 0.8f;
      request.sampling.top_p = i % 3 == 0 ? 0.9f : 1.0f;
      request.sampling.seed = i;
      request.n = i == 3 ? 2 : 1;
      all.push_back(std::move(request));
    }
    return all;
  }

  std::unique_ptr<Engine> start(EngineOptions options) {
    options.max_context = 256;
    options.poison_freed_blocks = true;
    auto engine = Engine::create(options, *model_, clock_);
    EXPECT_TRUE(engine.ok());
    return std::move(engine).value();
  }

  SteadyClock clock_;
  ThreadPool pool_{2, false};
  std::unique_ptr<Model> model_;
};

TEST_F(BundledModelTest, ABatchWithPreemptionsEqualsSoloRuns) {
  EngineOptions crowded;
  crowded.max_sequences = 4;
  crowded.n_kv_tokens = 256;  // eight blocks for up to seven choices of 45 to 160 tokens
  crowded.max_step_rows = 48;
  crowded.max_mixed_rows = 19;
  crowded.reserve_output_tokens = 1;
  auto engine = start(crowded);
  std::vector<std::shared_ptr<Recorder>> batched;
  for (Request& request : requests()) {
    batched.push_back(std::make_shared<Recorder>());
    request.sink = batched.back();
    ASSERT_EQ(engine->submit(std::move(request)).status, SubmitStatus::accepted);
    engine->step();
  }
  while (engine->step()) engine->audit();
  const EngineStats stats = engine->stats();
  EXPECT_GT(stats.n_preemptions, 0u);
  EXPECT_GT(stats.routed_bytes, 0u);
  EXPECT_EQ(stats.n_finished_error, 0u) << "a poisoned slot was read";
  engine.reset();

  EngineOptions quiet;
  quiet.max_sequences = 1;
  engine = start(quiet);
  const std::vector<Request> all = requests();
  for (size_t i = 0; i < all.size(); ++i) {
    for (uint32_t choice = 0; choice < all[i].n; ++choice) {
      Request solo = all[i];
      solo.n = 1;
      solo.sampling.seed = choice_seed(all[i].sampling.seed, choice);
      auto sink = std::make_shared<Recorder>();
      solo.sink = sink;
      ASSERT_EQ(engine->submit(std::move(solo)).status, SubmitStatus::accepted);
      while (engine->step()) {
      }
      EXPECT_EQ(sink->only().tokens.size(), 40u);
      EXPECT_EQ(batched[i]->choices[choice].tokens, sink->only().tokens) << i << "." << choice;
    }
  }
}

// What a text was worth while it was written is what it is worth when it is read: bit by bit,
// through decode steps on one side and prompt chunks with any room for logits on the other.
TEST_F(BundledModelTest, AScoredPromptEqualsItsOwnGeneration) {
  auto engine = start({});
  const auto run = [&](Request request) {
    auto sink = std::make_shared<Recorder>();
    request.sink = sink;
    EXPECT_EQ(engine->submit(std::move(request)).status, SubmitStatus::accepted);
    while (engine->step()) {
    }
    return sink->only();
  };
  Request writing;
  writing.prompt = make_prompt(77, 40, model_->info().n_vocab);
  writing.max_tokens = 100;
  writing.sampling.temperature = 0.9f;
  writing.sampling.seed = 5;
  writing.sampling.logprobs = true;
  writing.sampling.top_logprobs = 3;
  const testing::ChoiceRecord written = run(writing);
  ASSERT_EQ(written.tokens.size(), 100u);

  Request reading;
  reading.prompt = writing.prompt;
  reading.prompt.insert(reading.prompt.end(), written.tokens.begin(), written.tokens.end());
  reading.max_tokens = 0;
  reading.prompt_logprobs = true;
  reading.top_prompt_logprobs = 3;
  for (const uint32_t n_room : {1u, 7u, 32u, 500u}) {
    EngineOptions options;
    options.max_prompt_logit_rows = n_room;
    engine = start(options);
    const testing::ChoiceRecord read = run(reading);
    const std::vector<PromptLogprob>& told = read.events.back().prompt_logprobs;
    ASSERT_EQ(told.size(), 139u);
    for (size_t i = 0; i < written.tokens.size(); ++i) {
      const PromptLogprob& score = told[writing.prompt.size() - 1 + i];
      EXPECT_EQ(score.logprob, written.logprobs[i]) << n_room << " " << i;
      const std::vector<TokenLogprob>& top = written.events[i].top_logprobs;
      ASSERT_EQ(score.top.size(), top.size());
      for (size_t k = 0; k < top.size(); ++k) {
        EXPECT_EQ(score.top[k].token, top[k].token);
        EXPECT_EQ(score.top[k].logprob, top[k].logprob);
      }
      if (score.rank <= 3) {
        EXPECT_EQ(score.top[score.rank - 1].logprob, score.logprob);
      }
    }
  }
}

}  // namespace
}  // namespace floe
