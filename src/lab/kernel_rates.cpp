#include "lab/kernel_rates.h"

#include <algorithm>
#include <array>
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
      : values_(size_t{kMostRows} * kCols, 1.0f), blocks_(values_.size() / kActivationBlockCols) {
    for (uint32_t row = 0; row < kMostRows; ++row) {
      const size_t at = size_t{row} * kCols;
      table.quantize_row(values_.data() + at, kCols, blocks_.data() + at / kActivationBlockCols);
    }
  }
  ActivationRows rows() const { return {kCols, kCols, values_.data(), blocks_.data()}; }

 private:
  std::vector<float> values_;
  std::vector<ActivationBlock> blocks_;
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

  // As many planes as take kPassSeconds.
  std::array<uint32_t, std::size(kRows)> n_planes_of;
  uint32_t n = 1;
  for (size_t i = 0; i < std::size(kRows); ++i) {
    while (n < n_planes && seconds_of(kRows[i], n) < kPassSeconds) n = std::min(2 * n, n_planes);
    n_planes_of[i] = n;
    n = std::max(1u, n / 2);
  }
  // In turns, so that what disturbs the machine for a while is in one pass of several points, not
  // in all passes of one.
  std::array<std::vector<double>, std::size(kRows)> rates;
  for (uint32_t pass = 0; pass < kPasses; ++pass) {
    for (size_t i = 0; i < std::size(kRows); ++i) {
      const double macs = double{kCols} * kOutputs * kRows[i] * n_planes_of[i];
      rates[i].push_back(macs / seconds_of(kRows[i], n_planes_of[i]));
    }
  }
  std::vector<KernelRates::Point> points;
  for (size_t i = 0; i < std::size(kRows); ++i) {
    points.push_back({static_cast<double>(kRows[i]), median_of(std::move(rates[i]))});
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
