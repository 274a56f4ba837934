// The AVX-512 softmax of a block of scores. The order is numeric_order.h.
#include <immintrin.h>

#include "kernels/avx512.h"
#include "kernels/numeric_order.h"
#include "kernels/unroll.h"

namespace floe::avx512 {

namespace {

FLOE_INLINE __m512 exponential(__m512 x) {
  using namespace exp_terms;
  // min and max return their second operand when one is NaN: NaN stays.
  x = _mm512_min_ps(_mm512_set1_ps(kMax), x);
  x = _mm512_max_ps(_mm512_set1_ps(kMin), x);
  const __m512 round = _mm512_set1_ps(kRound);
  const __m512 rounded = _mm512_fmadd_ps(x, _mm512_set1_ps(kLog2E), round);
  const __m512 n = _mm512_sub_ps(rounded, round);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(kLn2High), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(kLn2Low), r);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(kC7), r, _mm512_set1_ps(kC6));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kC5));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kC4));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kC3));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kC2));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  // One rounding of p * 2^n, as of the two factors': the first product is exact.
  return _mm512_scalef_ps(p, n);
}

FLOE_INLINE float reduce_max(__m512 x) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

// ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7))
FLOE_INLINE float reduce_lanes(__m256 lanes) {
  const __m256 pairs = _mm256_add_ps(lanes, _mm256_movehdup_ps(lanes));
  const __m256 fours = _mm256_add_ps(pairs, _mm256_permute_ps(pairs, 0x4e));
  return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(fours), _mm256_extractf128_ps(fours, 1)));
}

}  // namespace

void softmax_block(float* x, size_t stride, uint32_t n_heads, uint32_t n, float* maxima,
                   float* sums, float* factors) {
  static_assert(kAttentionBlock == 32 && kSumLanes == 32);
  const float lowest = -__builtin_inff();
  const uint32_t seen = n >= 32 ? 0xffffffffu : (1u << n) - 1;
  const auto low = static_cast<__mmask16>(seen);
  const auto high = static_cast<__mmask16>(seen >> 16);
  // In three rounds over the heads: one head's steps wait for each other, those of several do not.
  for (uint32_t h = 0; h < n_heads; ++h) {
    const float before = maxima[h];
    // The running maximum stands second: it is what max returns for NaN.
    __m512 lanes = _mm512_set1_ps(before);
    lanes = _mm512_mask_max_ps(lanes, low, _mm512_maskz_loadu_ps(low, x + h * stride), lanes);
    lanes =
        _mm512_mask_max_ps(lanes, high, _mm512_maskz_loadu_ps(high, x + h * stride + 16), lanes);
    const float max = reduce_max(lanes);
    maxima[h] = max;
    factors[h] = before - (max == lowest ? 0.0f : max);
  }
  for (uint32_t h = 0; h < n_heads; h += 16) {
    const auto heads =
        static_cast<__mmask16>(n_heads - h >= 16 ? 0xffffu : (1u << (n_heads - h)) - 1);
    _mm512_mask_storeu_ps(factors + h, heads,
                          exponential(_mm512_maskz_loadu_ps(heads, factors + h)));
  }
  for (uint32_t h = 0; h < n_heads; ++h, x += stride) {
    const __m512 base = _mm512_set1_ps(maxima[h] == lowest ? 0.0f : maxima[h]);
    const __m512 first =
        _mm512_maskz_mov_ps(low, exponential(_mm512_sub_ps(_mm512_maskz_loadu_ps(low, x), base)));
    const __m512 second = _mm512_maskz_mov_ps(
        high, exponential(_mm512_sub_ps(_mm512_maskz_loadu_ps(high, x + 16), base)));
    _mm512_mask_storeu_ps(x, low, first);
    _mm512_mask_storeu_ps(x + 16, high, second);
    const __m256 ones =
        _mm256_add_ps(_mm512_castps512_ps256(first), _mm512_extractf32x8_ps(first, 1));
    const __m256 twos = _mm512_castps512_ps256(second);
    const __m256 threes = _mm512_extractf32x8_ps(second, 1);
    // Zeros behind the last weight change no sum.
    const __m256 lanes = n == 32 ? _mm256_add_ps(ones, _mm256_add_ps(twos, threes))
                                 : _mm256_add_ps(_mm256_add_ps(ones, twos), threes);
    sums[h] = __builtin_fmaf(sums[h], factors[h], reduce_lanes(lanes));
  }
}

}  // namespace floe::avx512
