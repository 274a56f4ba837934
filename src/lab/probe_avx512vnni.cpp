// Built with AVX-512F and VNNI; nothing here is shared with baseline code.
#include <immintrin.h>

#include "lab/probe_loops.h"

namespace floe {

namespace {

uint64_t sum_of_lanes(__m512i sum) {
  alignas(64) uint64_t lanes[8];
  _mm512_store_si512(lanes, sum);
  uint64_t total = 0;
  for (const uint64_t lane : lanes) total += lane;
  return total;
}

inline void dot(__m512i& sum, const __m512i& weights, const __m512i& activations) {
  sum = _mm512_dpbusd_epi32(sum, weights, activations);
  asm volatile("" : "+v"(sum));
}

uint64_t int8_products(uint64_t n_rounds) {
  const __m512i weights = _mm512_set1_epi8(7);
  const __m512i activations = _mm512_set1_epi8(-5);
  __m512i sum0 = _mm512_setzero_si512();
  __m512i sum1 = sum0;
  __m512i sum2 = sum0;
  __m512i sum3 = sum0;
  __m512i sum4 = sum0;
  __m512i sum5 = sum0;
  __m512i sum6 = sum0;
  __m512i sum7 = sum0;
  __m512i sum8 = sum0;
  __m512i sum9 = sum0;
  for (uint64_t i = 0; i < n_rounds; ++i) {
    dot(sum0, weights, activations);
    dot(sum1, weights, activations);
    dot(sum2, weights, activations);
    dot(sum3, weights, activations);
    dot(sum4, weights, activations);
    dot(sum5, weights, activations);
    dot(sum6, weights, activations);
    dot(sum7, weights, activations);
    dot(sum8, weights, activations);
    dot(sum9, weights, activations);
  }
  const __m512i total = sum0 + sum1 + sum2 + sum3 + sum4 + sum5 + sum6 + sum7 + sum8 + sum9;
  return sum_of_lanes(total);
}

inline void multiply_add(__m512& sum, const __m512& factor, const __m512& term) {
  sum = _mm512_fmadd_ps(sum, factor, term);
  asm volatile("" : "+v"(sum));
}

uint64_t f32_products(uint64_t n_rounds) {
  const __m512 factor = _mm512_set1_ps(0.999f);
  const __m512 term = _mm512_set1_ps(0.001f);
  __m512 sum0 = _mm512_setzero_ps();
  __m512 sum1 = sum0;
  __m512 sum2 = sum0;
  __m512 sum3 = sum0;
  __m512 sum4 = sum0;
  __m512 sum5 = sum0;
  __m512 sum6 = sum0;
  __m512 sum7 = sum0;
  __m512 sum8 = sum0;
  __m512 sum9 = sum0;
  for (uint64_t i = 0; i < n_rounds; ++i) {
    multiply_add(sum0, factor, term);
    multiply_add(sum1, factor, term);
    multiply_add(sum2, factor, term);
    multiply_add(sum3, factor, term);
    multiply_add(sum4, factor, term);
    multiply_add(sum5, factor, term);
    multiply_add(sum6, factor, term);
    multiply_add(sum7, factor, term);
    multiply_add(sum8, factor, term);
    multiply_add(sum9, factor, term);
  }
  const __m512 total = sum0 + sum1 + sum2 + sum3 + sum4 + sum5 + sum6 + sum7 + sum8 + sum9;
  return sum_of_lanes(_mm512_castps_si512(total));
}

}  // namespace

const ProbeLoops* avx512vnni_probe_loops() {
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vnni")) return nullptr;
  static constexpr ProbeLoops loops{
      "avx512vnni", {}, {int8_products, uint64_t{10} * 64}, {f32_products, uint64_t{10} * 16}};
  return &loops;
}

}  // namespace floe
