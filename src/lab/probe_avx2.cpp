// Built with AVX2 and FMA; nothing here is shared with baseline code.
//
// Sums and operands are named variables held by empty asm statements: arrays of vectors stay in
// memory at -O2, and a product whose operands do not change is computed once for the whole loop.
#include <immintrin.h>

#include "lab/probe_loops.h"

namespace floe {

namespace {

uint64_t sum_of_lanes(__m256i sum) {
  alignas(32) uint64_t lanes[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sum);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

// n_streams runs of consecutive bytes in turn, 256 bytes of each; prefetch_bytes 0: the processor's
// own prefetch alone.
template <size_t n_streams, size_t prefetch_bytes>
uint64_t read_streams(const std::byte* data, size_t size_bytes) {
  const size_t stream_bytes = size_bytes / n_streams;
  __m256i sum0 = _mm256_setzero_si256();
  __m256i sum1 = _mm256_setzero_si256();
  for (size_t i = 0; i < stream_bytes; i += 256) {
    for (size_t s = 0; s < n_streams; ++s) {
      const std::byte* from = data + s * stream_bytes + i;
      if constexpr (prefetch_bytes != 0) {
        for (size_t line = 0; line < 256; line += 64) {
          _mm_prefetch(reinterpret_cast<const char*>(from) + prefetch_bytes + line, _MM_HINT_T0);
        }
      }
      const auto* vectors = reinterpret_cast<const __m256i*>(from);
      for (size_t k = 0; k < 8; k += 2) {
        sum0 = _mm256_add_epi64(sum0, _mm256_load_si256(vectors + k));
        sum1 = _mm256_add_epi64(sum1, _mm256_load_si256(vectors + k + 1));
      }
    }
  }
  return sum_of_lanes(_mm256_add_epi64(sum0, sum1));
}

inline __m256i product(__m256i& weights, const __m256i& activations) {
  asm volatile("" : "+x"(weights));
  return _mm256_maddubs_epi16(weights, activations);
}

// What the kernels of 4-bit weights do once weights are unpacked: eight products added in 16 bits,
// then widened once.
uint64_t int8_products(uint64_t n_rounds) {
  __m256i weights = _mm256_set1_epi8(7);
  const __m256i activations = _mm256_set1_epi8(-5);
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i total0 = _mm256_setzero_si256();
  __m256i total1 = total0;
  __m256i total2 = total0;
  __m256i total3 = total0;
  for (uint64_t i = 0; i < n_rounds; ++i) {
    __m256i sum0 = product(weights, activations);
    __m256i sum1 = product(weights, activations);
    __m256i sum2 = product(weights, activations);
    __m256i sum3 = product(weights, activations);
    for (int k = 1; k < 8; ++k) {
      sum0 = _mm256_add_epi16(sum0, product(weights, activations));
      sum1 = _mm256_add_epi16(sum1, product(weights, activations));
      sum2 = _mm256_add_epi16(sum2, product(weights, activations));
      sum3 = _mm256_add_epi16(sum3, product(weights, activations));
    }
    total0 = _mm256_add_epi32(total0, _mm256_madd_epi16(sum0, ones));
    total1 = _mm256_add_epi32(total1, _mm256_madd_epi16(sum1, ones));
    total2 = _mm256_add_epi32(total2, _mm256_madd_epi16(sum2, ones));
    total3 = _mm256_add_epi32(total3, _mm256_madd_epi16(sum3, ones));
  }
  return sum_of_lanes(
      _mm256_add_epi32(_mm256_add_epi32(total0, total1), _mm256_add_epi32(total2, total3)));
}

inline void multiply_add(__m256& sum, const __m256& factor, const __m256& term) {
  sum = _mm256_fmadd_ps(sum, factor, term);
  asm volatile("" : "+x"(sum));
}

uint64_t f32_products(uint64_t n_rounds) {
  const __m256 factor = _mm256_set1_ps(0.999f);
  const __m256 term = _mm256_set1_ps(0.001f);
  // Two multiply-adds start each cycle and take four or five, so ten chains keep them busy.
  __m256 sum0 = _mm256_setzero_ps();
  __m256 sum1 = sum0;
  __m256 sum2 = sum0;
  __m256 sum3 = sum0;
  __m256 sum4 = sum0;
  __m256 sum5 = sum0;
  __m256 sum6 = sum0;
  __m256 sum7 = sum0;
  __m256 sum8 = sum0;
  __m256 sum9 = sum0;
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
  const __m256 first = sum0 + sum1 + sum2 + sum3 + sum4;
  const __m256 last = sum5 + sum6 + sum7 + sum8 + sum9;
  return sum_of_lanes(_mm256_castps_si256(first + last));
}

}  // namespace

const ProbeLoops* avx2_probe_loops() {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return nullptr;
  static constexpr ReadLoop read[] = {
      {"1 stream", read_streams<1, 0>},
      {"1 stream, prefetch 4 KB ahead", read_streams<1, 4096>},
      {"2 streams", read_streams<2, 0>},
      {"4 streams", read_streams<4, 0>},
  };
  static constexpr ProbeLoops loops{
      "avx2", read, {int8_products, uint64_t{4} * 8 * 32}, {f32_products, uint64_t{10} * 8}};
  return &loops;
}

}  // namespace floe
