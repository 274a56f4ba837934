// Run: build/fuzz/fuzz/fuzz_eagle3 -max_len=129 -timeout=20 -rss_limit_mb=2048 SCRATCH
#include <cstdio>
#include <cstdlib>

#include "fuzz/eagle3_properties.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string broken = floe::test::check_eagle3_properties({data, size});
  if (!broken.empty()) {
    std::fprintf(stderr, "property broken: %s\n", broken.c_str());
    std::abort();
  }
  return 0;
}
