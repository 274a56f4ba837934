#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/rng.h"

namespace floe {

namespace {

constexpr float kBanned = -std::numeric_limits<float>::infinity();

constexpr uint32_t kWeightBlock = 1024;  // weights per partial sum
constexpr uint32_t kHeapLimit = 256;     // up to here a heap beats sorting the vocabulary

// exp(x) for x <= 0 within 2e-7, zero below -87; made of additions, multiplications and integer
// operations only, so that it is the same everywhere and runs on vectors.
inline float exp_of_negative(float x) {
  constexpr float kLowest = -87.0f;
  const float bounded_x = x < kLowest ? kLowest : x;
  const float rounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float n = (bounded_x * 1.44269504f + rounder) - rounder;
  const float r = (bounded_x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const int32_t exponent = static_cast<int32_t>(n) + 127;
  const float scale = std::bit_cast<float>(static_cast<uint32_t>(exponent) << 23);
  return x < kLowest ? 0.0f : p * scale;
}

// Request fields reach the sampler as they are; each has one meaning for values that mean nothing.
float or_default(float value, float fallback) {
  return std::isnan(value) ? fallback : value;
}

// Keeps a logit usable whatever was added to it or multiplied with it: only -infinity bans a token.
float bounded(double logit) {
  if (std::isnan(logit)) return -FLT_MAX;
  return static_cast<float>(std::clamp(logit, -double{FLT_MAX}, double{FLT_MAX}));
}

// Best first; equal logits by token id, so that the order is one whatever sorted it.
struct BetterCandidate {
  template <typename C>
  bool operator()(const C& a, const C& b) const {
    return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
  }
};

bool all_finite(std::span<const float> values) {
  // Infinities and NaN have every exponent bit set; adding one to the exponent then carries into
  // the sign.
  constexpr uint32_t kExponent = 0x7f800000u;
  uint32_t carries = 0;
  for (const float value : values) {
    carries |= (std::bit_cast<uint32_t>(value) & kExponent) + 0x00800000u;
  }
  return (carries & 0x80000000u) == 0;
}

// The first of the best. Compares floats as integers of the same order (-0 below +0).
int32_t argmax(std::span<const float> values) {
  const float* data = values.data();
  const size_t n = values.size();
  const auto key = [](float value) {
    const int32_t bits = std::bit_cast<int32_t>(value);
    return bits ^ ((bits >> 31) & 0x7fffffff);
  };
  int32_t best = std::numeric_limits<int32_t>::min();
  for (size_t i = 0; i < n; ++i) best = std::max(best, key(data[i]));
  size_t index = 0;
  while (key(data[index]) != best) ++index;
  return static_cast<int32_t>(index);
}

// The part of the history that is output.
std::span<const int32_t> output_of(std::span<const int32_t> history, const SamplingParams& params) {
  return history.subspan(std::min<size_t>(params.n_prompt, history.size()));
}

bool adjusts_logits(const SamplingParams& params, std::span<const int32_t> history) {
  return !params.logit_bias.empty() || !params.bad_words.empty() ||
         output_of(history, params).size() < params.min_tokens ||
         (params.repeat_last_n != 0 &&
          (params.repetition_penalty != 1.0f || params.frequency_penalty != 0.0f ||
           params.presence_penalty != 0.0f));
}

}  // namespace

Sampler::Sampler(uint32_t n_vocab) : n_vocab_(n_vocab), occurrences_(n_vocab, 0) {
  adjusted_.reserve(n_vocab);
  candidates_.reserve(n_vocab);
  weights_.reserve(n_vocab);
  block_sums_.reserve(n_vocab / kWeightBlock + 1);
  kept_weights_.reserve(n_vocab);
}

SampledToken Sampler::sample(std::span<const float> logits, std::span<const int32_t> history,
                             const SamplingParams& params, uint64_t seed, uint64_t position,
                             std::vector<TokenLogprob>& top_logprobs,
                             std::span<const uint64_t> mask) {
  top_logprobs.clear();
  SampledToken result = choose(logits, history, params, seed, position, mask);
  if (result.finite && result.token >= 0 && params.logprobs) {
    const uint32_t n_top = std::min({params.top_logprobs, kMaxTopLogprobs, n_vocab_});
    result.logprob = raw_logprobs(logits, result.token, n_top, top_logprobs);
  }
  return result;
}

SampledToken Sampler::choose(std::span<const float> logits, std::span<const int32_t> history,
                             const SamplingParams& params, uint64_t seed, uint64_t position,
                             std::span<const uint64_t> mask) {
  FLOE_CHECK(logits.size() == n_vocab_ && n_vocab_ > 0);
  FLOE_CHECK(mask.empty() || mask.size() == (size_t{n_vocab_} + 63) / 64);
  SampledToken result;
  if (!all_finite(logits)) {
    result.finite = false;
    return result;
  }
  const float temperature = std::min(or_default(params.temperature, 1.0f), FLT_MAX);
  const bool adjusting = !mask.empty() || adjusts_logits(params, history);
  if (temperature <= 0.0f && !adjusting) {
    result.token = argmax(logits);
  } else {
    adjust(logits, history, params, mask);
    const int32_t best = argmax(adjusted_);
    const float best_logit = adjusted_[static_cast<size_t>(best)];
    if (best_logit == kBanned) {
      // Every token is banned: the model's own choice stands, among those of the mask.
      adjusted_.assign(logits.begin(), logits.end());
      apply(mask);
      const int32_t own = argmax(adjusted_);
      result.token = adjusted_[static_cast<size_t>(own)] == kBanned ? -1 : own;
    } else if (temperature <= 0.0f) {
      result.token = best;
    } else {
      const double uniform = random_uniform(seed, position);
      const bool keeps_all = (params.top_k == 0 || params.top_k >= n_vocab_) &&
                             !(params.top_p < 1.0f) && !(params.min_p > 0.0f);
      result.token = keeps_all ? draw_from_all(best_logit, temperature, uniform)
                               : draw_from_best(best_logit, params, temperature, uniform);
    }
  }
  return result;
}

void Sampler::adjust(std::span<const float> logits, std::span<const int32_t> history,
                     const SamplingParams& params, std::span<const uint64_t> mask) {
  adjusted_.assign(logits.begin(), logits.end());
  apply(mask);
  ban(output_of(history, params), params);
  for (const auto& [token, bias] : params.logit_bias) {
    if (token < 0 || static_cast<uint32_t>(token) >= n_vocab_ || std::isnan(bias)) continue;
    float& logit = adjusted_[static_cast<size_t>(token)];
    if (bias == kBanned || logit == kBanned) {
      logit = kBanned;
    } else {
      logit = bounded(double{logit} + double{bias});
    }
  }
  const double repetition = or_default(params.repetition_penalty, 1.0f);
  const double frequency = or_default(params.frequency_penalty, 0.0f);
  const double presence = or_default(params.presence_penalty, 0.0f);
  if (repetition == 1.0 && frequency == 0.0 && presence == 0.0) return;
  size_t window = history.size();
  if (params.repeat_last_n >= 0) window = std::min<size_t>(window, params.repeat_last_n);
  const std::span<const int32_t> seen = history.last(window);
  for (const int32_t token : seen) ++occurrences_[static_cast<size_t>(token)];
  for (const int32_t token : seen) {
    uint32_t& count = occurrences_[static_cast<size_t>(token)];
    if (count == 0) continue;  // done at its first occurrence
    float& logit = adjusted_[static_cast<size_t>(token)];
    if (logit != kBanned) {
      double value = logit;
      value = value > 0.0 ? value / repetition : value * repetition;
      logit = bounded(value - count * frequency - presence);
    }
    count = 0;
  }
}

void Sampler::apply(std::span<const uint64_t> mask) {
  for (size_t word = 0; word < mask.size(); ++word) {
    const uint64_t bits = mask[word];
    if (bits == UINT64_MAX) continue;
    const size_t begin = word * 64;
    const size_t end = std::min<size_t>(begin + 64, n_vocab_);
    if (bits == 0) {
      std::fill(adjusted_.begin() + static_cast<std::ptrdiff_t>(begin),
                adjusted_.begin() + static_cast<std::ptrdiff_t>(end), kBanned);
      continue;
    }
    for (size_t token = begin; token < end; ++token) {
      if ((bits >> (token - begin) & 1) == 0) adjusted_[token] = kBanned;
    }
  }
}

void Sampler::ban(std::span<const int32_t> output, const SamplingParams& params) {
  for (const std::vector<int32_t>& word : params.bad_words) {
    const size_t n_before = word.size() - 1;
    if (output.size() < n_before) continue;
    const std::span<const int32_t> before = output.last(n_before);
    if (!std::equal(before.begin(), before.end(), word.begin())) continue;
    adjusted_[static_cast<size_t>(word.back())] = kBanned;
  }
  if (output.size() >= params.min_tokens) return;
  for (const int32_t token : params.held_tokens) {
    if (token >= 0 && static_cast<uint32_t>(token) < n_vocab_) {
      adjusted_[static_cast<size_t>(token)] = kBanned;
    }
  }
}

// weights_[i] = exp((logits[i] - best) / temperature), sums per block, and the sum of all. The
// order of additions is fixed.
double Sampler::exp_weights(std::span<const float> logits, float best, float temperature) {
  weights_.resize(n_vocab_);
  block_sums_.clear();
  double total = 0.0;
  for (uint32_t begin = 0; begin < n_vocab_; begin += kWeightBlock) {
    const uint32_t end = std::min(begin + kWeightBlock, n_vocab_);
    const float* in = logits.data();
    float* out = weights_.data();
    for (uint32_t i = begin; i < end; ++i) {
      out[i] = exp_of_negative((in[i] - best) / temperature);
    }
    double sums[4] = {};
    uint32_t i = begin;
    for (; i + 4 <= end; i += 4) {
      for (uint32_t j = 0; j < 4; ++j) sums[j] += out[i + j];
    }
    for (; i < end; ++i) sums[0] += out[i];
    block_sums_.push_back((sums[0] + sums[1]) + (sums[2] + sums[3]));
    total += block_sums_.back();
  }
  return total;
}

// Tokens in id order: no sorting where nothing is cut off.
int32_t Sampler::draw_from_all(float best, float temperature, double uniform) {
  const double target = uniform * exp_weights(adjusted_, best, temperature);
  double sum = 0.0;
  uint32_t block = 0;
  while (block + 1 < block_sums_.size() && sum + block_sums_[block] <= target) {
    sum += block_sums_[block++];
  }
  // Rounding may leave the target just above everything: then the last token that can be drawn is.
  int32_t last = -1;
  for (;;) {
    const uint32_t end = std::min((block + 1) * kWeightBlock, n_vocab_);
    for (uint32_t i = block * kWeightBlock; i < end; ++i) {
      if (weights_[i] == 0.0f) continue;
      last = static_cast<int32_t>(i);
      sum += weights_[i];
      if (sum > target) return last;
    }
    if (last >= 0) return last;
    // A block of zeros: the best token, whose weight is 1, lies before it.
    FLOE_CHECK(block > 0);
    --block;
  }
}

// candidates_ = the n_wanted best, sorted. Most tokens fail the first comparison.
void Sampler::select_best(std::span<const float> logits, uint32_t n_wanted) {
  candidates_.clear();
  for (uint32_t i = 0; i < n_vocab_; ++i) {
    const Candidate candidate{logits[i], static_cast<int32_t>(i)};
    if (candidates_.size() < n_wanted) {
      if (candidate.logit == kBanned) continue;
      candidates_.push_back(candidate);
      std::push_heap(candidates_.begin(), candidates_.end(), BetterCandidate{});
    } else if (candidate.logit > candidates_.front().logit) {
      std::pop_heap(candidates_.begin(), candidates_.end(), BetterCandidate{});
      candidates_.back() = candidate;
      std::push_heap(candidates_.begin(), candidates_.end(), BetterCandidate{});
    }
  }
  std::sort_heap(candidates_.begin(), candidates_.end(), BetterCandidate{});
}

void Sampler::all_candidates(std::span<const float> logits) {
  candidates_.clear();
  for (uint32_t i = 0; i < n_vocab_; ++i) {
    if (logits[i] != kBanned) candidates_.push_back(Candidate{logits[i], static_cast<int32_t>(i)});
  }
}

// Extends the sorted prefix of candidates_ from n_sorted to n_wanted.
void Sampler::sort_candidates(size_t n_sorted, size_t n_wanted) {
  const auto begin = candidates_.begin() + static_cast<std::ptrdiff_t>(n_sorted);
  const auto middle = candidates_.begin() + static_cast<std::ptrdiff_t>(n_wanted);
  if (middle != candidates_.end()) {
    std::nth_element(begin, middle, candidates_.end(), BetterCandidate{});
  }
  std::sort(begin, middle, BetterCandidate{});
}

// top-k, top-p and min-p each keep a prefix of the candidates in best-first order, so what all of
// them keep is the shortest of the three prefixes. top-p counts mass within what top-k left; min-p
// compares with the best token, which the others never drop.
int32_t Sampler::draw_from_best(float best, const SamplingParams& params, float temperature,
                                double uniform) {
  const double min_p = std::min(double{or_default(params.min_p, 0.0f)}, 1.0);
  const double top_p = or_default(params.top_p, 1.0f);
  const bool has_top_k = params.top_k != 0 && params.top_k < n_vocab_;
  const double lowest = min_p > 0.0 ? double{best} + std::log(min_p) : -HUGE_VAL;
  const auto below = [&](const Candidate& candidate) { return double{candidate.logit} < lowest; };

  size_t n_kept = 0;    // a prefix of candidates_
  size_t n_sorted = 0;  // of candidates_, best first
  bool has_all = false;
  if (has_top_k && params.top_k <= kHeapLimit) {
    select_best(adjusted_, params.top_k);
    n_kept = n_sorted = candidates_.size();
    has_all = true;  // that top-k leaves
  } else if (top_p < 1.0 && !has_top_k) {
    select_best(adjusted_, std::min(kHeapLimit, n_vocab_));
    n_sorted = candidates_.size();
  } else {
    all_candidates(adjusted_);
    n_kept = candidates_.size();
    has_all = true;
    if (has_top_k && params.top_k < n_kept) {
      sort_candidates(0, params.top_k);
      n_kept = n_sorted = params.top_k;
    }
  }
  if (top_p < 1.0) {
    double total = 0.0;
    if (has_all) {
      for (size_t i = 0; i < n_kept; ++i) total += std::exp(double{candidates_[i].logit} - best);
    } else {
      total = exp_weights(adjusted_, best, 1.0f);
    }
    const double wanted = std::max(top_p, 0.0) * total;
    double mass = 0.0;
    size_t n_reached = 0;
    // Few tokens reach the mass as a rule: sort them in growing portions.
    for (;;) {
      while (n_reached < n_sorted && (n_reached == 0 || mass < wanted)) {
        mass += std::exp(double{candidates_[n_reached].logit} - best);
        ++n_reached;
      }
      if (mass >= wanted || (has_all && n_sorted >= n_kept)) break;
      if (!has_all) {
        all_candidates(adjusted_);
        n_kept = candidates_.size();
        has_all = true;
        if (n_sorted >= n_kept) break;
        sort_candidates(0, n_sorted);
      }
      const size_t n_wanted = std::min(n_kept, n_sorted * 4);
      sort_candidates(n_sorted, n_wanted);
      n_sorted = n_wanted;
    }
    n_kept = n_reached;
  }
  if (min_p > 0.0) {
    if (n_sorted >= n_kept) {
      while (n_kept > 1 && below(candidates_[n_kept - 1])) --n_kept;
    } else {
      // Unsorted: only min-p is at work. Removing keeps id order.
      const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(n_kept);
      n_kept = static_cast<size_t>(std::remove_if(candidates_.begin(), end, below) -
                                   candidates_.begin());
    }
  }
  kept_weights_.resize(n_kept);
  double total = 0.0;
  for (size_t i = 0; i < n_kept; ++i) {
    kept_weights_[i] = std::exp((double{candidates_[i].logit} - best) / temperature);
    total += kept_weights_[i];
  }
  const double target = uniform * total;
  double sum = 0.0;
  size_t chosen = 0;
  for (size_t i = 0; i < n_kept; ++i) {
    if (kept_weights_[i] == 0.0) continue;
    chosen = i;
    sum += kept_weights_[i];
    if (sum > target) break;
  }
  return candidates_[chosen].token;
}

bool Sampler::score(std::span<const float> logits, int32_t token, uint32_t n_top,
                    PromptLogprob& out) {
  FLOE_CHECK(logits.size() == n_vocab_ && token >= 0 && static_cast<uint32_t>(token) < n_vocab_);
  if (!all_finite(logits)) return false;
  out.top.clear();
  out.logprob = raw_logprobs(logits, token, std::min(n_top, n_vocab_), out.top);
  const float logit = logits[static_cast<size_t>(token)];
  out.rank = 1 + static_cast<uint32_t>(std::count_if(logits.begin(), logits.end(),
                                                     [&](float other) { return other > logit; }));
  return true;
}

float Sampler::raw_logprobs(std::span<const float> logits, int32_t token, uint32_t n_top,
                            std::vector<TokenLogprob>& top_logprobs) {
  const float best = logits[static_cast<size_t>(argmax(logits))];
  const double log_total = best + std::log(exp_weights(logits, best, 1.0f));
  if (n_top > 0) {
    select_best(logits, n_top);
    for (const Candidate& candidate : candidates_) {
      top_logprobs.push_back(
          TokenLogprob{candidate.token, bounded(double{candidate.logit} - log_total)});
    }
  }
  return bounded(double{logits[static_cast<size_t>(token)]} - log_total);
}

}  // namespace floe
