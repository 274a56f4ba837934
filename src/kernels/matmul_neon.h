#pragma once
// Inside the kernels room: the NEON micro-kernel of the formats with blocks, one group of 8 weight
// rows against up to kMaxRows activation rows, and the choice among all formats. Format
// (neon_formats.h) unpacks the weights; Products multiplies them: by sdot, a weight register (4
// rows x 4 columns) against 4 columns of one activation row, or by smmla, 2 weight rows x 8 columns
// against 8 columns of 2 activation rows. Both are exact.
//
// Everything has internal linkage: see neon.h.
#include "kernels/neon.h"
#include "kernels/neon_formats.h"

namespace floe {
namespace {

// Words 2c and 2c + 1 of a step, 8 columns, are chunk c. Formats with one sub-block scale per 16
// columns go through each half by itself; the others take the chunks that share nibbles in turn.
template <typename F>
inline constexpr int kHalves = F::layout.n_sub == 2 ? 2 : 1;

template <typename F>
constexpr int chunk_at(int half, int index) {
  constexpr int kNibbleOrder[4] = {0, 2, 1, 3};
  return kHalves<F> == 2 ? 2 * half + index : kNibbleOrder[index];
}

// Where the sum of a half's products starts: minus the offset of its quants times its activations.
template <typename F, int kHalf>
FLOE_INLINE int32_t first_sum(const int16_t* x_sums) {
  if constexpr (F::layout.offset == 0) return 0;
  return -F::layout.offset * (kHalves<F> == 2 ? x_sums[kHalf] : x_sums[0] + x_sums[1]);
}

struct DotProducts {
  static constexpr int kMaxRows = 4;
  static constexpr int kRowUnit = 1;

  // sums[m]: for each of the 8 rows, the products of half kHalf (all of the step if there is one).
  template <typename F, int kHalf, int kRows>
  static FLOE_INLINE void multiply(const uint8_t* plane, const RowSet<kRows>& x, size_t x_step,
                                   int32x4_t (&sums)[kRows][2]) {
    unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
      constexpr int m = decltype(row)::value;
      sums[m][0] = sums[m][1] = vdupq_n_s32(first_sum<F, kHalf>(x.q8[m][x_step].sums));
    });
    unroll<0, 4 / kHalves<F>>([&](auto index) __attribute__((always_inline)) {
      constexpr int kChunk = chunk_at<F>(kHalf, decltype(index)::value);
      int8x8_t a[kRows];
      unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
        constexpr int m = decltype(row)::value;
        a[m] = vld1_s8(x.q8[m][x_step].q + 8 * kChunk);
      });
      unroll<0, 2>([&](auto side) __attribute__((always_inline)) {
        constexpr int kSide = decltype(side)::value;
        const int8x16_t first = F::template word<2 * kChunk>(plane + 16 * kSide);
        const int8x16_t second = F::template word<2 * kChunk + 1>(plane + 16 * kSide);
        unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
          constexpr int m = decltype(row)::value;
          sums[m][kSide] = vdotq_lane_s32(sums[m][kSide], first, a[m], 0);
          sums[m][kSide] = vdotq_lane_s32(sums[m][kSide], second, a[m], 1);
        });
      });
    });
  }
};

#if defined(__ARM_FEATURE_MATMUL_INT8)
struct MatrixProducts {
  static constexpr int kMaxRows = 4;
  static constexpr int kRowUnit = 2;

  template <typename F, int kHalf, int kRows>
  static FLOE_INLINE void multiply(const uint8_t* plane, const RowSet<kRows>& x, size_t x_step,
                                   int32x4_t (&sums)[kRows][2]) {
    static_assert(kRows % 2 == 0);
    constexpr int kPairs = kRows / 2;
    // [pair of activation rows][pair of weight rows]; lanes: activation row, weight row.
    int32x4_t tile[kPairs][4];
    unroll<0, kPairs>([&](auto pair) __attribute__((always_inline)) {
      constexpr int p = decltype(pair)::value;
      const int32x4_t first =
          vcombine_s32(vdup_n_s32(first_sum<F, kHalf>(x.q8[2 * p][x_step].sums)),
                       vdup_n_s32(first_sum<F, kHalf>(x.q8[2 * p + 1][x_step].sums)));
      tile[p][0] = tile[p][1] = tile[p][2] = tile[p][3] = first;
    });
    unroll<0, 4 / kHalves<F>>([&](auto index) __attribute__((always_inline)) {
      constexpr int kChunk = chunk_at<F>(kHalf, decltype(index)::value);
      int8x16_t a[kPairs];
      unroll<0, kPairs>([&](auto pair) __attribute__((always_inline)) {
        constexpr int p = decltype(pair)::value;
        a[p] = vcombine_s8(vld1_s8(x.q8[2 * p][x_step].q + 8 * kChunk),
                           vld1_s8(x.q8[2 * p + 1][x_step].q + 8 * kChunk));
      });
      unroll<0, 2>([&](auto side) __attribute__((always_inline)) {
        constexpr int kSide = decltype(side)::value;
        const int32x4_t first =
            vreinterpretq_s32_s8(F::template word<2 * kChunk>(plane + 16 * kSide));
        const int32x4_t second =
            vreinterpretq_s32_s8(F::template word<2 * kChunk + 1>(plane + 16 * kSide));
        const int8x16_t upper = vreinterpretq_s8_s32(vzip1q_s32(first, second));
        const int8x16_t lower = vreinterpretq_s8_s32(vzip2q_s32(first, second));
        unroll<0, kPairs>([&](auto pair) __attribute__((always_inline)) {
          constexpr int p = decltype(pair)::value;
          tile[p][2 * kSide] = vmmlaq_s32(tile[p][2 * kSide], a[p], upper);
          tile[p][2 * kSide + 1] = vmmlaq_s32(tile[p][2 * kSide + 1], a[p], lower);
        });
      });
    });
    unroll<0, kPairs * 2>([&](auto pair_side) __attribute__((always_inline)) {
      constexpr int p = decltype(pair_side)::value / 2;
      constexpr int kSide = decltype(pair_side)::value % 2;
      const int64x2_t upper = vreinterpretq_s64_s32(tile[p][2 * kSide]);
      const int64x2_t lower = vreinterpretq_s64_s32(tile[p][2 * kSide + 1]);
      sums[2 * p][kSide] = vreinterpretq_s32_s64(vzip1q_s64(upper, lower));
      sums[2 * p + 1][kSide] = vreinterpretq_s32_s64(vzip2q_s64(upper, lower));
    });
  }
};
#endif

// products[m]: for each of the 8 rows, the integer P of numeric_order.h.
template <typename F, typename Products, int kRows>
FLOE_INLINE void step_products(const uint8_t* step, const SubScales& sub, const RowSet<kRows>& x,
                               size_t x_step, int32x4_t (&products)[kRows][2]) {
  const uint8_t* plane = step + F::layout.sub_bytes;
  Products::template multiply<F, 0>(plane, x, x_step, products);
  if constexpr (F::layout.n_sub != 0) {
    unroll<0, kRows * 2>([&](auto index) __attribute__((always_inline)) {
      constexpr int m = decltype(index)::value / 2;
      constexpr int kSide = decltype(index)::value % 2;
      products[m][kSide] = vmulq_s32(products[m][kSide], sub.scale[0][kSide]);
    });
  }
  if constexpr (F::layout.n_sub == 2) {
    int32x4_t second[kRows][2];
    Products::template multiply<F, 1>(plane, x, x_step, second);
    unroll<0, kRows * 2>([&](auto index) __attribute__((always_inline)) {
      constexpr int m = decltype(index)::value / 2;
      constexpr int kSide = decltype(index)::value % 2;
      products[m][kSide] = vmlaq_s32(products[m][kSide], second[m][kSide], sub.scale[1][kSide]);
    });
  }
}

// float(M) of numeric_order.h; x_sums are the sums of both halves, together at most 127 * 32.
template <typename F>
FLOE_INLINE Lanes step_minimum(const SubScales& sub, const int16_t* x_sums) {
  const int both = x_sums[0] + x_sums[1];
  if constexpr (F::layout.n_sub == 0) return splat(static_cast<float>(both));
  const auto x_sum = static_cast<int16_t>(F::layout.n_sub == 1 ? both : x_sums[0]);
  int32x4_t low = vmull_n_s16(vget_low_s16(sub.minimum[0]), x_sum);
  int32x4_t high = vmull_high_n_s16(sub.minimum[0], x_sum);
  if constexpr (F::layout.n_sub == 2) {
    low = vmlal_n_s16(low, vget_low_s16(sub.minimum[1]), x_sums[1]);
    high = vmlal_high_n_s16(high, sub.minimum[1], x_sums[1]);
  }
  return {vcvtq_f32_s32(low), vcvtq_f32_s32(high)};
}

template <typename F, typename Products, int kRows>
FLOE_INLINE void group_rows(const uint8_t* group, uint32_t n_blocks, const RowSet<kRows>& x,
                            Lanes (&acc)[kRows]) {
  constexpr PackedLayout layout = F::layout;
  unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
    constexpr int m = decltype(row)::value;
    acc[m] = splat(0);
  });
  const uint8_t* block = group;
  size_t x_step = 0;
  for (uint32_t b = 0; b < n_blocks; ++b, block += layout.block_bytes()) {
    Lanes t[kRows];
    Lanes s[kRows];
    unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
      constexpr int m = decltype(row)::value;
      t[m] = s[m] = splat(0);
    });
    const uint8_t* step = block + layout.head_bytes;
    for (uint32_t i = 0; i < layout.n_steps; ++i, ++x_step, step += layout.step_bytes()) {
      const SubScales sub = F::sub_scales(step);
      int32x4_t products[kRows][2];
      step_products<F, Products>(step, sub, x, x_step, products);
      unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
        constexpr int m = decltype(row)::value;
        const Lanes a = splat(x.q8[m][x_step].scale);
        const Lanes p = {vcvtq_f32_s32(products[m][0]), vcvtq_f32_s32(products[m][1])};
        t[m] = layout.n_steps == 1 ? p * a : fma(p, a, t[m]);
        if constexpr (layout.has_min) {
          const Lanes minimum = step_minimum<F>(sub, x.q8[m][x_step].sums);
          s[m] = layout.n_steps == 1 ? minimum * a : fma(minimum, a, s[m]);
        }
      });
    }
    const Lanes d = F::scale(block);
    unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
      constexpr int m = decltype(row)::value;
      acc[m] = fma(d, t[m], acc[m]);
    });
    if constexpr (layout.has_min) {
      const Lanes minimum = layout.n_sub == 0 ? F::minimum(block) : -F::minimum(block);
      unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
        constexpr int m = decltype(row)::value;
        acc[m] = fma(minimum, s[m], acc[m]);
      });
    }
  }
}

// Rows [i, i + kRows) of the call against one group.
template <typename F, typename Products, int kRows>
__attribute__((noinline)) void group_call(const MatmulCall& call, uint32_t g, uint32_t i) {
  const auto* group = reinterpret_cast<const uint8_t*>(call.plane + g * call.group_bytes);
  Lanes acc[kRows];
  group_rows<F, Products>(group, call.n_cols / F::layout.block_cols(), row_set<kRows>(call, i),
                          acc);
  for (int m = 0; m < kRows; ++m) {
    float* out = call.out + (i + static_cast<uint32_t>(m)) * call.out_stride + size_t{g} * 8;
    store_first(out, acc[m], call.n_rows - g * 8);
  }
}

template <typename Products, QuantType type>
void matmul_blocks(const MatmulCall& call) {
  using F = Format<type>;
  const size_t row_bytes = quantised_bytes(call);
  for_each_pass<Products::kMaxRows, 1>(
      call, row_bytes, [&](auto rows, uint32_t g, uint32_t i) __attribute__((always_inline)) {
        constexpr int kRows = decltype(rows)::value;
        // What Products cannot take is one row.
        constexpr int kTogether = kRows - kRows % Products::kRowUnit;
        if constexpr (kTogether != 0) group_call<F, Products, kTogether>(call, g, i);
        if constexpr (kTogether != kRows) group_call<F, DotProducts, 1>(call, g, i + kTogether);
      });
}

template <typename Products>
FLOE_INLINE void matmul_any(QuantType type, const MatmulCall& call) {
  switch (type) {
    case QuantType::F32:
    case QuantType::F16:
    case QuantType::BF16:
      return neon_dotprod::matmul_plain(call, type);
    case QuantType::Q4_0:
      return matmul_blocks<Products, QuantType::Q4_0>(call);
    case QuantType::Q4_1:
      return matmul_blocks<Products, QuantType::Q4_1>(call);
    case QuantType::Q5_0:
      return matmul_blocks<Products, QuantType::Q5_0>(call);
    case QuantType::Q5_1:
      return matmul_blocks<Products, QuantType::Q5_1>(call);
    case QuantType::Q8_0:
      return matmul_blocks<Products, QuantType::Q8_0>(call);
    case QuantType::IQ4_NL:
      return matmul_blocks<Products, QuantType::IQ4_NL>(call);
    case QuantType::MXFP4:
      return matmul_blocks<Products, QuantType::MXFP4>(call);
    case QuantType::Q2_K:
      return matmul_blocks<Products, QuantType::Q2_K>(call);
    case QuantType::Q3_K:
      return matmul_blocks<Products, QuantType::Q3_K>(call);
    case QuantType::Q4_K:
      return matmul_blocks<Products, QuantType::Q4_K>(call);
    case QuantType::Q5_K:
      return matmul_blocks<Products, QuantType::Q5_K>(call);
    case QuantType::Q6_K:
      return matmul_blocks<Products, QuantType::Q6_K>(call);
    case QuantType::IQ4_XS:
      return matmul_blocks<Products, QuantType::IQ4_XS>(call);
  }
}

}  // namespace
}  // namespace floe
