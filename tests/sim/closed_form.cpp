#include "sim/closed_form.h"

#include <algorithm>
#include <utility>

namespace floe::sim {

Expected expected_output(const FakeModel& model, const std::vector<int32_t>& prompt,
                         SamplingParams params, uint64_t seed, uint32_t max_tokens,
                         const std::vector<int32_t>& stop_tokens, Sampler& sampler,
                         std::optional<uint32_t> top_prompt_logprobs) {
  Expected expected;
  FakeModel::State state;
  std::vector<int32_t> tokens = prompt;
  params.n_prompt = static_cast<uint32_t>(prompt.size());
  params.held_tokens = stop_tokens;
  std::vector<float> row(model.info().n_vocab);
  for (uint32_t p = 0; p < prompt.size(); ++p) {
    state = model.next(state, prompt[p], p);
    if (!top_prompt_logprobs || p + 1 == prompt.size()) continue;
    if (model.row_is_nan(state)) {
      expected.finish = FinishReason::error;
      return expected;
    }
    model.logits(state, row);
    PromptLogprob score;
    FLOE_CHECK(sampler.score(row, prompt[p + 1], *top_prompt_logprobs, score));
    expected.prompt_logprobs.push_back(std::move(score));
  }
  std::vector<TokenLogprob> top;
  while (expected.tokens.size() < max_tokens) {
    if (model.row_is_nan(state)) {
      expected.finish = FinishReason::error;
      return expected;
    }
    model.logits(state, row);
    const int32_t token = sampler.sample(row, tokens, params, seed, tokens.size(), top).token;
    if (std::find(stop_tokens.begin(), stop_tokens.end(), token) != stop_tokens.end()) {
      expected.finish = FinishReason::stop;
      return expected;
    }
    state = model.next(state, token, static_cast<uint32_t>(tokens.size()));
    tokens.push_back(token);
    expected.tokens.push_back(token);
  }
  return expected;
}

}  // namespace floe::sim
