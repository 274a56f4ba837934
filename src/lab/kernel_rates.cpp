#include "lab/kernel_rates.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>

#include "base/memory.h"
#include "kernels/kernel_table.h"
#include "lab/floor.h"

namespace floe {

namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kRows[] = {1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 64};
constexpr uint32_t kMostRows = 64;
constexpr uint32_t kCols = 2048;
constexpr uint32_t kOutputs = 512;  // of a plane
constexpr uint64_t kLeastBytes =
    uint64_t{kCols} * kOutputs * sizeof(float);  // a plane of any format
constexpr size_t kItemBytes = 64 << 10;          // as a forward cuts its matrices
constexpr uint32_t kPasses = 5;
constexpr double kPassSeconds = 0.005;

// Activation rows in the form that the kernels read.
class Activations {
 public:
  explicit Activations(const KernelTable& table)
      : values_(size_t{kMostRows} * kCols, 1.0f),
        q_(values_.size()),
        scales_(values_.size() / 32),
        sums_(values_.size() / 16) {
    for (uint32_t row = 0; row < kMostRows; ++row) {
      const size_t at = size_t{row} * kCols;
      table.quantize_row(values_.data() + at, kCols, q_.data() + at, scales_.data() + at / 32,
                         sums_.data() + at / 16);
    }
  }
  ActivationRows rows() const {
    return {kCols, kCols, values_.data(), q_.data(), scales_.data(), sums_.data()};
  }

 private:
  std::vector<float> values_;
  std::vector<int8_t> q_;
  std::vector<float> scales_;
  std::vector<int16_t> sums_;
};

KernelRates measure(ThreadPool& pool, QuantType format, const HugeBuffer& weights) {
  const KernelTable& table = kernels();
  const Activations activations(table);
  PackedMatrix matrix = packed_shape(format, kCols, kOutputs, 1);
  const auto n_planes = static_cast<uint32_t>(weights.size_bytes() / matrix.plane_bytes());
  matrix.n_planes = n_planes;
  matrix.data = weights.data();
  const auto step = static_cast<uint32_t>(std::max<size_t>(1, kItemBytes / matrix.group_bytes));
  const uint32_t items_per_plane = (matrix.n_groups + step - 1) / step;
  std::vector<float> outputs(size_t{pool.size()} * kMostRows * kOutputs);

  uint32_t next_plane = 0;  // goes round, so that no pass finds in a cache what an earlier one read
  const auto seconds_of = [&](uint32_t rows, uint32_t n) {
    const Clock::time_point start = Clock::now();
    pool.run([&](Worker& worker) {
      float* out = outputs.data() + size_t{worker.index()} * kMostRows * kOutputs;
      worker.chunks(n * items_per_plane, 1, [&](uint32_t item, uint32_t) {
        const uint32_t plane = (next_plane + item / items_per_plane) % n_planes;
        const uint32_t begin = item % items_per_plane * step;
        table.matmul(matrix, plane, begin, std::min(begin + step, matrix.n_groups),
                     activations.rows(), nullptr, rows, out, kOutputs);
      });
    });
    next_plane = (next_plane + n) % n_planes;
    return std::chrono::duration<double>(Clock::now() - start).count();
  };

  std::vector<KernelRates::Point> points;
  uint32_t n = 1;
  for (const uint32_t rows : kRows) {
    while (n < n_planes && seconds_of(rows, n) < kPassSeconds) n = std::min(2 * n, n_planes);
    std::vector<double> rates;
    for (uint32_t pass = 0; pass < kPasses; ++pass) {
      rates.push_back(double{kCols} * kOutputs * rows * n / seconds_of(rows, n));
    }
    points.push_back({static_cast<double>(rows), median_of(std::move(rates))});
    n = std::max(1u, n / 2);
  }
  return KernelRates(std::move(points),
                     static_cast<double>(matrix.plane_bytes()) / (kCols * kOutputs));
}

}  // namespace

Result<std::vector<KernelRates>> measure_kernel_rates(ThreadPool& pool,
                                                      std::span<const QuantType> formats) {
  FLOE_TRY(HugeBuffer weights,
           HugeBuffer::allocate(std::max(ReadProbe::sensible_bytes(), kLeastBytes)));
  // Scales of ordinary size in every format: subnormal numbers would be slow.
  std::memset(weights.data(), 0x3c, weights.size_bytes());
  std::vector<KernelRates> rates;
  for (auto format = formats.begin(); format != formats.end(); ++format) {
    const auto same = std::find(formats.begin(), format, *format);
    if (same != format) {
      rates.push_back(rates[std::distance(formats.begin(), same)]);
    } else {
      rates.push_back(measure(pool, *format, weights));
    }
  }
  return rates;
}

}  // namespace floe
