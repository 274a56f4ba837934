#include "draft/confidence.h"

#include <algorithm>
#include <bit>

namespace floe {

namespace {

// e^x to about 1e-7 of its value for x in [-87, 88], and at the nearer end beyond it. No branch and
// no call, so that a loop over it becomes vectors: 2^n by the exponent's bits, the rest by the
// series of e^r for |r| <= ln(2) / 2.
inline float exp_bounded(float x) {
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0.693359375f;  // few bits, so that n times it is exact
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  x = std::min(std::max(x, -87.0f), 88.0f);
  const float shifted = x * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  const float series =
      1.0f +
      r * (1.0f +
           r * (1.0f / 2 + r * (1.0f / 6 + r * (1.0f / 24 + r * (1.0f / 120 + r * (1.0f / 720))))));
  const uint32_t exponent = std::bit_cast<uint32_t>(shifted) + 127u;
  return series * std::bit_cast<float>(exponent << 23);
}

}  // namespace

float softmax_probability(std::span<const float> logits, int32_t token) {
  constexpr size_t kLanes = 16;
  const float chosen = logits[static_cast<size_t>(token)];
  const float* values = logits.data();
  float sums[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] += exp_bounded(values[i + lane] - chosen);
    }
  }
  float sum = 0.0f;
  for (; i < logits.size(); ++i) sum += exp_bounded(logits[i] - chosen);
  for (const float lane : sums) sum += lane;
  return 1.0f / sum;
}

uint8_t confidence_level(float probability) {
  uint8_t level = 0;
  for (const float begin : kConfidenceBegins) level += probability >= begin ? 1 : 0;
  return level;
}

}  // namespace floe
