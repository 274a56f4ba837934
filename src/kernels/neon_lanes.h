#pragma once
// Inside the kernels room: eight floats in two NEON registers, the lanes of numeric_order.h.
//
// Everything has internal linkage and is inlined: see neon.h.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/unroll.h"

namespace floe {
namespace {

struct Lanes {
  float32x4_t low;
  float32x4_t high;
};

FLOE_INLINE Lanes splat(float value) {
  return {vdupq_n_f32(value), vdupq_n_f32(value)};
}
FLOE_INLINE Lanes load(const float* x) {
  return {vld1q_f32(x), vld1q_f32(x + 4)};
}
FLOE_INLINE void store(float* out, const Lanes& values) {
  vst1q_f32(out, values.low);
  vst1q_f32(out + 4, values.high);
}
// Eight f16, at any address.
FLOE_INLINE Lanes load_halves(const void* bytes) {
  const float16x8_t halves = vreinterpretq_f16_u8(vld1q_u8(static_cast<const uint8_t*>(bytes)));
  return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
}

// The last n < 8 elements of a vector, zeros behind them.
FLOE_INLINE Lanes load_part(const float* x, uint32_t n) {
  float lane[8] = {};
  for (uint32_t l = 0; l < n; ++l) lane[l] = x[l];
  return load(lane);
}
// The first n lanes; all when there are eight or more.
FLOE_INLINE void store_first(float* out, const Lanes& values, uint32_t n) {
  if (n >= 8) {
    store(out, values);
    return;
  }
  float lane[8];
  store(lane, values);
  for (uint32_t l = 0; l < n; ++l) out[l] = lane[l];
}

FLOE_INLINE Lanes operator+(const Lanes& a, const Lanes& b) {
  return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)};
}
FLOE_INLINE Lanes operator-(const Lanes& a, const Lanes& b) {
  return {vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)};
}
FLOE_INLINE Lanes operator*(const Lanes& a, const Lanes& b) {
  return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)};
}
FLOE_INLINE Lanes operator-(const Lanes& a) {
  return {vnegq_f32(a.low), vnegq_f32(a.high)};
}
FLOE_INLINE Lanes operator/(const Lanes& a, const Lanes& b) {
  return {vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)};
}
// a * b + c in one rounding.
FLOE_INLINE Lanes fma(const Lanes& a, const Lanes& b, const Lanes& c) {
  return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}

// ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7))
FLOE_INLINE float reduce_lanes(const Lanes& lanes) {
  const float32x4_t pairs = vpaddq_f32(lanes.low, lanes.high);
  return vpadds_f32(vget_low_f32(vpaddq_f32(pairs, pairs)));
}

}  // namespace
}  // namespace floe
