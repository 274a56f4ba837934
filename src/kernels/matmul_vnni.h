#pragma once
// Inside the kernels room: the micro-kernel of the formats with blocks for machines that multiply
// four unsigned by four signed bytes and add the products to an i32 in one instruction (vpdpbusd,
// exact). V is a vector (vnni_vectors.h), F the format (matmul_vnni_formats.h): how a word of 4
// columns is unpacked into unsigned bytes.
//
// Formats of signed weights are made unsigned by adding kOffset to every byte. It is taken out
// again before the first product: the accumulator starts at -kOffset times the sum of the
// activations.
//
// The product of a sub-block scale and its integer is formed in f32, exactly, as is the sum of two
// of them, for P of numeric_order.h never reaches 2^24:
//   Q4_K 63 * 15 * 127 * 32 = 3.9e6      Q5_K 63 * 31 * 127 * 32 = 8.0e6
//   Q6_K 128 * 32 * 127 * 32 = 16.65e6   IQ4_XS 32 * 127 * 127 * 32 = 16.52e6
//   Q3_K 32 * 4 * 127 * 32 = 0.6e6       Q2_K 15 * 3 * 127 * 32 = 0.2e6     (2^24 = 16.78e6)
//
// Everything has internal linkage: see avx2.h.
#include "kernels/matmul_call.h"
#include "kernels/packed_layout.h"
#include "kernels/vnni_vectors.h"

namespace floe {
namespace {

// The sub-block scales of a step.
template <typename V>
struct SubScales {
  typename V::Float half[2];  // scale of columns 0..15 and of columns 16..31
  typename V::Int minimum;    // minima of both halves, as pairs of i16
};

template <typename V>
FLOE_INLINE void prefetch_groups(const uint8_t* bytes, size_t next, uint32_t n_bytes) {
  prefetch(bytes, n_bytes);
  if constexpr (V::kGroups == 2) prefetch(bytes + next, n_bytes);
}

// products[m]: float(P).
template <typename V, typename F, int kRows>
FLOE_INLINE void step_products(const uint8_t* step, size_t next, const SubScales<V>& sub,
                               const RowSet<kRows>& x, typename V::Float (&products)[kRows]) {
  constexpr PackedLayout layout = F::layout;
  constexpr int kHalves = layout.n_sub == 2 ? 2 : 1;
  constexpr int kWords = 8 / kHalves;
  const uint8_t* plane = step + layout.sub_bytes;
  unroll<0, kHalves>([&](auto half_index) __attribute__((always_inline)) {
    constexpr int kHalf = decltype(half_index)::value;
    typename V::Int sums[kRows];
    unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
      constexpr int m = decltype(row)::value;
      if constexpr (F::kOffset == 0) {
        sums[m] = V::zero();
      } else {
        constexpr uint32_t kMinus = static_cast<uint16_t>(-F::kOffset);
        constexpr uint32_t kPair = kHalves == 1 ? kMinus * 0x10001u : kMinus << (16 * kHalf);
        sums[m] = V::pair_dot(V::all32(static_cast<int>(kPair)), x.q8[m]->sums);
      }
    });
    unroll<0, kWords>([&](auto k) __attribute__((always_inline)) {
      // Words j and j + 4 may share bytes.
      constexpr int kK = decltype(k)::value;
      constexpr int kWord = kHalves == 2 ? kWords * kHalf + kK : kK / 2 + kK % 2 * 4;
      const typename V::Int word = F::template word<kWord>(plane, next);
      unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
        constexpr int m = decltype(row)::value;
        sums[m] = V::dot(sums[m], word, x.q8[m]->q + 4 * kWord);
      });
    });
    unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
      constexpr int m = decltype(row)::value;
      const typename V::Float sum = V::to_float(sums[m]);
      if constexpr (layout.n_sub == 0) {
        products[m] = sum;
      } else if constexpr (kHalf == 0) {
        products[m] = V::mul(sum, sub.half[0]);
      } else {
        products[m] = V::fma(sum, sub.half[1], products[m]);
      }
    });
  });
}

template <typename V, typename F, int kRows>
FLOE_INLINE void multiply_groups(const uint8_t* group, size_t next, uint32_t n_blocks, bool cold,
                                 RowSet<kRows> x, typename V::Float (&acc)[kRows]) {
  using Float = typename V::Float;
  constexpr PackedLayout layout = F::layout;
  unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
    acc[decltype(row)::value] = V::zero_float();
  });
  const uint8_t* block = group;
  for (uint32_t b = 0; b < n_blocks; ++b, block += layout.block_bytes()) {
    Float t[kRows];
    Float s[kRows];
    unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
      t[decltype(row)::value] = s[decltype(row)::value] = V::zero_float();
    });
    if (cold) prefetch_groups<V>(block + kPrefetchBytes, next, layout.head_bytes);
    const uint8_t* step = block + layout.head_bytes;
    for (uint32_t i = 0; i < layout.n_steps; ++i, step += layout.step_bytes()) {
      if (cold) prefetch_groups<V>(step + kPrefetchBytes, next, layout.step_bytes());
      const SubScales<V> sub = F::sub_scales(step, next);
      Float products[kRows];
      step_products<V, F, kRows>(step, next, sub, x, products);
      unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
        constexpr int m = decltype(row)::value;
        const Float a = V::all(&x.q8[m]->scale);
        t[m] = layout.n_steps == 1 ? V::mul(products[m], a) : V::fma(products[m], a, t[m]);
        if constexpr (layout.has_min) {
          const Float minimum = V::to_float(V::pair_dot(sub.minimum, x.q8[m]->sums));
          s[m] = layout.n_steps == 1 ? V::mul(minimum, a) : V::fma(minimum, a, s[m]);
        }
        ++x.q8[m];  // an index would cost registers: eight rows need all there are
      });
    }
    const Float d = F::scale(block, next);
    unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
      constexpr int m = decltype(row)::value;
      acc[m] = V::fma(d, t[m], acc[m]);
    });
    if constexpr (layout.has_min) {
      const Float minimum = F::minimum(block, next);
      unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
        constexpr int m = decltype(row)::value;
        acc[m] = layout.n_sub == 0 ? V::fma(minimum, s[m], acc[m])
                                   : V::negative_fma(minimum, s[m], acc[m]);
      });
    }
  }
}

// Activation rows [i, i + kRows) of the call against the group or groups of V from g on.
template <typename V, typename F, int kRows>
__attribute__((noinline)) void groups_call(const MatmulCall& call, uint32_t g, uint32_t i) {
  typename V::Float acc[kRows];
  multiply_groups<V, F, kRows>(reinterpret_cast<const uint8_t*>(call.plane + g * call.group_bytes),
                               call.group_bytes, call.n_cols / F::layout.block_cols(), i == 0,
                               row_set<kRows>(call, i), acc);
  unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
    constexpr int m = decltype(row)::value;
    V::store(call.out + (i + m) * call.out_stride + size_t{g} * 8, acc[m], call.n_rows - g * 8);
  });
}

template <template <typename> typename F>
void matmul_blocks(const MatmulCall& call) {
  const size_t row_bytes = quantised_bytes(call);
  for_each_pass<kMaxRows, Wide::kGroups>(
      call, row_bytes, [&](auto rows, uint32_t g, uint32_t i) __attribute__((always_inline)) {
        constexpr int kRows = decltype(rows)::value;
        if constexpr (kRows > kNarrowRows) {
          if (call.group_end - g >= Wide::kGroups) {
            groups_call<Wide, F<Wide>, kRows>(call, g, i);
            return;
          }
        }
        for (uint32_t k = 0; k < Wide::kGroups && g + k < call.group_end; ++k) {
          groups_call<Ymm, F<Ymm>, kRows>(call, g + k, i);
        }
      });
}

}  // namespace
}  // namespace floe
