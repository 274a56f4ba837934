// NEON norms, rotations, activations and activation quantisation. The order is numeric_order.h.
#include "kernels/neon.h"
#include "kernels/neon_lanes.h"
#include "kernels/numeric_order.h"

namespace floe::neon_dotprod {

namespace {

// The second operand when one is NaN: a NaN in a loses and one in b stays.
FLOE_INLINE float32x4_t larger(float32x4_t a, float32x4_t b) {
  return vbslq_f32(vcgtq_f32(a, b), a, b);
}

FLOE_INLINE float32x4_t smaller(float32x4_t a, float32x4_t b) {
  return vbslq_f32(vcltq_f32(a, b), a, b);
}

FLOE_INLINE float32x4_t exponential(float32x4_t x) {
  using namespace exp_terms;
  x = smaller(vdupq_n_f32(kMax), x);
  x = larger(vdupq_n_f32(kMin), x);
  const float32x4_t round = vdupq_n_f32(kRound);
  const float32x4_t rounded = vfmaq_f32(round, x, vdupq_n_f32(kLog2E));
  const float32x4_t n = vsubq_f32(rounded, round);
  float32x4_t r = vfmsq_f32(x, n, vdupq_n_f32(kLn2High));
  r = vfmsq_f32(r, n, vdupq_n_f32(kLn2Low));
  float32x4_t p = vfmaq_f32(vdupq_n_f32(kC6), vdupq_n_f32(kC7), r);
  p = vfmaq_f32(vdupq_n_f32(kC5), p, r);
  p = vfmaq_f32(vdupq_n_f32(kC4), p, r);
  p = vfmaq_f32(vdupq_n_f32(kC3), p, r);
  p = vfmaq_f32(vdupq_n_f32(kC2), p, r);
  p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
  p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
  const int32x4_t bias = vdupq_n_s32(127);
  const int32x4_t exponent =
      vsubq_s32(vreinterpretq_s32_f32(rounded), vreinterpretq_s32_f32(round));
  const int32x4_t half = vshrq_n_s32(exponent, 1);
  const int32x4_t rest = vsubq_s32(exponent, half);
  const float32x4_t first = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
  const float32x4_t second = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23));
  return vmulq_f32(vmulq_f32(p, first), second);
}

FLOE_INLINE Lanes exponential(const Lanes& x) {
  return {exponential(x.low), exponential(x.high)};
}

// step(lanes, index) takes 8 elements from index on, last(lane, index) one.
template <typename Step, typename Last>
FLOE_INLINE float sum_lanes(uint32_t n, const Step& step, const Last& last) {
  Lanes wide[4] = {splat(0), splat(0), splat(0), splat(0)};
  uint32_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes) {
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; ++k) wide[k] = step(wide[k], i + 8 * k);
  }
  Lanes lanes = (wide[0] + wide[1]) + (wide[2] + wide[3]);
  for (; i + 8 <= n; i += 8) lanes = step(lanes, i);
  if (i < n) {
    float lane[8];
    store(lane, lanes);
    for (uint32_t l = 0; i < n; ++i, ++l) lane[l] = last(lane[l], i);
    lanes = load(lane);
  }
  return reduce_lanes(lanes);
}

FLOE_INLINE float square_root(float x) {
  return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0);
}

// out[i] = f(i) for all i, f(read) in groups of 8; read(x) is the group of x, full or partial.
template <typename Map>
FLOE_INLINE void map(float* out, uint32_t n, const Map& f) {
  uint32_t i = 0;
  for (; i + 8 <= n; i += 8) store(out + i, f([i](const float* x) { return load(x + i); }));
  if (i < n) {
    store_first(out + i, f([i, n](const float* x) { return load_part(x + i, n - i); }), n - i);
  }
}

// Loads 32 values and returns their largest magnitude's bits: magnitudes compare as integers do,
// NaN and infinity above all others.
FLOE_INLINE uint32_t load_block(const float* x, float32x4_t (&v)[8]) {
  uint32x4_t largest = vdupq_n_u32(0);
#pragma GCC unroll 8
  for (int k = 0; k < 8; ++k) {
    v[k] = vld1q_f32(x + 4 * k);
    largest = vmaxq_u32(largest, vreinterpretq_u32_f32(vabsq_f32(v[k])));
  }
  return vmaxvq_u32(largest);
}

// 16 values times inverse, to the nearest, saturated to bytes.
FLOE_INLINE int8x16_t round_to_bytes(const float32x4_t* v, float inverse) {
  int32x4_t n[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) n[k] = vcvtnq_s32_f32(vmulq_n_f32(v[k], inverse));
  const int16x8_t low = vcombine_s16(vqmovn_s32(n[0]), vqmovn_s32(n[1]));
  const int16x8_t high = vcombine_s16(vqmovn_s32(n[2]), vqmovn_s32(n[3]));
  return vcombine_s8(vqmovn_s16(low), vqmovn_s16(high));
}

// n <= 32 values; what is missing counts as zeros.
FLOE_INLINE void store_q8_block(const float* x, uint32_t n, std::byte* block) {
  float padded[32] = {};
  if (n < 32) {
    __builtin_memcpy(padded, x, 4 * size_t{n});
    x = padded;
  }
  float32x4_t v[8];
  const uint32_t amax_bits = load_block(x, v);
  if (amax_bits >= 0x7f800000u) {
    __builtin_memset(block, 0, kQ8CacheBlockBytes);
    __builtin_memcpy(block, &kHalfNaN, 2);
    return;
  }
  float amax;
  __builtin_memcpy(&amax, &amax_bits, 4);
  const float wanted = amax / 127.0f;
  const float16x4_t half = vcvt_f16_f32(vdupq_n_f32(wanted < kLargestHalf ? wanted : kLargestHalf));
  vst1_lane_u16(reinterpret_cast<uint16_t*>(block), vreinterpret_u16_f16(half), 0);
  const float scale = vgetq_lane_f32(vcvt_f32_f16(half), 0);
  const float inverse = scale == 0.0f ? 0.0f : 1.0f / scale;
  auto* q = reinterpret_cast<int8_t*>(block + 2);
  const int8x16_t least = vdupq_n_s8(-127);
  vst1q_s8(q, vmaxq_s8(round_to_bytes(v, inverse), least));
  vst1q_s8(q + 16, vmaxq_s8(round_to_bytes(v + 4, inverse), least));
}

}  // namespace

void rms_norm(const float* x, const float* weight, float eps, float* out, uint32_t n) {
  const float squares = sum_lanes(
      n,
      [x](const Lanes& lanes, uint32_t i) {
        const Lanes v = load(x + i);
        return fma(v, v, lanes);
      },
      [x](float lane, uint32_t i) { return __builtin_fmaf(x[i], x[i], lane); });
  const Lanes scale = splat(1.0f / square_root(squares / static_cast<float>(n) + eps));
  if (weight == nullptr) {
    map(out, n, [&](auto read) { return read(x) * scale; });
  } else {
    map(out, n, [&](auto read) { return read(x) * scale * read(weight); });
  }
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, float* out,
                uint32_t n) {
  const float count = static_cast<float>(n);
  const float mean = sum_lanes(
                         n, [x](const Lanes& lanes, uint32_t i) { return lanes + load(x + i); },
                         [x](float lane, uint32_t i) { return lane + x[i]; }) /
                     count;
  const Lanes means = splat(mean);
  const float squares = sum_lanes(
      n,
      [x, &means](const Lanes& lanes, uint32_t i) {
        const Lanes centred = load(x + i) - means;
        return fma(centred, centred, lanes);
      },
      [x, mean](float lane, uint32_t i) {
        const float centred = x[i] - mean;
        return __builtin_fmaf(centred, centred, lane);
      });
  const Lanes scale = splat(1.0f / square_root(squares / count + eps));
  map(out, n, [&](auto read) {
    const Lanes w = weight != nullptr ? read(weight) : splat(1.0f);
    const Lanes b = bias != nullptr ? read(bias) : splat(0.0f);
    return fma((read(x) - means) * scale, w, b);
  });
}

void rope(float* x, const float* cos_sin, uint32_t n_pairs, bool interleaved) {
  uint32_t i = 0;
  for (; i + 4 <= n_pairs; i += 4) {
    const float32x4x2_t turn = vld2q_f32(cos_sin + 2 * i);
    float32x4x2_t pairs;
    if (interleaved) {
      pairs = vld2q_f32(x + 2 * i);
    } else {
      pairs = {vld1q_f32(x + i), vld1q_f32(x + n_pairs + i)};
    }
    const float32x4_t a = pairs.val[0];
    const float32x4_t b = pairs.val[1];
    pairs.val[0] = vfmaq_f32(vnegq_f32(vmulq_f32(b, turn.val[1])), a, turn.val[0]);
    pairs.val[1] = vfmaq_f32(vmulq_f32(a, turn.val[1]), b, turn.val[0]);
    if (interleaved) {
      vst2q_f32(x + 2 * i, pairs);
    } else {
      vst1q_f32(x + i, pairs.val[0]);
      vst1q_f32(x + n_pairs + i, pairs.val[1]);
    }
  }
  for (; i < n_pairs; ++i) {
    float& first = interleaved ? x[2 * i] : x[i];
    float& second = interleaved ? x[2 * i + 1] : x[i + n_pairs];
    const float cosine = cos_sin[2 * i];
    const float sine = cos_sin[2 * i + 1];
    const float a = first;
    const float b = second;
    first = __builtin_fmaf(a, cosine, -(b * sine));
    second = __builtin_fmaf(b, cosine, a * sine);
  }
}

void swiglu(const float* gate, const float* up, float* out, uint32_t n) {
  map(out, n, [&](auto read) {
    const Lanes g = read(gate);
    return g / (splat(1.0f) + exponential(-g)) * read(up);
  });
}

void swiglu_clamped(const float* gate, const float* up, float* out, uint32_t n) {
  using namespace swiglu_terms;
  const float32x4_t most = vdupq_n_f32(kLimit);
  const float32x4_t least = vdupq_n_f32(-kLimit);
  const Lanes slope = splat(-kSlope);
  map(out, n, [&](auto read) {
    Lanes g = read(gate);
    g = {smaller(most, g.low), smaller(most, g.high)};
    Lanes u = read(up);
    u = {larger(least, smaller(most, u.low)), larger(least, smaller(most, u.high))};
    return g / (splat(1.0f) + exponential(slope * g)) * (u + splat(1.0f));
  });
}

void axpy(float scale, const float* x, float* out, uint32_t n) {
  const Lanes scales = splat(scale);
  map(out, n, [&](auto read) { return fma(scales, read(x), read(out)); });
}

void add(const float* x, float* out, uint32_t n) {
  map(out, n, [&](auto read) { return read(out) + read(x); });
}

void softmax(float* x, uint32_t n) {
  const float lowest = -__builtin_inff();
  Lanes largest = splat(lowest);
  uint32_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const Lanes v = load(x + i);
    largest = {larger(v.low, largest.low), larger(v.high, largest.high)};
  }
  // No lane is NaN.
  float max = vmaxvq_f32(vmaxq_f32(largest.low, largest.high));
  for (; i < n; ++i) max = x[i] > max ? x[i] : max;
  if (max == lowest) max = 0;
  const Lanes shift = splat(max);
  map(x, n, [&](auto read) { return exponential(read(x) - shift); });
  const float sum = sum_lanes(
      n, [x](const Lanes& lanes, uint32_t k) { return lanes + load(x + k); },
      [x](float value, uint32_t k) { return value + x[k]; });
  const Lanes inverse = splat(sum == 0.0f ? 0.0f : 1.0f / sum);
  map(x, n, [&](auto read) { return read(x) * inverse; });
}

void softmax_block(float* x, size_t stride, uint32_t n_heads, uint32_t n, float* maxima,
                   float* sums, float* factors) {
  for (uint32_t h = 0; h < n_heads; ++h, x += stride) {
    const float before = maxima[h];
    // The running maximum stands second: it is what `larger` returns for NaN.
    float32x4_t largest = vdupq_n_f32(before);
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) largest = larger(vld1q_f32(x + i), largest);
    float max = vmaxvq_f32(largest);
    for (; i < n; ++i) max = x[i] > max ? x[i] : max;
    const float base = max == -__builtin_inff() ? 0.0f : max;
    const Lanes bases = splat(base);
    map(x, n, [&](auto read) { return exponential(read(x) - bases); });
    const float sum = sum_lanes(
        n, [x](const Lanes& lanes, uint32_t k) { return lanes + load(x + k); },
        [x](float lane, uint32_t k) { return lane + x[k]; });
    const float factor = vgetq_lane_f32(exponential(vdupq_n_f32(before - base)), 0);
    factors[h] = factor;
    sums[h] = __builtin_fmaf(sums[h], factor, sum);
    maxima[h] = max;
  }
}

void quantize_row(const float* values, uint32_t stride, ActivationBlock* q8) {
  for (size_t b = 0; b < stride / kActivationBlockCols; ++b) {
    const float* x = values + kActivationBlockCols * b;
    ActivationBlock& block = q8[b];
    float32x4_t v[8];
    const uint32_t amax_bits = load_block(x, v);
    if (amax_bits < kSmallestAmaxBits || amax_bits >= 0x7f800000u) {
      block = {amax_bits < kSmallestAmaxBits ? 0.0f : __builtin_nanf(""), {}, {}};
      continue;
    }
    float amax;
    __builtin_memcpy(&amax, &amax_bits, 4);
    const float scale = amax / 127.0f;
    const float inverse = 1.0f / scale;
    block.scale = scale;
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const int8x16_t bytes = round_to_bytes(v + 4 * half, inverse);
      vst1q_s8(block.q + 16 * half, bytes);
      block.sums[half] = vaddlvq_s8(bytes);
    }
  }
}

void store_kv(const float* x, KvType type, std::byte* dst, uint32_t n) {
  if (type == KvType::F32) {
    __builtin_memcpy(dst, x, size_t{n} * 4);
    return;
  }
  if (type == KvType::Q8_0) {
    for (uint32_t i = 0; i < n; i += 32, dst += kQ8CacheBlockBytes) {
      store_q8_block(x + i, n - i < 32 ? n - i : 32, dst);
    }
    return;
  }
  for (uint32_t i = 0; i < n; i += 8) {
    const uint32_t left = n - i < 8 ? n - i : 8;
    const Lanes v = left == 8 ? load(x + i) : load_part(x + i, left);
    const float16x8_t halves = vcombine_f16(vcvt_f16_f32(v.low), vcvt_f16_f32(v.high));
    __builtin_memcpy(dst + 2 * size_t{i}, &halves, 2 * size_t{left});
  }
}

}  // namespace floe::neon_dotprod
