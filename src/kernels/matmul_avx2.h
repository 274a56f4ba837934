#pragma once
// The AVX2 micro-kernel of the formats with blocks: one group of 8 weight rows against up to 6
// activation rows. A format is a struct that says how a word of 8 rows x 4 columns is unpacked into
// bytes.
//
// Weights are unsigned bytes where the format allows it: maddubs(weights, activations) then needs
// no sign handling, and several products are summed in 16 bits before they are widened. kSum is how
// many:
//   u4: 15 * 127 * 2 * 8 = 30480   u5: 31 * 127 * 2 * 4 = 31496   u6: 63 * 127 * 2 * 2 = 32004
//   MXFP4 + 12: 24 * 127 * 2 * 4 = 24384
// Signed bytes (kSum 0) move the weight's sign to the activation: |w| <= 128, 128 * 127 * 2 =
// 32512. The widening multiply-add applies the sub-block scale for free.
#include <immintrin.h>

#include "kernels/avx2.h"
#include "kernels/packed_layout.h"

// Everything here has internal linkage: see avx2.h.
namespace floe::avx2 {
namespace {

FLOE_INLINE __m256i load(const uint8_t* bytes) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
}

// Four bytes in every lane.
FLOE_INLINE __m256i broadcast_word(const void* bytes) {
  int32_t word;
  __builtin_memcpy(&word, bytes, 4);
  return _mm256_set1_epi32(word);
}

FLOE_INLINE __m256 load_halves(const uint8_t* bytes) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
}

FLOE_INLINE __m256i nibble_word(const uint8_t* plane, int j) {
  const __m256i mask = _mm256_set1_epi8(15);
  if (j < 4) return _mm256_and_si256(load(plane + 32 * j), mask);
  return _mm256_and_si256(_mm256_srli_epi16(load(plane + 32 * (j - 4)), 4), mask);
}

// The value, pinned to a register here: compilers that see plain integer additions regroup them
// into a tree over all products of a step, whose leaves do not fit the registers.
FLOE_INLINE __m256i pinned(__m256i value) {
  __asm__("" : "+x"(value));
  return value;
}

// The codebook of IQ4_NL and IQ4_XS looked up for every nibble.
FLOE_INLINE __m256i iq4_word(const uint8_t* plane, int j) {
  const __m256i values =
      _mm256_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
                       -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
  return _mm256_shuffle_epi8(values, nibble_word(plane, j));
}

// Bit pair `field` of every byte, moved to bits `to` and `to` + 1.
template <int kField, int kTo>
FLOE_INLINE __m256i pair_word(const uint8_t* plane) {
  const __m256i mask = _mm256_set1_epi8(static_cast<char>(3 << kTo));
  const __m256i bytes = load(plane);
  if constexpr (2 * kField > kTo) {
    return _mm256_and_si256(_mm256_srli_epi16(bytes, 2 * kField - kTo), mask);
  } else if constexpr (2 * kField < kTo) {
    return _mm256_and_si256(_mm256_slli_epi16(bytes, kTo - 2 * kField), mask);
  } else {
    return _mm256_and_si256(bytes, mask);
  }
}

// Bit kBit of every byte, moved to bit kTo.
template <int kBit, int kTo>
FLOE_INLINE __m256i bit_word(const uint8_t* plane) {
  const __m256i mask = _mm256_set1_epi8(static_cast<char>(1 << kTo));
  const __m256i bytes = load(plane);
  if constexpr (kBit > kTo) {
    return _mm256_and_si256(_mm256_srli_epi16(bytes, kBit - kTo), mask);
  } else if constexpr (kBit < kTo) {
    return _mm256_and_si256(_mm256_slli_epi16(bytes, kTo - kBit), mask);
  } else {
    return _mm256_and_si256(bytes, mask);
  }
}

// What the sub-block scales of a step come to, as pairs of 16-bit factors per row.
struct SubScales {
  __m256i half[2];  // scale of columns 0..15 and of columns 16..31, twice each
  __m256i offset;   // scale * offset of both halves
  __m256i minimum;  // minima of both halves
};

// Shuffles of a 16-byte vector present in both lanes; row r's pair of 16-bit values takes byte r +
// A and byte r + B, into the low or the high byte.
template <int kA, int kB>
FLOE_INLINE __m256i pairs_low(__m256i bytes) {
  const __m256i pick =
      _mm256_setr_epi8(kA, -1, kB, -1, kA + 1, -1, kB + 1, -1, kA + 2, -1, kB + 2, -1, kA + 3, -1,
                       kB + 3, -1, kA + 4, -1, kB + 4, -1, kA + 5, -1, kB + 5, -1, kA + 6, -1,
                       kB + 6, -1, kA + 7, -1, kB + 7, -1);
  return _mm256_shuffle_epi8(bytes, pick);
}
template <int kA, int kB>
FLOE_INLINE __m256i pairs_high(__m256i bytes) {
  const __m256i pick = _mm256_setr_epi8(
      -1, kA, -1, kB, -1, kA + 1, -1, kB + 1, -1, kA + 2, -1, kB + 2, -1, kA + 3, -1, kB + 3, -1,
      kA + 4, -1, kB + 4, -1, kA + 5, -1, kB + 5, -1, kA + 6, -1, kB + 6, -1, kA + 7, -1, kB + 7);
  return _mm256_shuffle_epi8(bytes, pick);
}

FLOE_INLINE __m256i load_twice(const uint8_t* bytes) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
}

// No sub-blocks: the factor is 1.
template <int kOffset>
FLOE_INLINE SubScales unit_scales() {
  SubScales sub;
  sub.half[0] = sub.half[1] = sub.minimum = _mm256_set1_epi16(1);
  sub.offset = _mm256_set1_epi16(kOffset);
  return sub;
}

// i8 scale[8] of each half.
template <int kOffsetShift>
FLOE_INLINE SubScales signed_scales(const uint8_t* step) {
  const __m256i bytes = load_twice(step);
  SubScales sub;
  sub.half[0] = _mm256_srai_epi16(pairs_high<0, 0>(bytes), 8);
  sub.half[1] = _mm256_srai_epi16(pairs_high<8, 8>(bytes), 8);
  sub.offset = _mm256_srai_epi16(pairs_high<0, 8>(bytes), 8 - kOffsetShift);
  sub.minimum = sub.offset;
  return sub;
}

// What most formats share; a format derives and replaces.
template <QuantType type>
struct Format {
  static constexpr PackedLayout layout = kPacked<type>;
  static constexpr int kOffset = layout.offset;  // of the unpacked bytes
  static constexpr int kOrder[8] = {0, 4, 1, 5, 2, 6, 3, 7};

  static FLOE_INLINE __m256 scale(const uint8_t* block) { return load_halves(block); }
  static FLOE_INLINE __m256 minimum(const uint8_t* block) { return load_halves(block + 16); }
};

// products[m]: for each of the 8 rows, the integer P of numeric_order.h.
template <typename F, int kRows>
FLOE_INLINE void step_products(const uint8_t* step, const SubScales& sub, const RowSet<kRows>& x,
                               size_t x_step, __m256i (&products)[kRows]) {
  const uint8_t* plane = step + F::layout.sub_bytes;
  constexpr int kSum = F::kSum == 0 ? 1 : F::kSum;
  unroll<0, 8 / kSum>([&](auto chunk) __attribute__((always_inline)) {
    constexpr int kChunk = decltype(chunk)::value;
    constexpr int kHalf = F::kOrder[kChunk * kSum] / 4;
    __m256i sums[kRows];
    unroll<0, kSum>([&](auto k) __attribute__((always_inline)) {
      constexpr int kK = decltype(k)::value;
      constexpr int kWord = F::kOrder[kChunk * kSum + kK];
      const __m256i w = F::template word<kWord>(plane);
      const __m256i magnitude = F::kSum == 0 ? _mm256_abs_epi8(w) : w;
      unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
        constexpr int m = decltype(row)::value;
        __m256i a = broadcast_word(x.q8[m][x_step].q + 4 * kWord);
        if constexpr (F::kSum == 0) a = _mm256_sign_epi8(a, w);
        const __m256i product = _mm256_maddubs_epi16(magnitude, a);
        sums[m] = kK == 0 ? product : pinned(_mm256_add_epi16(sums[m], product));
      });
    });
    unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
      constexpr int m = decltype(row)::value;
      const __m256i wide = _mm256_madd_epi16(sums[m], sub.half[kHalf]);
      products[m] = kChunk == 0 ? wide : pinned(_mm256_add_epi32(products[m], wide));
    });
  });
  if constexpr (F::kOffset != 0) {
    unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
      constexpr int m = decltype(row)::value;
      const __m256i x_sums = broadcast_word(x.q8[m][x_step].sums);
      products[m] = _mm256_sub_epi32(products[m], _mm256_madd_epi16(sub.offset, x_sums));
    });
  }
}

template <typename F, int kRows>
FLOE_INLINE void group_rows(const uint8_t* group, uint32_t n_blocks, bool cold,
                            const RowSet<kRows>& x, __m256 (&acc)[kRows]) {
  constexpr PackedLayout layout = F::layout;
  unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
    acc[decltype(row)::value] = _mm256_setzero_ps();
  });
  const uint8_t* block = group;
  size_t x_step = 0;
  for (uint32_t b = 0; b < n_blocks; ++b) {
    __m256 t[kRows];
    __m256 s[kRows];
    unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
      t[decltype(row)::value] = s[decltype(row)::value] = _mm256_setzero_ps();
    });
    if (cold) prefetch(block + kPrefetchBytes, layout.head_bytes);
    const uint8_t* step = block + layout.head_bytes;
    for (uint32_t i = 0; i < layout.n_steps; ++i, ++x_step, step += layout.step_bytes()) {
      if (cold) prefetch(step + kPrefetchBytes, layout.step_bytes());
      const SubScales sub = F::sub_scales(step);
      __m256i products[kRows];
      step_products<F, kRows>(step, sub, x, x_step, products);
      unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
        constexpr int m = decltype(row)::value;
        const __m256 a = _mm256_broadcast_ss(&x.q8[m][x_step].scale);
        const __m256 p = _mm256_cvtepi32_ps(products[m]);
        t[m] = layout.n_steps == 1 ? _mm256_mul_ps(p, a) : _mm256_fmadd_ps(p, a, t[m]);
        if constexpr (layout.has_min) {
          const __m256i x_sums = broadcast_word(x.q8[m][x_step].sums);
          const __m256 minimum = _mm256_cvtepi32_ps(_mm256_madd_epi16(sub.minimum, x_sums));
          s[m] =
              layout.n_steps == 1 ? _mm256_mul_ps(minimum, a) : _mm256_fmadd_ps(minimum, a, s[m]);
        }
      });
    }
    const __m256 d = F::scale(block);
    unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
      constexpr int m = decltype(row)::value;
      acc[m] = _mm256_fmadd_ps(d, t[m], acc[m]);
    });
    if constexpr (layout.has_min) {
      const __m256 minimum = F::minimum(block);
      unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
        constexpr int m = decltype(row)::value;
        acc[m] = layout.n_sub == 0 ? _mm256_fmadd_ps(minimum, s[m], acc[m])
                                   : _mm256_fnmadd_ps(minimum, s[m], acc[m]);
      });
    }
    block += layout.block_bytes();
  }
}

FLOE_INLINE void store_rows(float* out, __m256 values, uint32_t n_rows) {
  if (n_rows >= 8) {
    _mm256_storeu_ps(out, values);
    return;
  }
  float lane[8];
  _mm256_storeu_ps(lane, values);
  for (uint32_t r = 0; r < n_rows; ++r) out[r] = lane[r];
}

// Rows [i, i + kRows) of the call against one group.
template <typename F, int kRows>
__attribute__((noinline)) void group_call(const MatmulCall& call, uint32_t g, uint32_t i) {
  __m256 acc[kRows];
  group_rows<F, kRows>(reinterpret_cast<const uint8_t*>(call.plane + g * call.group_bytes),
                       call.n_cols / F::layout.block_cols(), i == 0, row_set<kRows>(call, i), acc);
  // A loop would keep the sums in memory.
  unroll<0, kRows>([&](auto row) __attribute__((always_inline)) {
    constexpr int m = decltype(row)::value;
    store_rows(call.out + (i + m) * call.out_stride + size_t{g} * 8, acc[m], call.n_rows - g * 8);
  });
}

template <typename F>
void matmul_blocks(const MatmulCall& call) {
  const size_t row_bytes = quantised_bytes(call);
  for_each_pass<6, 1>(
      call, row_bytes, [&](auto rows, uint32_t g, uint32_t i) __attribute__((always_inline)) {
        group_call<F, decltype(rows)::value>(call, g, i);
      });
}

}  // namespace
}  // namespace floe::avx2
