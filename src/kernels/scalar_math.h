#pragma once
// The scalar functions of numeric_order.h that more than one set of kernels computes: the reference
// kernels, the router, and the kernels for cards, for which the same lines compile as device code.
#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/numeric_order.h"

#if defined(__CUDACC__)
#define FLOE_HOST_DEVICE __host__ __device__
#else
#define FLOE_HOST_DEVICE
#endif

namespace floe {

// exp(x) as exp_terms says; a NaN stays a NaN.
FLOE_HOST_DEVICE inline float exponential(float x) {
  using namespace exp_terms;
  // NaN fails both comparisons and stays.
  x = kMax < x ? kMax : x;
  x = kMin > x ? kMin : x;
  const float rounded = std::fma(x, kLog2E, kRound);
  const float n = rounded - kRound;
  float r = std::fma(n, -kLn2High, x);
  r = std::fma(n, -kLn2Low, r);
  float p = std::fma(kC7, r, kC6);
  p = std::fma(p, r, kC5);
  p = std::fma(p, r, kC4);
  p = std::fma(p, r, kC3);
  p = std::fma(p, r, kC2);
  p = std::fma(p, r, 1.0f);
  p = std::fma(p, r, 1.0f);
  // Unsigned arithmetic so that a NaN's bits wrap instead of overflowing; p is NaN then.
  const uint32_t exponent = std::bit_cast<uint32_t>(rounded) - std::bit_cast<uint32_t>(kRound);
  const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(exponent) >> 1);
  const float first = std::bit_cast<float>((half + 127u) << 23);
  const float second = std::bit_cast<float>((exponent - half + 127u) << 23);
  return p * first * second;
}

FLOE_HOST_DEVICE inline float sigmoid(float x) {
  return 1.0f / (1.0f + exponential(-x));
}

FLOE_HOST_DEVICE inline float swiglu(float gate, float up) {
  const float silu = gate / (1.0f + exponential(-gate));
  return silu * up;
}

FLOE_HOST_DEVICE inline float swiglu_clamped(float gate, float up) {
  using namespace swiglu_terms;
  const float g = kLimit < gate ? kLimit : gate;
  float u = kLimit < up ? kLimit : up;
  u = -kLimit > u ? -kLimit : u;
  const float silu = g / (1.0f + exponential(-kSlope * g));
  return silu * (u + 1.0f);
}

}  // namespace floe
