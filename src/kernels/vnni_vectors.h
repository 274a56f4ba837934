#pragma once
// Inside the kernels room: the vectors that matmul_vnni.h computes with, behind one set of names.
// A lane is an output row: Ymm holds a group of 8, Zmm two groups, which lie `next` bytes apart.
// Each exists where the file's instruction set has it.
//
// Everything has internal linkage and is inlined: see avx2.h.
#include <immintrin.h>

#include "kernels/unroll.h"

namespace floe {
namespace {

struct Ymm {
  using Int = __m256i;
  using Float = __m256;
  static constexpr uint32_t kGroups = 1;

  // 32 bytes per group.
  static FLOE_INLINE Int load(const uint8_t* bytes, size_t) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
  }
  // One byte, or one f16, per row.
  static FLOE_INLINE Int load_u8(const uint8_t* bytes, size_t) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
  }
  static FLOE_INLINE Int load_i8(const uint8_t* bytes, size_t) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
  }
  static FLOE_INLINE Float load_halves(const uint8_t* bytes, size_t) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
  }
  static FLOE_INLINE void store(float* out, Float values, uint32_t n_rows) {
    if (n_rows >= 8) {
      _mm256_storeu_ps(out, values);
      return;
    }
    float lane[8];
    _mm256_storeu_ps(lane, values);
    for (uint32_t r = 0; r < n_rows; ++r) out[r] = lane[r];
  }

  static FLOE_INLINE Int zero() { return _mm256_setzero_si256(); }
  static FLOE_INLINE Int all8(int value) { return _mm256_set1_epi8(static_cast<char>(value)); }
  static FLOE_INLINE Int all32(int value) { return _mm256_set1_epi32(value); }
  // 16 bytes in every 128 bits.
  static FLOE_INLINE Int table(const uint8_t* bytes) {
    return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes)));
  }
  static FLOE_INLINE Int look_up(Int table, Int index) { return _mm256_shuffle_epi8(table, index); }
  template <int kBits>
  static FLOE_INLINE Int right16(Int a) {
    return _mm256_srli_epi16(a, kBits);
  }
  template <int kBits>
  static FLOE_INLINE Int left16(Int a) {
    return _mm256_slli_epi16(a, kBits);
  }
  template <int kBits>
  static FLOE_INLINE Int left32(Int a) {
    return _mm256_slli_epi32(a, kBits);
  }
  static FLOE_INLINE Int add32(Int a, Int b) { return _mm256_add_epi32(a, b); }
  static FLOE_INLINE Int min32(Int a, Int b) { return _mm256_min_epi32(a, b); }
  static FLOE_INLINE Int max32(Int a, Int b) { return _mm256_max_epi32(a, b); }

  // acc + the 4 unsigned bytes of each lane times the 4 signed bytes at word.
  static FLOE_INLINE Int dot(Int acc, Int bytes, const int8_t* word) {
#if defined(__AVX512VNNI__)
    // Compilers load the word into a register of its own instead of repeating it on the way.
    __asm__("vpdpbusd %2%{1to8%}, %1, %0"
            : "+v"(acc)
            : "v"(bytes), "m"(*reinterpret_cast<const int8_t(*)[4]>(word)));
    return acc;
#else
    int32_t x;
    __builtin_memcpy(&x, word, 4);
    return _mm256_dpbusd_avx_epi32(acc, bytes, _mm256_set1_epi32(x));
#endif
  }
  // The two i16 of each lane times the two at pair.
  static FLOE_INLINE Int pair_dot(Int pairs, const int16_t* pair) {
    int32_t x;
    __builtin_memcpy(&x, pair, 4);
    return _mm256_madd_epi16(pairs, _mm256_set1_epi32(x));
  }

  static FLOE_INLINE Float zero_float() {
    return _mm256_setzero_ps();
  }
  static FLOE_INLINE Float all(const float* value) {
    return _mm256_broadcast_ss(value);
  }
  static FLOE_INLINE Float as_float(Int a) {
    return _mm256_castsi256_ps(a);
  }
  static FLOE_INLINE Float to_float(Int a) {
    return _mm256_cvtepi32_ps(a);
  }
  static FLOE_INLINE Float mul(Float a, Float b) {
    return _mm256_mul_ps(a, b);
  }
  static FLOE_INLINE Float fma(Float a, Float b, Float c) {
    return _mm256_fmadd_ps(a, b, c);
  }
  static FLOE_INLINE Float negative_fma(Float a, Float b, Float c) {
    return _mm256_fnmadd_ps(a, b, c);
  }
  static FLOE_INLINE Float add(Float a, Float b) {
    return _mm256_add_ps(a, b);
  }
};

#if defined(__AVX512VNNI__)
struct Zmm {
  using Int = __m512i;
  using Float = __m512;
  static constexpr uint32_t kGroups = 2;

  static FLOE_INLINE Int load(const uint8_t* bytes, size_t next) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(Ymm::load(bytes, 0)),
                              Ymm::load(bytes + next, 0), 1);
  }
  static FLOE_INLINE __m128i row_bytes(const uint8_t* bytes, size_t next) {
    return _mm_unpacklo_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)),
                              _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes + next)));
  }
  static FLOE_INLINE Int load_u8(const uint8_t* bytes, size_t next) {
    return _mm512_cvtepu8_epi32(row_bytes(bytes, next));
  }
  static FLOE_INLINE Int load_i8(const uint8_t* bytes, size_t next) {
    return _mm512_cvtepi8_epi32(row_bytes(bytes, next));
  }
  static FLOE_INLINE Float load_halves(const uint8_t* bytes, size_t next) {
    const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + next));
    return _mm512_cvtph_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1));
  }
  static FLOE_INLINE void store(float* out, Float values, uint32_t n_rows) {
    const uint32_t mask = n_rows >= 16 ? 0xffffu : (1u << n_rows) - 1u;
    _mm512_mask_storeu_ps(out, static_cast<__mmask16>(mask), values);
  }

  static FLOE_INLINE Int zero() { return _mm512_setzero_si512(); }
  static FLOE_INLINE Int all8(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }
  static FLOE_INLINE Int all32(int value) { return _mm512_set1_epi32(value); }
  static FLOE_INLINE Int table(const uint8_t* bytes) {
    return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes)));
  }
  static FLOE_INLINE Int look_up(Int table, Int index) { return _mm512_shuffle_epi8(table, index); }
  template <int kBits>
  static FLOE_INLINE Int right16(Int a) {
    return _mm512_srli_epi16(a, kBits);
  }
  template <int kBits>
  static FLOE_INLINE Int left16(Int a) {
    return _mm512_slli_epi16(a, kBits);
  }
  template <int kBits>
  static FLOE_INLINE Int left32(Int a) {
    return _mm512_slli_epi32(a, kBits);
  }
  static FLOE_INLINE Int add32(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static FLOE_INLINE Int min32(Int a, Int b) { return _mm512_min_epi32(a, b); }
  static FLOE_INLINE Int max32(Int a, Int b) { return _mm512_max_epi32(a, b); }

  static FLOE_INLINE Int dot(Int acc, Int bytes, const int8_t* word) {
    __asm__("vpdpbusd %2%{1to16%}, %1, %0"
            : "+v"(acc)
            : "v"(bytes), "m"(*reinterpret_cast<const int8_t(*)[4]>(word)));
    return acc;
  }
  static FLOE_INLINE Int pair_dot(Int pairs, const int16_t* pair) {
    int32_t x;
    __builtin_memcpy(&x, pair, 4);
    return _mm512_madd_epi16(pairs, _mm512_set1_epi32(x));
  }

  static FLOE_INLINE Float zero_float() { return _mm512_setzero_ps(); }
  static FLOE_INLINE Float all(const float* value) { return _mm512_set1_ps(*value); }
  static FLOE_INLINE Float as_float(Int a) { return _mm512_castsi512_ps(a); }
  static FLOE_INLINE Float to_float(Int a) { return _mm512_cvtepi32_ps(a); }
  static FLOE_INLINE Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static FLOE_INLINE Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static FLOE_INLINE Float negative_fma(Float a, Float b, Float c) {
    return _mm512_fnmadd_ps(a, b, c);
  }
  static FLOE_INLINE Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
};

using Wide = Zmm;
constexpr int kMaxRows = 8;     // activation rows of a pass
constexpr int kNarrowRows = 2;  // up to so many, memory is the limit, and one stream of it best
#else
using Wide = Ymm;
constexpr int kMaxRows = 4;
constexpr int kNarrowRows = 0;
#endif

}  // namespace
}  // namespace floe
