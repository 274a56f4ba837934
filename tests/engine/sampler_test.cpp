#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "base/rng.h"

namespace floe {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The distribution that the parameters describe, computed the plain way in f64: sort everything,
// cut, apply the temperature, normalise. Greedy is the limit of temperature 0.
std::vector<double> reference_distribution(std::span<const float> logits,
                                           std::span<const int32_t> history,
                                           const SamplingParams& params) {
  const size_t n = logits.size();
  std::vector<double> adjusted(logits.begin(), logits.end());
  for (const auto& [token, bias] : params.logit_bias) {
    adjusted[static_cast<size_t>(token)] += bias;
  }
  std::map<int32_t, int> seen;
  const size_t window = params.repeat_last_n < 0
                            ? history.size()
                            : std::min<size_t>(history.size(), params.repeat_last_n);
  for (const int32_t token : history.last(window)) ++seen[token];
  for (const auto& [token, count] : seen) {
    double& logit = adjusted[static_cast<size_t>(token)];
    logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    logit -= params.frequency_penalty * count + params.presence_penalty;
  }
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return adjusted[a] > adjusted[b]; });
  if (params.top_k != 0 && params.top_k < order.size()) order.resize(params.top_k);
  const auto probability = [&](size_t token) {
    return std::exp(adjusted[token] - adjusted[order[0]]);
  };
  double total = 0;
  for (const size_t token : order) total += probability(token);
  if (params.top_p < 1.0f) {
    double mass = 0;
    size_t kept = 0;
    while (kept < order.size() && (kept == 0 || mass < params.top_p * total)) {
      mass += probability(order[kept++]);
    }
    order.resize(kept);
  }
  while (order.size() > 1 && probability(order.back()) < params.min_p) order.pop_back();
  std::vector<double> out(n, 0.0);
  if (params.temperature <= 0) {
    out[order[0]] = 1.0;
    return out;
  }
  double sum = 0;
  for (const size_t token : order) {
    out[token] = std::exp((adjusted[token] - adjusted[order[0]]) / params.temperature);
    sum += out[token];
  }
  for (double& value : out) value /= sum;
  return out;
}

std::vector<float> random_logits(uint64_t seed, size_t n, double spread = 3.0) {
  Rng rng(seed);
  std::vector<float> logits(n);
  for (float& logit : logits) {
    logit = static_cast<float>(spread * std::sqrt(-2 * std::log(rng.uniform() + 1e-12)) *
                               std::cos(6.283185307 * rng.uniform()));
  }
  return logits;
}

int32_t sample(Sampler& sampler, std::span<const float> logits, const SamplingParams& params,
               uint64_t position = 0, std::span<const int32_t> history = {}) {
  std::vector<TokenLogprob> top;
  const SampledToken sampled = sampler.sample(logits, history, params, params.seed, position, top);
  EXPECT_TRUE(sampled.finite);
  return sampled.token;
}

TEST(Rng, PhiloxKnownAnswers) {
  using Counter = std::array<uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Sampler, GreedyTakesTheBestAndTheFirstOfEquals) {
  Sampler sampler(5);
  SamplingParams params;
  params.temperature = 0.0f;
  EXPECT_EQ(sample(sampler, std::vector<float>{1, 3, 2, 3, -1}, params), 1);
  EXPECT_EQ(sample(sampler, std::vector<float>{0, 0, 0, 0, 0}, params), 0);
  params.temperature = -1.0f;
  EXPECT_EQ(sample(sampler, std::vector<float>{-5, -4, -3, -2, -6}, params), 3);
}

TEST(Sampler, SamePositionSameTokenOtherPositionOtherDraw) {
  const std::vector<float> logits = random_logits(1, 1000, 0.5);
  Sampler one(1000);
  Sampler two(1000);
  SamplingParams params;
  params.seed = 42;
  std::vector<int32_t> first;
  for (uint64_t p = 0; p < 64; ++p) first.push_back(sample(one, logits, params, p));
  for (uint64_t p = 64; p-- > 0;) EXPECT_EQ(sample(two, logits, params, p), first[p]);
  params.seed = 43;
  int n_equal = 0;
  for (uint64_t p = 0; p < 64; ++p) n_equal += sample(one, logits, params, p) == first[p] ? 1 : 0;
  EXPECT_LT(n_equal, 8);
}

struct Case {
  const char* name;
  SamplingParams params;
};

std::vector<Case> distribution_cases() {
  std::vector<Case> cases;
  const auto add = [&](const char* name, auto edit) {
    Case one{name, {}};
    edit(one.params);
    one.params.seed = 1000 + cases.size();
    cases.push_back(one);
  };
  add("plain", [](SamplingParams&) {});
  add("cool", [](SamplingParams& p) { p.temperature = 0.5f; });
  add("hot", [](SamplingParams& p) { p.temperature = 2.5f; });
  add("top_k", [](SamplingParams& p) { p.top_k = 7; });
  add("top_p", [](SamplingParams& p) { p.top_p = 0.8f; });
  add("min_p", [](SamplingParams& p) { p.min_p = 0.1f; });
  add("min_p hot", [](SamplingParams& p) { p.min_p = 0.02f, p.temperature = 3.0f; });
  add("top_k top_p", [](SamplingParams& p) { p.top_k = 12, p.top_p = 0.7f; });
  add("all cuts", [](SamplingParams& p) {
    p.top_k = 20, p.top_p = 0.95f, p.min_p = 0.03f, p.temperature = 0.8f;
  });
  add("repetition", [](SamplingParams& p) { p.repetition_penalty = 1.5f; });
  add("frequency", [](SamplingParams& p) { p.frequency_penalty = 0.7f; });
  add("presence", [](SamplingParams& p) { p.presence_penalty = 1.3f, p.repeat_last_n = -1; });
  add("short window", [](SamplingParams& p) { p.frequency_penalty = 1.0f, p.repeat_last_n = 3; });
  add("bias", [](SamplingParams& p) { p.logit_bias = {{3, 2.0f}, {5, -100.0f}, {3, 0.5f}}; });
  add("everything", [](SamplingParams& p) {
    p.top_k = 30, p.top_p = 0.9f, p.min_p = 0.01f, p.temperature = 1.4f;
    p.repetition_penalty = 1.1f, p.frequency_penalty = 0.2f, p.presence_penalty = -0.3f;
    p.logit_bias = {{0, 1.0f}, {1, -1.0f}};
  });
  return cases;
}

TEST(Sampler, DrawsFollowTheReferenceDistribution) {
  constexpr size_t kVocab = 50;
  constexpr uint64_t kDraws = 30000;
  const std::vector<float> logits = random_logits(7, kVocab, 1.5);
  const std::vector<int32_t> history = {1, 2, 3, 3, 3, 10, 11, 12, 12, 40};
  Sampler sampler(kVocab);
  for (const Case& one : distribution_cases()) {
    const std::vector<double> expected = reference_distribution(logits, history, one.params);
    std::vector<uint64_t> counts(kVocab, 0);
    for (uint64_t p = 0; p < kDraws; ++p) {
      ++counts[static_cast<size_t>(sample(sampler, logits, one.params, p, history))];
    }
    double chi_square = 0;
    double n_cells = 0;
    double rare_expected = 0;
    double rare_counted = 0;
    for (size_t i = 0; i < kVocab; ++i) {
      if (expected[i] == 0) {
        EXPECT_EQ(counts[i], 0u) << one.name << ": token " << i << " was cut off";
        continue;
      }
      const double mean = expected[i] * kDraws;
      if (mean < 10) {  // pooled
        rare_expected += mean;
        rare_counted += static_cast<double>(counts[i]);
        continue;
      }
      chi_square +=
          (static_cast<double>(counts[i]) - mean) * (static_cast<double>(counts[i]) - mean) / mean;
      n_cells += 1;
    }
    if (rare_expected >= 10) {
      chi_square += (rare_counted - rare_expected) * (rare_counted - rare_expected) / rare_expected;
      n_cells += 1;
    }
    const double freedom = std::max(1.0, n_cells - 1);
    EXPECT_LT(chi_square, freedom + 5 * std::sqrt(2 * freedom)) << one.name;
  }
}

TEST(Sampler, GreedyWithPenaltiesEqualsTheReference) {
  Rng rng(99);
  Sampler sampler(40);
  for (uint64_t i = 0; i < 2000; ++i) {
    const std::vector<float> logits = random_logits(i, 40, 1.0);
    std::vector<int32_t> history(rng.below(100));
    for (int32_t& token : history) token = static_cast<int32_t>(rng.below(40));
    SamplingParams params;
    params.temperature = 0.0f;
    params.repetition_penalty = static_cast<float>(0.8 + rng.uniform());
    params.frequency_penalty = static_cast<float>(rng.uniform() - 0.5);
    params.presence_penalty = static_cast<float>(rng.uniform() - 0.5);
    params.repeat_last_n = static_cast<int32_t>(rng.below(66)) - 1;
    const std::vector<double> expected = reference_distribution(logits, history, params);
    const int32_t token = sample(sampler, logits, params, 0, history);
    EXPECT_EQ(expected[static_cast<size_t>(token)], 1.0) << i;
  }
}

// A vocabulary larger than the portions in which top-p sorts.
TEST(Sampler, TopPOverALargeVocabularyCutsWhereTheReferenceDoes) {
  constexpr size_t kVocab = 20000;
  for (const double spread : {0.01, 0.5, 4.0}) {
    const std::vector<float> logits = random_logits(3, kVocab, spread);
    Sampler sampler(kVocab);
    SamplingParams params;
    params.top_p = 0.9f;
    const std::vector<double> expected = reference_distribution(logits, {}, params);
    for (uint64_t p = 0; p < 50; ++p) {
      const int32_t token = sample(sampler, logits, params, p);
      EXPECT_GT(expected[static_cast<size_t>(token)], 0.0);
    }
  }
}

TEST(Sampler, LogprobsEqualTheReference) {
  constexpr size_t kVocab = 300;
  const std::vector<float> logits = random_logits(5, kVocab);
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));
  Sampler sampler(kVocab);
  SamplingParams params;
  params.logprobs = true;
  params.top_logprobs = 20;
  params.top_k = 3;                  // what is cut off still has its logprob
  params.logit_bias = {{7, 50.0f}};  // and a bias does not show
  std::vector<TokenLogprob> top;
  const SampledToken sampled = sampler.sample(logits, {}, params, 1, 1, top);
  EXPECT_EQ(sampled.token, 7);
  EXPECT_NEAR(sampled.logprob, static_cast<double>(logits[7]) - std::log(total), 1e-5);
  ASSERT_EQ(top.size(), 20u);
  std::vector<float> sorted = logits;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  for (size_t i = 0; i < top.size(); ++i) {
    EXPECT_EQ(logits[static_cast<size_t>(top[i].token)], sorted[i]);
    EXPECT_NEAR(top[i].logprob, static_cast<double>(sorted[i]) - std::log(total), 1e-5);
  }
  params.logprobs = false;
  sampler.sample(logits, {}, params, 1, 1, top);
  EXPECT_TRUE(top.empty());
}

TEST(Sampler, RowsThatAreNotFiniteAreReported) {
  Sampler sampler(40);
  std::vector<TokenLogprob> top;
  for (const float bad : {kNan, -kNan, kInf, -kInf}) {
    for (const size_t index : {0u, 17u, 39u}) {
      std::vector<float> logits = random_logits(1, 40);
      logits[index] = bad;
      for (const float temperature : {0.0f, 1.0f}) {
        SamplingParams params;
        params.temperature = temperature;
        EXPECT_FALSE(sampler.sample(logits, {}, params, 0, 0, top).finite);
      }
    }
  }
  std::vector<float> logits(40, FLT_MAX);
  logits[3] = -FLT_MAX;
  EXPECT_TRUE(sampler.sample(logits, {}, {}, 0, 0, top).finite);
}

TEST(Sampler, ExtremeParametersAlwaysGiveAToken) {
  constexpr int32_t kVocab = 16;
  const std::vector<float> rows[] = {
      random_logits(1, kVocab),
      std::vector<float>(kVocab, 0.0f),
      std::vector<float>(kVocab, FLT_MAX),
      std::vector<float>(kVocab, -FLT_MAX),
      {1e38f, -1e38f, 1e-38f, 0, -0.0f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}};
  const float floats[] = {0.0f,   -0.0f,   1e-38f, 1e-45f, 1.0f, 2.0f, -2.0f, 1e38f,
                          -1e38f, FLT_MAX, kInf,   -kInf,  kNan, 0.5f, 1e-9f};
  const uint32_t top_ks[] = {0, 1, 15, 16, 17, 1u << 31, UINT32_MAX};
  const std::vector<int32_t> history = {0, 1, 1, 2, 2, 2, 15};
  std::vector<std::vector<std::pair<int32_t, float>>> biases = {{}};
  for (const float bias : {100.0f, -100.0f, -kInf, kInf, kNan, FLT_MAX, -FLT_MAX}) {
    biases.emplace_back();
    for (int32_t token = 0; token < kVocab; ++token) biases.back().emplace_back(token, bias);
  }
  biases.push_back({{-1, 5.0f}, {kVocab, 5.0f}});
  Sampler sampler(kVocab);
  std::vector<TokenLogprob> top;
  Rng rng(5);
  const auto pick = [&](const auto& values) { return values[rng.below(std::size(values))]; };
  for (uint64_t i = 0; i < 200000; ++i) {
    SamplingParams params;
    if (rng.chance(0.7)) params.temperature = pick(floats);
    if (rng.chance(0.5)) params.top_p = pick(floats);
    if (rng.chance(0.5)) params.min_p = pick(floats);
    if (rng.chance(0.5)) params.top_k = pick(top_ks);
    if (rng.chance(0.5)) params.repetition_penalty = pick(floats);
    if (rng.chance(0.5)) params.frequency_penalty = pick(floats);
    if (rng.chance(0.5)) params.presence_penalty = pick(floats);
    if (rng.chance(0.5)) params.repeat_last_n = static_cast<int32_t>(rng.next());
    params.logit_bias = pick(biases);
    params.logprobs = true;
    params.top_logprobs = static_cast<uint32_t>(rng.below(40));
    const SampledToken sampled = sampler.sample(pick(rows), history, params, i, i, top);
    ASSERT_TRUE(sampled.finite);
    ASSERT_GE(sampled.token, 0);
    ASSERT_LT(sampled.token, kVocab);
    ASSERT_TRUE(std::isfinite(sampled.logprob));
  }
}

// One row a case: which of the five tokens may follow the history, whatever the temperature.
TEST(Sampler, BadWordsAndHeldTokens) {
  struct BanCase {
    const char* name;
    uint32_t n_prompt;
    std::vector<int32_t> history;
    std::vector<std::vector<int32_t>> bad_words;
    uint32_t min_tokens;
    std::vector<int32_t> held_tokens;
    std::vector<std::pair<int32_t, float>> logit_bias;
    std::set<int32_t> allowed;
  };
  const BanCase cases[] = {
      {"nothing is asked for", 0, {}, {}, 0, {0, 1}, {}, {0, 1, 2, 3, 4}},
      {"a word of one token", 0, {}, {{0}}, 0, {}, {}, {1, 2, 3, 4}},
      {"two words", 0, {}, {{0}, {4}}, 0, {}, {}, {1, 2, 3}},
      {"the last token of a word, behind the others", 1, {9, 1}, {{1, 0}}, 0, {}, {}, {1, 2, 3, 4}},
      {"not behind other tokens", 1, {9, 2}, {{1, 0}}, 0, {}, {}, {0, 1, 2, 3, 4}},
      {"the prompt does not begin a word", 2, {9, 1}, {{1, 0}}, 0, {}, {}, {0, 1, 2, 3, 4}},
      {"nor its part", 1, {1, 2}, {{1, 2, 0}}, 0, {}, {}, {0, 1, 2, 3, 4}},
      {"a word of three", 0, {3, 1, 2}, {{1, 2, 0}}, 0, {}, {}, {1, 2, 3, 4}},
      {"a word that is longer than the output", 0, {2}, {{1, 2, 0}}, 0, {}, {}, {0, 1, 2, 3, 4}},
      {"a bias does not lift it", 0, {}, {{0}}, 0, {}, {{0, 100.0f}}, {1, 2, 3, 4}},
      {"held back before the first token", 3, {9, 9, 9}, {}, 1, {0, 1}, {}, {2, 3, 4}},
      {"until there are enough", 1, {9, 2, 2}, {}, 3, {0, 1}, {}, {2, 3, 4}},
      {"and then no more", 1, {9, 2, 2, 2}, {}, 3, {0, 1}, {}, {0, 1, 2, 3, 4}},
      {"a bias does not lift them", 0, {}, {}, 1, {0}, {{0, 100.0f}}, {1, 2, 3, 4}},
      {"ids outside of the vocabulary", 0, {}, {}, 1, {-1, 5, 10}, {}, {0, 1, 2, 3, 4}},
      {"both", 0, {}, {{2}}, 1, {0, 1}, {}, {3, 4}},
      {"everything: the model's own choice stands", 0, {}, {}, 1, {0, 1, 2, 3, 4}, {}, {0}},
  };
  const std::vector<float> logits = {2.0f, 1.5f, 1.0f, 0.5f, 0.0f};
  Sampler sampler(5);
  for (const BanCase& c : cases) {
    for (const float temperature : {0.0f, 1.0f, 5.0f}) {
      for (const float top_p : {1.0f, 0.999f}) {
        SamplingParams params;
        params.temperature = temperature;
        params.top_p = top_p;
        params.n_prompt = c.n_prompt;
        params.bad_words = c.bad_words;
        params.min_tokens = c.min_tokens;
        params.held_tokens = c.held_tokens;
        params.logit_bias = c.logit_bias;
        std::set<int32_t> seen;
        for (uint64_t p = 0; p < 400; ++p)
          seen.insert(sample(sampler, logits, params, p, c.history));
        if (temperature == 0.0f) {
          EXPECT_EQ(seen, std::set<int32_t>{*c.allowed.begin()}) << c.name;
        } else if (temperature == 5.0f && top_p == 1.0f) {
          EXPECT_EQ(seen, c.allowed) << c.name;
        }
        for (const int32_t token : seen) EXPECT_TRUE(c.allowed.contains(token)) << c.name;
      }
    }
  }
}

TEST(Sampler, ScoreIsTheLogSoftmaxAndTheRank) {
  Sampler sampler(300);
  const std::vector<float> logits = random_logits(9, 300);
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));
  for (int32_t token = 0; token < 300; ++token) {
    PromptLogprob score;
    ASSERT_TRUE(sampler.score(logits, token, 3, score));
    const float logit = logits[static_cast<size_t>(token)];
    EXPECT_NEAR(score.logprob, static_cast<double>(logit) - std::log(total), 1e-5);
    uint32_t rank = 1;
    for (const float other : logits) rank += other > logit ? 1 : 0;
    EXPECT_EQ(score.rank, rank);
    ASSERT_EQ(score.top.size(), 3u);
    if (rank <= 3) {
      EXPECT_EQ(score.top[rank - 1].token, token);
    }
  }
  std::vector<float> broken = logits;
  broken[100] = kNan;
  PromptLogprob score;
  EXPECT_FALSE(sampler.score(broken, 0, 0, score));
}

TEST(Sampler, BannedTokensStayBanned) {
  Sampler sampler(4);
  const std::vector<float> logits = {5, 4, 3, 2};
  SamplingParams params;
  params.logit_bias = {{0, -kInf}, {1, -kInf}};
  params.frequency_penalty = -2.0f;
  const std::vector<int32_t> history = {0, 0, 1};
  for (const float temperature : {0.0f, 1.0f, 1e38f, kInf}) {
    params.temperature = temperature;
    for (const float min_p : {0.0f, 1e-9f}) {
      params.min_p = min_p;
      for (uint64_t p = 0; p < 100; ++p) EXPECT_GE(sample(sampler, logits, params, p, history), 2);
    }
  }
}

}  // namespace
}  // namespace floe
