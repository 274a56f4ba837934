// A device that fails in a forward ends the requests that had rows in it, and nothing else.
#include <gtest/gtest.h>

#include "engine/engine_thread.h"
#include "engine/recorder.h"

namespace floe {
namespace {

using testing::expected_output;
using testing::make_prompt;
using testing::Recorder;

struct FailureCase {
  const char* name;
  ErrorKind kind;
  EndError end;
};
constexpr FailureCase kCases[] = {
    {"Device", ErrorKind::runtime, EndError::device},
    {"OutOfMemory", ErrorKind::memory, EndError::memory},
};

class DeviceFailure : public ::testing::TestWithParam<FailureCase> {
 protected:
  void start() {
    FakeModelOptions model_options;
    model_options.failure = [this](const ForwardBatch&) { return std::exchange(next_, {}); };
    model_options.after_forward = [this](size_t) { clock_.advance(1'000'000); };
    model_ = std::make_unique<FakeModel>(model_options);
    EngineOptions options;
    options.max_sequences = 2;
    options.cache_prefixes = true;
    options.poison_freed_blocks = true;
    Result<std::unique_ptr<Engine>> engine = Engine::create(options, *model_, clock_);
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    engine_ = std::move(engine).value();
  }
  void TearDown() override { EXPECT_EQ(model_->violation(), ""); }
  static Request greedy(uint64_t seed, uint32_t n_prompt, uint32_t max_tokens) {
    Request request;
    request.prompt = make_prompt(seed, n_prompt);
    request.max_tokens = max_tokens;
    request.sampling.temperature = 0.0f;
    return request;
  }
  std::shared_ptr<Recorder> submit(Request request) {
    const auto sink = std::make_shared<Recorder>();
    request.sink = sink;
    EXPECT_EQ(engine_->submit(std::move(request)).status, SubmitStatus::accepted);
    return sink;
  }
  std::vector<int32_t> expected_tokens(const Request& request) {
    Sampler sampler(model_->info().n_vocab);
    return expected_output(*model_, request.prompt, request.sampling,
                           choice_seed(request.sampling.seed, 0), request.max_tokens,
                           request.stop_tokens, sampler)
        .tokens;
  }
  Error failure() const { return Error{GetParam().kind, "cuda: a forward: it fell off the bus"}; }

  VirtualClock clock_;
  std::optional<Error> next_;  // of the next forward
  std::unique_ptr<FakeModel> model_;
  std::unique_ptr<Engine> engine_;
};

TEST_P(DeviceFailure, EndsTheRequestsOfTheStep) {
  start();
  const Request same = greedy(2, 40, 30);
  const std::shared_ptr<Recorder> first = submit(greedy(1, 50, 30));
  const std::shared_ptr<Recorder> second = submit(same);
  const std::shared_ptr<Recorder> waiting = submit(greedy(3, 20, 10));
  for (int i = 0; i < 10; ++i) engine_->step();
  EXPECT_FALSE(engine_->failure());
  next_ = failure();
  EXPECT_TRUE(engine_->step());
  engine_->audit();
  ASSERT_TRUE(engine_->failure());
  EXPECT_EQ(engine_->failure()->message, failure().message);
  for (const std::shared_ptr<Recorder>& sink : {first, second}) {
    ASSERT_TRUE(sink->done);
    EXPECT_EQ(sink->only().finish, FinishReason::error);
    EXPECT_EQ(sink->only().error, GetParam().end);
    EXPECT_FALSE(sink->only().tokens.empty());
  }
  EXPECT_FALSE(waiting->done);
  EXPECT_EQ(engine_->stats().n_finished_error, 2u);

  // Who waited runs, and so does who comes again: what the cache kept of them is right.
  const std::shared_ptr<Recorder> again = submit(same);
  while (engine_->step()) engine_->audit();
  EXPECT_FALSE(engine_->failure());
  EXPECT_EQ(waiting->only().finish, FinishReason::length);
  EXPECT_EQ(waiting->only().tokens, expected_tokens(greedy(3, 20, 10)));
  EXPECT_EQ(again->only().tokens, expected_tokens(same));
  EXPECT_GT(again->only().counts.cached_tokens, 0u);
}

TEST_P(DeviceFailure, WhoIsPausedGoesOn) {
  start();
  Request paused = greedy(4, 40, 20);
  const auto sink = std::make_shared<Recorder>();
  paused.sink = sink;
  const SubmitOutcome outcome = engine_->submit(paused);
  for (int i = 0; i < 5; ++i) engine_->step();
  engine_->pause(outcome.id);
  const std::shared_ptr<Recorder> other = submit(greedy(5, 10, 10));
  next_ = failure();
  engine_->step();
  EXPECT_TRUE(other->done);
  engine_->resume(outcome.id);
  while (engine_->step()) engine_->audit();
  EXPECT_EQ(sink->only().tokens, expected_tokens(paused));
}

TEST_P(DeviceFailure, HealthSaysSoUntilAForwardSucceeds) {
  start();
  EngineThread thread(std::move(engine_), clock_);
  next_ = failure();
  Request request = greedy(6, 10, 5);
  const auto queue = std::make_shared<EventQueue>();
  request.sink = queue;
  const auto wait = [&] {
    std::vector<TokenEvent> events;
    while (events.empty() || !events.back().request_done) {
      queue->take(events);
      std::this_thread::yield();
    }
    return events.back().finish;
  };
  const auto wait_health = [&](bool failed) {
    while (thread.health().failure.empty() == failed) std::this_thread::yield();
  };
  EXPECT_EQ(thread.health().failure, "");
  EXPECT_EQ(thread.submit(request).status, SubmitStatus::accepted);
  EXPECT_EQ(wait(), FinishReason::error);
  wait_health(true);
  EXPECT_EQ(thread.health().failure, failure().message);
  EXPECT_EQ(thread.submit(request).status, SubmitStatus::accepted);
  EXPECT_EQ(wait(), FinishReason::length);
  wait_health(false);
}

INSTANTIATE_TEST_SUITE_P(Kinds, DeviceFailure, ::testing::ValuesIn(kCases),
                         [](const ::testing::TestParamInfo<FailureCase>& info) {
                           return std::string(info.param.name);
                         });

}  // namespace
}  // namespace floe
