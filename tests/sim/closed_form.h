#pragma once
// What a request to the fake model must produce, computed without an engine: one token after the
// other.
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/request.h"
#include "engine/sampler.h"
#include "sim/fake_model.h"

namespace floe::sim {

struct Expected {
  std::vector<int32_t> tokens;
  FinishReason finish =
      FinishReason::length;  // length, stop, or error for a row that is not finite
  std::vector<PromptLogprob> prompt_logprobs;  // when asked for
};

Expected expected_output(const FakeModel& model, const std::vector<int32_t>& prompt,
                         SamplingParams params, uint64_t seed, uint32_t max_tokens,
                         const std::vector<int32_t>& stop_tokens, Sampler& sampler,
                         std::optional<uint32_t> top_prompt_logprobs = std::nullopt);

}  // namespace floe::sim
