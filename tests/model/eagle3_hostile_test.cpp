// Heads with changed bytes: refused in one line, or they run.
#include <gtest/gtest.h>

#include <random>

#include "fuzz/eagle3_properties.h"

namespace floe::test {
namespace {

// What the fuzzer does, from a fixed start: digits of the configuration and of the header, and
// bytes of the vocabulary, more often than weights.
TEST(HostileHeads, AFewChangedBytes) {
  ASSERT_EQ(check_eagle3_properties(std::vector<uint8_t>{0}), "");
  ASSERT_EQ(check_eagle3_properties(std::vector<uint8_t>{1}), "");
  std::mt19937 random(23);
  for (int trial = 0; trial < 600; ++trial) {
    std::vector<uint8_t> input{static_cast<uint8_t>(random() % 4)};
    const uint32_t n_edits = 1 + random() % 2;
    for (uint32_t i = 0; i < n_edits; ++i) {
      const uint32_t place = random();
      for (const uint32_t shift : {0u, 8u, 16u}) {
        input.push_back(static_cast<uint8_t>(place >> shift));
      }
      const bool digit = random() % 2 != 0;
      input.push_back(static_cast<uint8_t>(digit ? '0' + random() % 10 : random()));
    }
    ASSERT_EQ(check_eagle3_properties(input), "") << "trial " << trial;
  }
}

}  // namespace
}  // namespace floe::test
