#pragma once
// A sink that remembers, and what the fake model must answer.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "engine/engine.h"
#include "sim/closed_form.h"
#include "sim/fake_model.h"

namespace floe::testing {

struct ChoiceRecord {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  std::vector<TokenEvent> events;
  FinishReason finish = FinishReason::none;
  EndError error = EndError::none;
  TokenCounts counts;
};

class Recorder final : public TokenSink {
 public:
  void on_event(TokenEvent&& event) noexcept override {
    ChoiceRecord& choice = choices[event.choice];
    EXPECT_FALSE(done) << "an event after request_done";
    EXPECT_EQ(choice.finish, FinishReason::none) << "an event after the finish";
    EXPECT_EQ(event.index, event.finish == FinishReason::stop && event.token < 0
                               ? event.counts.completion_tokens
                               : choice.tokens.size());
    if (event.token >= 0) {
      choice.tokens.push_back(event.token);
      choice.logprobs.push_back(event.logprob);
    }
    choice.finish = event.finish;
    choice.error = event.error;
    choice.counts = event.counts;
    done = event.request_done;
    choice.events.push_back(std::move(event));
  }
  ChoiceRecord& only() { return choices[0]; }

  std::map<uint32_t, ChoiceRecord> choices;
  bool done = false;
};

// Remembers nothing, so that it allocates nothing.
class CountingSink final : public TokenSink {
 public:
  void on_event(TokenEvent&& event) noexcept override { n_tokens += event.token >= 0 ? 1 : 0; }
  uint64_t n_tokens = 0;
};

using sim::Expected;
using sim::expected_output;

inline std::vector<int32_t> make_prompt(uint64_t seed, size_t n_tokens, uint32_t n_vocab = 64) {
  std::vector<int32_t> prompt(n_tokens);
  Rng rng(seed * 1000003);
  for (int32_t& token : prompt) token = static_cast<int32_t>(1 + rng.below(n_vocab - 1));
  return prompt;
}

}  // namespace floe::testing
