#include <cstring>

#include "lab/probe_loops.h"

namespace floe {

namespace {

uint64_t read_words(const std::byte* data, size_t size_bytes) {
  uint64_t sum0 = 0;
  uint64_t sum1 = 0;
  uint64_t sum2 = 0;
  uint64_t sum3 = 0;
  for (size_t i = 0; i < size_bytes; i += 32) {
    uint64_t words[4];
    std::memcpy(words, data + i, sizeof(words));
    sum0 += words[0];
    sum1 += words[1];
    sum2 += words[2];
    sum3 += words[3];
  }
  return sum0 + sum1 + sum2 + sum3;
}

// One product the compiler can neither foresee nor widen to vectors: what the scalar reference
// does.
inline void add_product(uint32_t& sum, uint32_t& weight, uint32_t activation) {
  asm volatile("" : "+r"(weight));
  sum += weight * activation;
}

uint64_t int8_products(uint64_t n_rounds) {
  uint32_t weight = 7;
  uint32_t sum0 = 0;
  uint32_t sum1 = 0;
  uint32_t sum2 = 0;
  uint32_t sum3 = 0;
  for (uint64_t i = 0; i < n_rounds; ++i) {
    add_product(sum0, weight, 11);
    add_product(sum1, weight, 13);
    add_product(sum2, weight, 19);
    add_product(sum3, weight, 21);
  }
  return uint64_t{sum0} + sum1 + sum2 + sum3;
}

// Named sums stay in registers where an array would be kept in memory.
uint64_t f32_products(uint64_t n_rounds) {
  float sum0 = 0.0f;
  float sum1 = 0.1f;
  float sum2 = 0.2f;
  float sum3 = 0.3f;
  float sum4 = 0.4f;
  float sum5 = 0.5f;
  float sum6 = 0.6f;
  float sum7 = 0.7f;
  for (uint64_t i = 0; i < n_rounds; ++i) {
    sum0 = sum0 * 0.999f + 0.001f;
    sum1 = sum1 * 0.999f + 0.001f;
    sum2 = sum2 * 0.999f + 0.001f;
    sum3 = sum3 * 0.999f + 0.001f;
    sum4 = sum4 * 0.999f + 0.001f;
    sum5 = sum5 * 0.999f + 0.001f;
    sum6 = sum6 * 0.999f + 0.001f;
    sum7 = sum7 * 0.999f + 0.001f;
  }
  const float total = sum0 + sum1 + sum2 + sum3 + sum4 + sum5 + sum6 + sum7;
  return static_cast<uint64_t>(total * 1e6f);
}

}  // namespace

const ProbeLoops& portable_probe_loops() {
  static constexpr ReadLoop read[] = {{"1 stream", read_words}};
  static constexpr ProbeLoops loops{"reference", read, {int8_products, 4}, {f32_products, 8}};
  return loops;
}

}  // namespace floe
