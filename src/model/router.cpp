#include "model/router.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/scalar_math.h"

namespace floe {

namespace {

constexpr float kWorst = -std::numeric_limits<float>::infinity();

// NaN would make comparisons inconsistent.
float ordered(float score) {
  return score == score ? score : kWorst;
}

// Indices of the k best of n scores in falling order, ties to the lower index.
void top_k(const float* scores, uint32_t n, uint32_t k, uint32_t* best) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < n; ++i) {
    const float score = ordered(scores[i]);
    if (count == k && !(score > ordered(scores[best[k - 1]]))) continue;
    uint32_t at = count < k ? count++ : k - 1;
    for (; at > 0 && score > ordered(scores[best[at - 1]]); --at) best[at] = best[at - 1];
    best[at] = i;
  }
}

// Lowers the scores of all groups but the best to below everything. group_scores f32 [n_groups].
void keep_best_groups(const RouterRules& rules, float* scores, float* group_scores) {
  const uint32_t group_size = rules.n_experts / rules.n_groups;
  for (uint32_t g = 0; g < rules.n_groups; ++g) {
    float first = kWorst;
    float second = kWorst;
    for (uint32_t i = g * group_size; i < (g + 1) * group_size; ++i) {
      const float score = ordered(scores[i]);
      if (score > first) {
        second = first;
        first = score;
      } else if (score > second) {
        second = score;
      }
    }
    group_scores[g] = rules.correction_bias != nullptr && group_size > 1 ? first + second : first;
  }
  for (uint32_t g = 0; g < rules.n_groups; ++g) {
    // A group stays when fewer than n_active_groups others come before it.
    uint32_t n_before = 0;
    const float own = ordered(group_scores[g]);
    for (uint32_t other = 0; other < rules.n_groups; ++other) {
      const float score = ordered(group_scores[other]);
      n_before += score > own || (score == own && other < g);
    }
    if (n_before >= rules.n_active_groups) {
      std::fill_n(scores + size_t{g} * group_size, group_size, kWorst);
    }
  }
}

}  // namespace

void choose_experts(const KernelTable& kernels, const RouterRules& rules, const float* logits,
                    uint32_t* experts, float* weights, float* scratch) {
  const uint32_t n = rules.n_experts;
  float* probabilities = scratch;
  float* scores = scratch + n;
  float* group_scores = scratch + 2 * size_t{n};

  std::memcpy(probabilities, logits, n * sizeof(float));
  if (rules.gating == Gating::softmax) {
    kernels.softmax(probabilities, n);
  } else if (rules.gating == Gating::sigmoid) {
    for (uint32_t i = 0; i < n; ++i) probabilities[i] = sigmoid(probabilities[i]);
  }
  for (uint32_t i = 0; i < n; ++i) {
    scores[i] = probabilities[i];
    if (rules.correction_bias != nullptr) scores[i] += rules.correction_bias[i];
  }
  if (rules.n_groups > 1) keep_best_groups(rules, scores, group_scores);
  top_k(scores, n, rules.n_active, experts);

  for (uint32_t j = 0; j < rules.n_active; ++j) weights[j] = probabilities[experts[j]];
  if (rules.gating == Gating::softmax_selected) kernels.softmax(weights, rules.n_active);
  if (rules.normalise) {
    float sum = 0.0f;
    for (uint32_t j = 0; j < rules.n_active; ++j) sum += weights[j];
    // All chosen sigmoids may vanish; their weights then stay small instead of becoming NaN.
    sum += 1e-20f;
    for (uint32_t j = 0; j < rules.n_active; ++j) weights[j] /= sum;
  }
  for (uint32_t j = 0; j < rules.n_active; ++j) weights[j] *= rules.scale;
}

}  // namespace floe
