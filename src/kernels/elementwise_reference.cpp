// Scalar norms, rotations and activations. The order of operations is numeric_order.h.
#include <cmath>

#include "kernels/reference.h"
#include "kernels/scalar_math.h"

namespace floe::reference {

namespace {

float reduce_lanes(const float* lane) {
  return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

// Calls step(lane value, index) -> new lane value over all indices, in the order of sums.
template <typename Step>
float sum_lanes(uint32_t n, Step step) {
  float wide[kSumLanes] = {};
  uint32_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes) {
    for (uint32_t l = 0; l < kSumLanes; ++l) wide[l] = step(wide[l], i + l);
  }
  float lane[8];
  for (uint32_t l = 0; l < 8; ++l) {
    lane[l] = (wide[l] + wide[l + 8]) + (wide[l + 16] + wide[l + 24]);
  }
  for (uint32_t l = 0; i < n; ++i, l = (l + 1) % 8) lane[l] = step(lane[l], i);
  return reduce_lanes(lane);
}

}  // namespace

void rms_norm(const float* x, const float* weight, float eps, float* out, uint32_t n) {
  const float squares =
      sum_lanes(n, [&](float lane, uint32_t i) { return std::fma(x[i], x[i], lane); });
  const float scale = 1.0f / std::sqrt(squares / static_cast<float>(n) + eps);
  for (uint32_t i = 0; i < n; ++i) {
    const float scaled = x[i] * scale;
    out[i] = weight != nullptr ? scaled * weight[i] : scaled;
  }
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, float* out,
                uint32_t n) {
  const float count = static_cast<float>(n);
  const float mean = sum_lanes(n, [&](float lane, uint32_t i) { return lane + x[i]; }) / count;
  const float squares = sum_lanes(n, [&](float lane, uint32_t i) {
    const float centred = x[i] - mean;
    return std::fma(centred, centred, lane);
  });
  const float scale = 1.0f / std::sqrt(squares / count + eps);
  for (uint32_t i = 0; i < n; ++i) {
    const float scaled = (x[i] - mean) * scale;
    const float w = weight != nullptr ? weight[i] : 1.0f;
    const float b = bias != nullptr ? bias[i] : 0.0f;
    out[i] = std::fma(scaled, w, b);
  }
}

void rope(float* x, const float* cos_sin, uint32_t n_pairs, bool interleaved) {
  for (uint32_t i = 0; i < n_pairs; ++i) {
    float& first = interleaved ? x[2 * i] : x[i];
    float& second = interleaved ? x[2 * i + 1] : x[i + n_pairs];
    const float cosine = cos_sin[2 * i];
    const float sine = cos_sin[2 * i + 1];
    const float a = first;
    const float b = second;
    first = std::fma(a, cosine, -(b * sine));
    second = std::fma(b, cosine, a * sine);
  }
}

void swiglu(const float* gate, const float* up, float* out, uint32_t n) {
  for (uint32_t i = 0; i < n; ++i) out[i] = floe::swiglu(gate[i], up[i]);
}

void swiglu_clamped(const float* gate, const float* up, float* out, uint32_t n) {
  for (uint32_t i = 0; i < n; ++i) out[i] = floe::swiglu_clamped(gate[i], up[i]);
}

void axpy(float scale, const float* x, float* out, uint32_t n) {
  for (uint32_t i = 0; i < n; ++i) out[i] = std::fma(scale, x[i], out[i]);
}

void add(const float* x, float* out, uint32_t n) {
  for (uint32_t i = 0; i < n; ++i) out[i] += x[i];
}

void softmax(float* x, uint32_t n) {
  // NaN never wins the comparison; it comes out of exp and reaches every element through the sum.
  float max = -INFINITY;
  for (uint32_t i = 0; i < n; ++i) max = x[i] > max ? x[i] : max;
  // Nothing to attend to: all weights 0 rather than NaN.
  if (max == -INFINITY) max = 0;
  for (uint32_t i = 0; i < n; ++i) x[i] = exponential(x[i] - max);
  const float sum = sum_lanes(n, [&](float lane, uint32_t i) { return lane + x[i]; });
  const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
  for (uint32_t i = 0; i < n; ++i) x[i] *= inverse;
}

void softmax_block(float* x, size_t stride, uint32_t n_heads, uint32_t n, float* maxima,
                   float* sums, float* factors) {
  for (uint32_t h = 0; h < n_heads; ++h, x += stride) {
    float max = maxima[h];
    for (uint32_t i = 0; i < n; ++i) max = x[i] > max ? x[i] : max;
    // Nothing to attend to so far: weights 0 rather than NaN.
    const float base = max == -INFINITY ? 0.0f : max;
    for (uint32_t i = 0; i < n; ++i) x[i] = exponential(x[i] - base);
    const float sum = sum_lanes(n, [&](float lane, uint32_t i) { return lane + x[i]; });
    factors[h] = exponential(maxima[h] - base);
    sums[h] = std::fma(sums[h], factors[h], sum);
    maxima[h] = max;
  }
}

}  // namespace floe::reference
