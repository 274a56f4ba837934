#include "lab/kernel_rates.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "kernels/kernel_table.h"

namespace floe {

KernelRates measure_kernel_rates(ThreadPool& pool, QuantType format) {
  using Clock = std::chrono::steady_clock;
  constexpr uint32_t kRows[] = {1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 64};
  constexpr uint32_t kMostRows = 64;
  constexpr uint32_t kCols = 2048;
  constexpr uint32_t kOutputs = 64;
  constexpr uint32_t kPasses = 5;
  constexpr double kPassSeconds = 0.005;
  const KernelTable& table = kernels();

  PackedMatrix matrix = packed_shape(format, kCols, kOutputs, 1);
  std::vector<std::byte> storage(matrix.size_bytes() + 64);
  // Scales of ordinary size in every format: subnormal numbers would be slow.
  std::memset(storage.data(), 0x3c, storage.size());
  matrix.data = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
  const std::vector<float> values(size_t{kMostRows} * kCols, 1.0f);
  std::vector<int8_t> q(values.size());
  std::vector<float> scales(values.size() / 32);
  std::vector<int16_t> sums(values.size() / 16);
  for (uint32_t row = 0; row < kMostRows; ++row) {
    const size_t at = size_t{row} * kCols;
    table.quantize_row(values.data() + at, kCols, q.data() + at, scales.data() + at / 32,
                       sums.data() + at / 16);
  }
  const ActivationRows x{kCols, kCols, values.data(), q.data(), scales.data(), sums.data()};
  std::vector<float> outputs(size_t{pool.size()} * kMostRows * kOutputs);

  std::vector<KernelRates::Point> points;
  for (const uint32_t rows : kRows) {
    double best = 0;
    uint32_t n_calls = 8;
    for (uint32_t pass = 0; pass < kPasses;) {
      const Clock::time_point start = Clock::now();
      pool.run([&](Worker& worker) {
        float* out = outputs.data() + size_t{worker.index()} * kMostRows * kOutputs;
        for (uint32_t call = 0; call < n_calls; ++call) {
          table.matmul(matrix, 0, 0, matrix.n_groups, x, nullptr, rows, out, kOutputs);
        }
      });
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      if (seconds < kPassSeconds) {
        n_calls *= 2;
        continue;
      }
      const double n_macs = double{kCols} * kOutputs * rows * n_calls * pool.size();
      best = std::max(best, n_macs / seconds);
      ++pass;
    }
    points.push_back({static_cast<double>(rows), best});
  }
  const double bytes_per_weight = static_cast<double>(matrix.size_bytes()) / (kCols * kOutputs);
  return KernelRates(std::move(points), bytes_per_weight);
}

}  // namespace floe
