// What row invariance costs: the AVX-512 kernels, free to choose their order for one row and for
// more. Compiled into the benchmark, and into builds with FLOE_FREE_ORDER.
//
// With one row, kChains sums over the blocks run side by side and are added at the end; formats
// with one scale per 32 columns join the scales of weights and activations before they meet the
// product, once per row, and formats with sub-blocks fold d into their step scales, so that one
// fused multiply-add per step is left where the fixed order has two roundings.
#include "free_order.h"

#include "kernels/avx512.h"
#include "kernels/matmul_vnni_formats.h"

namespace floe {
namespace {

template <typename V, typename F, int kRows, int kChains>
FLOE_INLINE void multiply_freely(const uint8_t* group, size_t next, uint32_t n_blocks, bool cold,
                                 RowSet<kRows> x, typename V::Float (&total)[kRows]) {
  using Float = typename V::Float;
  constexpr PackedLayout layout = F::layout;
  Float acc[kRows][kChains];
  unroll<0, kRows * kChains>([&](auto i) __attribute__((always_inline)) {
    acc[decltype(i)::value / kChains][decltype(i)::value % kChains] = V::zero_float();
  });
  const uint8_t* block = group;
  const auto one_block = [&](auto chain) __attribute__((always_inline)) {
    constexpr int kChain = decltype(chain)::value;
    const Float d = F::scale(block, next);
    const Float minimum = layout.has_min ? F::minimum(block, next) : d;
    const uint8_t* step = block + layout.head_bytes;
    for (uint32_t i = 0; i < layout.n_steps; ++i, step += layout.step_bytes()) {
      if (cold) prefetch_groups<V>(step + kPrefetchBytes, next, layout.step_bytes());
      SubScales<V> sub = F::sub_scales(step, next);
      sub.half[0] = V::mul(sub.half[0], d);
      sub.half[1] = V::mul(sub.half[1], d);
      Float products[kRows];
      step_products<V, F, kRows>(step, next, sub, x, products);
      unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
        constexpr int m = decltype(row)::value;
        const Float a = V::all(&x.q8[m]->scale);
        Float& sum = acc[m][kChain];
        sum = V::fma(products[m], layout.n_sub == 0 ? V::mul(d, a) : a, sum);
        if constexpr (layout.has_min) {
          const Float m_sum = V::to_float(V::pair_dot(sub.minimum, x.q8[m]->sums));
          const Float scaled = V::mul(minimum, a);
          sum =
              layout.n_sub == 0 ? V::fma(m_sum, scaled, sum) : V::negative_fma(m_sum, scaled, sum);
        }
        ++x.q8[m];
      });
    }
    block += layout.block_bytes();
  };
  uint32_t b = 0;
  for (; b + kChains <= n_blocks; b += kChains) {
    unroll<0, kChains>([&](auto chain) __attribute__((always_inline)) { one_block(chain); });
  }
  for (; b < n_blocks; ++b) one_block(Index<0>{});
  unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
    constexpr int m = decltype(row)::value;
    total[m] = acc[m][0];
    unroll<1, kChains>([&](auto chain) __attribute__((always_inline)) {
      total[m] = V::add(total[m], acc[m][decltype(chain)::value]);
    });
  });
}

template <typename V, typename F, int kRows, int kChains>
__attribute__((noinline)) void free_call(const MatmulCall& call, uint32_t g, uint32_t i) {
  typename V::Float total[kRows];
  multiply_freely<V, F, kRows, kChains>(
      reinterpret_cast<const uint8_t*>(call.plane + g * call.group_bytes), call.group_bytes,
      call.n_cols / F::layout.block_cols(), i == 0, row_set<kRows>(call, i), total);
  unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
    constexpr int m = decltype(row)::value;
    V::store(call.out + (i + m) * call.out_stride + size_t{g} * 8, total[m], call.n_rows - g * 8);
  });
}

template <template <typename> typename F>
void matmul_freely(const MatmulCall& call) {
  const size_t row_bytes = quantised_bytes(call);
  for_each_pass<kMaxRows, 2>(
      call, row_bytes, [&](auto rows, uint32_t g, uint32_t i) __attribute__((always_inline)) {
        constexpr int kRows = decltype(rows)::value;
        if constexpr (kRows > kNarrowRows) {
          if (call.group_end - g >= 2) {
            free_call<Zmm, F<Zmm>, kRows, 1>(call, g, i);
            return;
          }
        }
        for (uint32_t k = g; k < g + 2 && k < call.group_end; ++k) {
          free_call<Ymm, F<Ymm>, kRows, kRows == 1 ? 4 : 1>(call, k, i);
        }
      });
}

}  // namespace

void free_order_matmul(const PackedMatrix& weights, uint32_t plane, uint32_t group_begin,
                       uint32_t group_end, const ActivationRows& x, const uint32_t* ids,
                       uint32_t n_ids, float* out, size_t out_stride) {
  const MatmulCall call =
      matmul_call(weights, plane, group_begin, group_end, x, ids, n_ids, out, out_stride);
  switch (weights.type) {
    case QuantType::Q4_0:
      return matmul_freely<Q4_0>(call);
    case QuantType::Q8_0:
      return matmul_freely<Q8_0>(call);
    case QuantType::Q4_K:
      return matmul_freely<Q4_K>(call);
    case QuantType::Q6_K:
      return matmul_freely<Q6_K>(call);
    default:
      return avx512::matmul(weights, plane, group_begin, group_end, x, ids, n_ids, out, out_stride);
  }
}

}  // namespace floe
