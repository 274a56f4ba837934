#pragma once
// The order of every float operation, which all instruction sets follow. fma(a, b, c) is one
// rounding.
//
// matmul, formats with blocks; per output element (row r, activation row x), blocks b ascending:
//   T = S = 0
//   steps s of the block ascending (32 columns, activation scale a_s):
//     P = integer: sum over the step's sub-blocks of sub_scale * sum of (q - offset) * x.q (exact)
//     T = fma(float(P), a_s, T)                      one step per block: T = float(P) * a_s
//     formats with a minimum: M = integer: sum of sub_minimum * x.sums
//     S = fma(float(M), a_s, S)                      one step per block: S = float(M) * a_s
//   acc = fma(d, T, acc)
//   formats with a minimum: n_sub 0: acc = fma(m, S, acc), else acc = fma(-dmin, S, acc)
//
// matmul, F32, F16, BF16: p[c % 4] = fma(w[c], x[c], p[c % 4]), c ascending; (p0 + p1) + (p2 + p3).
//
// Sums over a vector (dot, norms): lane l of kSumLanes takes elements l, l + kSumLanes, ... of the
// part that fills all lanes; lanes l, l + 8, l + 16, l + 24 are added as (0 + 1) + (2 + 3); whole
// groups of 8 that remain go to the 8 lanes in order, then the rest one per lane; lanes add up in
// reduce_lanes' order:
//   ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7))
// Attention dots: 8 lanes from the start, element i to lane i % 8, then reduce_lanes' order.
// Attention takes the positions of a row in spans of kAttentionSpan, cut at multiples of it from
// the sequence's start, and a span in blocks of kAttentionBlock. A span starts with maximum
// -infinity, sum 0 and out 0; the first that the row sees with a sink's score and 1 where the heads
// have sinks. Per block: scores; maximum with that of the blocks before; weights exp(score -
// maximum) and the factor exp(maximum before - after); sum = fma(sum, factor, sum of the weights);
// out = out * factor, then fma(weight, value, out), positions ascending. Spans join the first one
// in order, with factor and weight from the two maxima as if the span were a block of one score,
// its maximum: sum = fma(sum, factor, weight * sum of the span); out = fma(weight, out of the span,
// out * factor). At the end out * (1 / sum).
#include <cstdint>

namespace floe {

inline constexpr uint32_t kSumLanes = 32;
inline constexpr uint32_t kAttentionBlock = 32;
inline constexpr uint32_t kAttentionSpan = 1024;

// A block of a Q8_0 cache vector: f16 scale, 32 bytes.
inline constexpr uint32_t kQ8CacheBlockBytes = 34;
inline constexpr float kLargestHalf = 65504.0f;
inline constexpr uint16_t kHalfNaN = 0x7e00;

// Magnitudes of an activation block below this are 0: their scale would not have a finite inverse.
inline constexpr uint32_t kSmallestAmaxBits = 0x03aa2425u;  // 1e-36f

// exp(x) = 2^n * p(r): n = nearest(x * log2 e), r = x - n * ln 2 in two parts, |r| <= 0.347, p of
// degree 7 in Horner form with fma. 2^n is applied in two factors so that results become subnormal
// gradually.
namespace exp_terms {
inline constexpr float kMax = 89.0f;    // exp is infinite from here on
inline constexpr float kMin = -104.0f;  // exp rounds to 0 from here on
inline constexpr float kLog2E = 0x1.715476p+0f;
inline constexpr float kLn2High = 0x1.62e400p-1f;
inline constexpr float kLn2Low = 0x1.7f7d1cp-20f;
inline constexpr float kRound = 0x1.8p23f;  // adding it rounds to an integer, kept in the low bits
inline constexpr float kC7 = 0x1.a01a02p-13f;
inline constexpr float kC6 = 0x1.6c16c2p-10f;
inline constexpr float kC5 = 0x1.111112p-7f;
inline constexpr float kC4 = 0x1.555556p-5f;
inline constexpr float kC3 = 0x1.555556p-3f;
inline constexpr float kC2 = 0.5f;
}  // namespace exp_terms

// swiglu_clamped: g / (1 + exp(-kSlope g)) * (u + 1); comparisons with a NaN leave it.
namespace swiglu_terms {
inline constexpr float kSlope = 1.702f;
inline constexpr float kLimit = 7.0f;
}  // namespace swiglu_terms

}  // namespace floe
