// Run: build/fuzz/fuzz/fuzz_answer -max_len=512 -timeout=5 -rss_limit_mb=1024 SCRATCH
// tests/fuzz/corpus/answer
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "fuzz/answer_properties.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string broken = floe::check_answer_properties({data, size});
  if (!broken.empty()) {
    std::fprintf(stderr, "property broken: %s\n", broken.c_str());
    std::abort();
  }
  return 0;
}
