// Run: build/fuzz/fuzz/fuzz_safetensors -max_len=65536 -timeout=5 -rss_limit_mb=1024 SCRATCH
// tests/fuzz/corpus/safetensors
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "fuzz/safetensors_properties.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string broken =
      floe::check_safetensors_properties({reinterpret_cast<const std::byte*>(data), size});
  if (!broken.empty()) {
    std::fprintf(stderr, "property broken: %s\n", broken.c_str());
    std::abort();
  }
  return 0;
}

// The length in front is kept true most of the time: else mutations never get behind it.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  uint64_t n_header = 0;
  uint64_t n_data = 0;
  if (size >= 8) {
    std::memcpy(&n_header, data, 8);
    n_data = n_header <= size - 8 ? size - 8 - n_header : 0;
  }
  size = LLVMFuzzerMutate(data, size, max_size);
  std::minstd_rand rng(seed);
  if (size < 8 + n_data || rng() % 8 == 0) return size;
  n_header = size - 8 - n_data;
  std::memcpy(data, &n_header, 8);
  return size;
}
