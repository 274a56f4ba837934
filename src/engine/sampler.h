#pragma once
// From a row of logits to a token: a pure function of (logits, history, params, seed, position).
//
// Order: the grammar's mask, bad words, tokens held back, logit_bias, penalties, top-k, top-p,
// min-p, temperature, draw. The draw's random number depends on seed and position alone, so the
// same token comes out of a row computed twice.
#include <cstdint>
#include <span>
#include <vector>

#include "engine/request.h"

namespace floe {

struct SampledToken {
  bool finite = true;    // false: the row held NaN or an infinity, there is no token
  int32_t token = -1;    // -1 in a finite row: the mask has none
  float logprob = 0.0f;  // of the raw row; only when params.logprobs
};

// Holds the workspace of one engine; allocates only while it sees its first rows.
class Sampler {
 public:
  explicit Sampler(uint32_t n_vocab);

  // logits f32 [n_vocab]; history: the tokens of positions 0 .. position - 1, prompt included. The
  // token alone, whatever params say of logprobs. mask: bit t % 64 of word t / 64 is set where
  // token t may be chosen, [(n_vocab + 63) / 64]; empty: any may.
  SampledToken choose(std::span<const float> logits, std::span<const int32_t> history,
                      const SamplingParams& params, uint64_t seed, uint64_t position,
                      std::span<const uint64_t> mask = {});
  // The same token, and what is to be reported of it: top_logprobs, when asked for, best first.
  SampledToken sample(std::span<const float> logits, std::span<const int32_t> history,
                      const SamplingParams& params, uint64_t seed, uint64_t position,
                      std::vector<TokenLogprob>& top_logprobs, std::span<const uint64_t> mask = {});
  // How probable `token` was by a row of logits, f32 [n_vocab], whatever any parameters say. False:
  // the row was not finite.
  bool score(std::span<const float> logits, int32_t token, uint32_t n_top, PromptLogprob& out);

 private:
  struct Candidate {
    float logit;
    int32_t token;
  };

  void adjust(std::span<const float> logits, std::span<const int32_t> history,
              const SamplingParams& params, std::span<const uint64_t> mask);
  void apply(std::span<const uint64_t> mask);
  void ban(std::span<const int32_t> output, const SamplingParams& params);
  double exp_weights(std::span<const float> logits, float best, float temperature);
  int32_t draw_from_all(float best, float temperature, double uniform);
  int32_t draw_from_best(float best, const SamplingParams& params, float temperature,
                         double uniform);
  void select_best(std::span<const float> logits, uint32_t n_wanted);
  void all_candidates(std::span<const float> logits);
  void sort_candidates(size_t n_sorted, size_t n_wanted);
  float raw_logprobs(std::span<const float> logits, int32_t token, uint32_t n_top,
                     std::vector<TokenLogprob>& top_logprobs);

  const uint32_t n_vocab_;
  std::vector<float> adjusted_;        // [n_vocab] after bias and penalties; -inf: banned
  std::vector<Candidate> candidates_;  // best first up to where they are sorted
  std::vector<float> weights_;         // [n_vocab] relative to the best token's
  std::vector<double> block_sums_;     // of weights_
  std::vector<double> kept_weights_;
  std::vector<uint32_t> occurrences_;  // [n_vocab], zero between calls
};

}  // namespace floe
