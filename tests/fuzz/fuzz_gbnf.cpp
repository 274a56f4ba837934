#include <cstdio>
#include <cstdlib>

#include "fuzz/grammar_properties.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string fault = floe::check_grammar_properties(floe::GrammarKind::gbnf, {data, size});
  if (!fault.empty()) {
    std::fprintf(stderr, "%s\n", fault.c_str());
    std::abort();
  }
  return 0;
}
