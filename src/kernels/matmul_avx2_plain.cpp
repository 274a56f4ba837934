// AVX2 matrix kernels of F32, F16 and BF16 weights, and the choice among all formats.
#include <immintrin.h>

#include "kernels/avx2.h"

namespace floe::avx2 {

namespace {

struct F32 {
  static constexpr size_t kBytes = 32;  // of 8 weights
  static FLOE_INLINE __m256 load(const uint8_t* bytes) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(bytes));
  }
};
struct F16 {
  static constexpr size_t kBytes = 16;
  static FLOE_INLINE __m256 load(const uint8_t* bytes) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
  }
};
struct BF16 {
  static constexpr size_t kBytes = 16;
  static FLOE_INLINE __m256 load(const uint8_t* bytes) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  }
};

// Rows [i, i + kRows) against one group. Four partial sums per row, by column modulo 4, are what
// hides the latency of one row and what fills the registers with three.
template <typename F, int kRows>
__attribute__((noinline)) void group_call(const MatmulCall& call, uint32_t g, uint32_t i) {
  const float* x[kRows];
  for (int m = 0; m < kRows; ++m) x[m] = call.x.values + row_id(call, i + m) * call.x.stride;
  const auto* w = reinterpret_cast<const uint8_t*>(call.plane + g * call.group_bytes);
  __m256 sum[kRows][4];
#pragma GCC unroll 4
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sum[m][k] = _mm256_setzero_ps();
  }
  size_t c = 0;
  for (; c + 4 <= call.n_cols; c += 4, w += 4 * F::kBytes) {
    if (i == 0) prefetch(w + kPrefetchBytes, 4 * F::kBytes);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const __m256 weights = F::load(w + k * F::kBytes);
#pragma GCC unroll 4
      for (int m = 0; m < kRows; ++m) {
        sum[m][k] = _mm256_fmadd_ps(weights, _mm256_broadcast_ss(x[m] + c + k), sum[m][k]);
      }
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < 3; ++k) {
    if (c + k >= call.n_cols) break;
    const __m256 weights = F::load(w + k * F::kBytes);
#pragma GCC unroll 4
    for (int m = 0; m < kRows; ++m) {
      sum[m][k] = _mm256_fmadd_ps(weights, _mm256_broadcast_ss(x[m] + c + k), sum[m][k]);
    }
  }
  const uint32_t n_rows = call.n_rows - g * 8 < 8 ? call.n_rows - g * 8 : 8;
#pragma GCC unroll 4
  for (int m = 0; m < kRows; ++m) {
    const __m256 total =
        _mm256_add_ps(_mm256_add_ps(sum[m][0], sum[m][1]), _mm256_add_ps(sum[m][2], sum[m][3]));
    float* out = call.out + (i + m) * call.out_stride + size_t{g} * 8;
    if (n_rows == 8) {
      _mm256_storeu_ps(out, total);
    } else {
      float lane[8];
      _mm256_storeu_ps(lane, total);
      for (uint32_t r = 0; r < n_rows; ++r) out[r] = lane[r];
    }
  }
}

template <typename F>
void matmul_plain(const MatmulCall& call) {
  for_each_pass<3, 1>(
      call, call.x.stride * sizeof(float),
      [&](auto rows, uint32_t g, uint32_t i)
          __attribute__((always_inline)) { group_call<F, decltype(rows)::value>(call, g, i); });
}

}  // namespace

void matmul_f32(const MatmulCall& call) {
  matmul_plain<F32>(call);
}
void matmul_f16(const MatmulCall& call) {
  matmul_plain<F16>(call);
}
void matmul_bf16(const MatmulCall& call) {
  matmul_plain<BF16>(call);
}

void matmul(const PackedMatrix& weights, uint32_t plane, uint32_t group_begin, uint32_t group_end,
            const ActivationRows& x, const uint32_t* ids, uint32_t n_ids, float* out,
            size_t out_stride) {
  const MatmulCall call =
      matmul_call(weights, plane, group_begin, group_end, x, ids, n_ids, out, out_stride);
  switch (weights.type) {
    case QuantType::F32:
      return matmul_f32(call);
    case QuantType::F16:
      return matmul_f16(call);
    case QuantType::BF16:
      return matmul_bf16(call);
    case QuantType::Q4_0:
      return matmul_q4_0(call);
    case QuantType::Q4_1:
      return matmul_q4_1(call);
    case QuantType::Q5_0:
      return matmul_q5_0(call);
    case QuantType::Q5_1:
      return matmul_q5_1(call);
    case QuantType::Q8_0:
      return matmul_q8_0(call);
    case QuantType::IQ4_NL:
      return matmul_iq4_nl(call);
    case QuantType::MXFP4:
      return matmul_mxfp4(call);
    case QuantType::Q2_K:
      return matmul_q2_k(call);
    case QuantType::Q3_K:
      return matmul_q3_k(call);
    case QuantType::Q4_K:
      return matmul_q4_k(call);
    case QuantType::Q5_K:
      return matmul_q5_k(call);
    case QuantType::Q6_K:
      return matmul_q6_k(call);
    case QuantType::IQ4_XS:
      return matmul_iq4_xs(call);
  }
}

}  // namespace floe::avx2
