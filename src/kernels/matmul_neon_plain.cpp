// NEON matrix kernels of F32, F16 and BF16 weights.
#include "kernels/neon.h"
#include "kernels/neon_lanes.h"

namespace floe::neon_dotprod {

namespace {

struct F32 {
  static constexpr size_t kBytes = 32;  // of 8 weights
  static FLOE_INLINE Lanes weights(const uint8_t* bytes) {
    return {vreinterpretq_f32_u8(vld1q_u8(bytes)), vreinterpretq_f32_u8(vld1q_u8(bytes + 16))};
  }
};
struct F16 {
  static constexpr size_t kBytes = 16;
  static FLOE_INLINE Lanes weights(const uint8_t* bytes) { return load_halves(bytes); }
};
struct BF16 {
  static constexpr size_t kBytes = 16;
  static FLOE_INLINE Lanes weights(const uint8_t* bytes) {
    const uint16x8_t halves = vreinterpretq_u16_u8(vld1q_u8(bytes));
    return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(halves), 16)),
            vreinterpretq_f32_u32(vshll_high_n_u16(halves, 16))};
  }
};

// Rows [i, i + kRows) against one group. Four partial sums per row, by column modulo 4, are what
// hides the latency of one row and what fills the registers with three.
template <typename F, int kRows>
__attribute__((noinline)) void group_call(const MatmulCall& call, uint32_t g, uint32_t i) {
  const float* x[kRows];
  for (int m = 0; m < kRows; ++m) {
    x[m] = call.x.values + row_id(call, i + static_cast<uint32_t>(m)) * call.x.stride;
  }
  const auto* w = reinterpret_cast<const uint8_t*>(call.plane + g * call.group_bytes);
  Lanes sum[kRows][4];
#pragma GCC unroll 4
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sum[m][k] = splat(0);
  }
  size_t c = 0;
  for (; c + 4 <= call.n_cols; c += 4, w += 4 * F::kBytes) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const Lanes weights = F::weights(w + k * F::kBytes);
#pragma GCC unroll 4
      for (int m = 0; m < kRows; ++m) sum[m][k] = fma(weights, splat(x[m][c + k]), sum[m][k]);
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < 3; ++k) {
    if (c + k >= call.n_cols) break;
    const Lanes weights = F::weights(w + k * F::kBytes);
#pragma GCC unroll 4
    for (int m = 0; m < kRows; ++m) sum[m][k] = fma(weights, splat(x[m][c + k]), sum[m][k]);
  }
#pragma GCC unroll 4
  for (int m = 0; m < kRows; ++m) {
    float* out = call.out + (i + static_cast<uint32_t>(m)) * call.out_stride + size_t{g} * 8;
    store_first(out, (sum[m][0] + sum[m][1]) + (sum[m][2] + sum[m][3]), call.n_rows - g * 8);
  }
}

template <typename F>
void matmul_floats(const MatmulCall& call) {
  for_each_pass<3, 1>(
      call, size_t{call.x.stride} * sizeof(float),
      [&](auto rows, uint32_t g, uint32_t i)
          __attribute__((always_inline)) { group_call<F, decltype(rows)::value>(call, g, i); });
}

}  // namespace

void matmul_plain(const MatmulCall& call, QuantType type) {
  switch (type) {
    case QuantType::F32:
      return matmul_floats<F32>(call);
    case QuantType::F16:
      return matmul_floats<F16>(call);
    default:
      return matmul_floats<BF16>(call);
  }
}

}  // namespace floe::neon_dotprod
