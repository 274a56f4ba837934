// Counts heap allocations: a step that only decodes makes none.
#include <gtest/gtest.h>

#include <memory>

#include "engine/recorder.h"
#include "fuzz/allocation_count.h"
#include "sim/scripted_drafter.h"

namespace floe {
namespace {

// Of 300 steps, after a few that may allocate. Returns how many tokens came.
uint64_t expect_no_allocations(SpecMode mode) {
  VirtualClock clock;
  FakeModelOptions model_options;
  model_options.after_forward = [&clock](size_t n_rows) {
    clock.advance(1'000'000 + 10'000 * static_cast<int64_t>(n_rows));
  };
  FakeModel model(model_options);
  EngineOptions options;
  options.max_sequences = 4;
  options.spec = {mode, 5};
  uint64_t n_asked = 0;
  options.drafters = scripted_drafters(
      model, {[&n_asked] { return ++n_asked % 7 == 0; }, [](uint32_t n_room) { return n_room; },
              [](uint32_t) { return 0u; }});
  auto engine = Engine::create(options, model, clock);
  EXPECT_TRUE(engine.ok());
  auto sink = std::make_shared<testing::CountingSink>();
  for (uint64_t i = 0; i < 4; ++i) {
    Request request;
    request.prompt = testing::make_prompt(i, 50);
    request.max_tokens = 4000;
    request.sampling.temperature = i == 0 ? 0.0f : 1.0f;
    request.sampling.top_k = i == 2 ? 10 : 0;
    request.sampling.top_p = i == 3 ? 0.9f : 1.0f;
    request.sampling.repetition_penalty = 1.1f;
    request.sink = sink;
    EXPECT_EQ((*engine)->submit(std::move(request)).status, SubmitStatus::accepted);
  }
  for (int i = 0; i < 40; ++i) (*engine)->step();
  const uint64_t n_tokens = sink->n_tokens;
  {
    const AllocationCount count;
    for (int i = 0; i < 300; ++i) (*engine)->step();
    EXPECT_EQ(count.bytes(), 0u);
  }
  const uint64_t n_made = sink->n_tokens - n_tokens;
  (*engine)->abort_all();
  return n_made;
}

TEST(Allocations, NoneInADecodeStep) {
  EXPECT_EQ(expect_no_allocations(SpecMode::off), 4u * 300);
}

TEST(Allocations, NoneWhereGuessesAreVerified) {
  EXPECT_GT(expect_no_allocations(SpecMode::fixed), 2 * 4u * 300);
  EXPECT_GT(expect_no_allocations(SpecMode::adaptive), 4u * 300 - 1);
}

}  // namespace
}  // namespace floe
