// Run: build/fuzz/fuzz/fuzz_lookup -max_len=1024 -timeout=5 -rss_limit_mb=1024 SCRATCH
// tests/fuzz/corpus/lookup
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "fuzz/lookup_properties.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string broken = floe::check_lookup_input({data, size});
  if (!broken.empty()) {
    std::fprintf(stderr, "property broken: %s\n", broken.c_str());
    std::abort();
  }
  return 0;
}
