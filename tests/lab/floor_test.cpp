#include "lab/floor.h"

#include <gtest/gtest.h>

#include <cstring>

namespace floe {
namespace {

TEST(Floor, ProbesGiveFiniteFigures) {
  ThreadPool pool(2);
  auto probe = ReadProbe::create(pool, uint64_t{64} << 20);
  ASSERT_TRUE(probe.ok());
  const ReadBandwidth read = probe->calibrate(0.01);
  EXPECT_EQ(read.n_threads, 2u);
  EXPECT_GT(read.bytes_per_second, 1e8);
  EXPECT_LT(read.bytes_per_second, 1e13);
  EXPECT_STRNE(read.loop, "");
  EXPECT_GT(probe->bytes_per_second(), 1e8);
  for (const char* isa : {"reference", "avx2", "avx512vnni"}) {
    const ComputePeaks peaks = measure_compute_peaks(pool, isa);
    EXPECT_GT(peaks.int8_macs_per_second, 1e8) << isa;
    EXPECT_GT(peaks.f32_macs_per_second, 1e7) << isa;
  }
}

TEST(Floor, EveryWayOfReadingReadsEveryWordOnce) {
  std::vector<uint64_t> words(size_t{1} << 14);
  uint64_t sum = 0;
  for (size_t i = 0; i < words.size(); ++i) sum += words[i] = i * i + 1;
  std::vector<const ProbeLoops*> all = {&portable_probe_loops()};
#if defined(__x86_64__)
  if (avx2_probe_loops() != nullptr) all.push_back(avx2_probe_loops());
#endif
  auto buffer = HugeBuffer::allocate(words.size() * sizeof(uint64_t));
  ASSERT_TRUE(buffer.ok());
  std::memcpy(buffer->data(), words.data(), buffer->size_bytes());
  for (const ProbeLoops* loops : all) {
    for (const ReadLoop& loop : loops->read) {
      EXPECT_EQ(loop.run(buffer->data(), buffer->size_bytes()), sum)
          << loops->isa << ": " << loop.name;
    }
  }
}

TEST(Floor, APeakIsThatOfTheTablesOwnInstructions) {
  ThreadPool pool(1);
  EXPECT_STREQ(measure_compute_peaks(pool, "reference").isa, "reference");
#if defined(__x86_64__)
  if (avx2_probe_loops() != nullptr) {
    EXPECT_STREQ(measure_compute_peaks(pool, "avx2").isa, "avx2");
  }
  if (avx512vnni_probe_loops() != nullptr) {
    EXPECT_STREQ(measure_compute_peaks(pool, "avx512").isa, "avx512vnni");
  }
#endif
}

TEST(Floor, MedianAndSpread) {
  EXPECT_EQ(median_of({3, 1, 2}), 2);
  EXPECT_EQ(median_of({4, 1, 3, 2}), 3);
  // The middle half; one disturbed value does not count.
  EXPECT_DOUBLE_EQ(spread_of({10, 10, 10, 10, 10, 10, 10, 90}), 0);
  EXPECT_DOUBLE_EQ(spread_of({8, 10, 12}), 0.4);
}

}  // namespace
}  // namespace floe
