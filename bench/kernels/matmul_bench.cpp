// Matrix kernels over (format, instruction set, shape, activation rows, threads): bytes of weights
// per second and multiply-adds per second. Weights are more than the caches hold, so one row shows
// the memory's speed and many rows the arithmetic's. The cases are those of the accuracy tests.
//
//   kernels_bench --benchmark_filter='matmul/Q4_0/.*/4096x1024/rows:8/' \
//       --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstring>
#include <memory>

#include "base/memory.h"
#include "base/thread_pool.h"
#include "kernels/kernel_table.h"
#include "kernels/matmul_cases.h"

namespace floe {
namespace {

constexpr size_t kWeightBytes = 256u << 20;
constexpr size_t kChunkBytes = 64u << 10;

struct Case {
  QuantType type;
  const KernelTable* table;
  MatmulShape shape;
  uint32_t n_rows;
  uint32_t n_threads;
};

struct Weights {
  QuantType type;
  MatmulShape shape;
  HugeBuffer buffer;
  PackedMatrix matrix;
};

// As many equal planes as make kWeightBytes.
std::unique_ptr<Weights> make_weights(QuantType type, const MatmulShape& shape) {
  std::mt19937 rng(1);
  const std::vector<std::byte> file = file_rows(rng, type, shape.n_rows, shape.n_cols);
  auto weights = std::make_unique<Weights>();
  weights->type = type;
  weights->shape = shape;
  PackedMatrix& matrix = weights->matrix;
  matrix = packed_shape(type, shape.n_cols, shape.n_rows, 1);
  matrix.n_planes = static_cast<uint32_t>(kWeightBytes / matrix.plane_bytes()) + 1;
  Result<HugeBuffer> buffer = HugeBuffer::allocate(matrix.size_bytes());
  if (!buffer) std::abort();
  weights->buffer = std::move(*buffer);
  std::byte* first = weights->buffer.data();
  matrix.data = first;
  pack_groups(matrix, file.data(), first, 0, matrix.n_groups);
  for (uint32_t p = 1; p < matrix.n_planes; ++p) {
    std::memcpy(first + p * matrix.plane_bytes(), first, matrix.plane_bytes());
  }
  return weights;
}

void matmul(benchmark::State& state, const Case& c) {
  // One format after the other: its weights are kept while its cases run.
  static std::unique_ptr<Weights> kept;
  if (kept == nullptr || kept->type != c.type || kept->shape.n_cols != c.shape.n_cols ||
      kept->shape.n_rows != c.shape.n_rows) {
    kept.reset();
    kept = make_weights(c.type, c.shape);
  }
  const PackedMatrix& matrix = kept->matrix;

  const uint32_t n_cols = c.shape.n_cols;
  std::mt19937 rng(2);
  const std::vector<float> values = random_values(rng, size_t{c.n_rows} * n_cols);
  std::vector<int8_t> q(values.size());
  std::vector<float> scales(values.size() / 32);
  std::vector<int16_t> sums(values.size() / 16);
  for (size_t i = 0; i < values.size(); i += n_cols) {
    c.table->quantize_row(&values[i], n_cols, &q[i], &scales[i / 32], &sums[i / 16]);
  }
  const ActivationRows x = {n_cols, n_cols, values.data(), q.data(), scales.data(), sums.data()};
  std::vector<float> out(size_t{c.n_rows} * matrix.n_rows);
  ThreadPool pool(c.n_threads);
  // Pairs of groups, as the forward cuts them.
  const auto pairs_per_chunk = static_cast<uint32_t>(kChunkBytes / (2 * matrix.group_bytes));
  const uint32_t n_chunk_groups = 2 * std::max(pairs_per_chunk, 1u);

  uint32_t plane = 0;
  for (auto _ : state) {
    pool.run([&](Worker& worker) {
      worker.chunks(matrix.n_groups, n_chunk_groups, [&](uint32_t begin, uint32_t end) {
        c.table->matmul(matrix, plane, begin, end, x, nullptr, c.n_rows, out.data(), matrix.n_rows);
      });
    });
    plane = (plane + 1) % matrix.n_planes;
    benchmark::DoNotOptimize(out.data());
  }
  const auto calls = static_cast<double>(state.iterations());
  state.counters["GB/s"] = benchmark::Counter(
      calls * static_cast<double>(matrix.plane_bytes()) * 1e-9, benchmark::Counter::kIsRate);
  state.counters["GMAC/s"] = benchmark::Counter(calls * n_cols * matrix.n_rows * c.n_rows * 1e-9,
                                                benchmark::Counter::kIsRate);
}

void register_case(const Case& c) {
  const std::string name =
      fmt::format("matmul/{}/{}/{}x{}/rows:{}/threads:{}", format_traits(c.type).name, c.table->isa,
                  c.shape.n_cols, c.shape.n_rows, c.n_rows, c.n_threads);
  benchmark::RegisterBenchmark(name.c_str(), matmul, c)
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
}

const bool kRegistered = [] {
  for (const QuantType type : kAllFormats) {
    for (const MatmulShape& shape : kMatmulShapes) {
      if (shape.n_cols % format_traits(type).block_elems != 0) continue;
      for (const uint32_t n_threads : {1u, 2u}) {
        for (const uint32_t n_rows : kRowCounts) {
          for (const KernelTable* table : machine_kernels()) {
            if (table != &reference_kernels()) {
              register_case({type, table, shape, n_rows, n_threads});
            }
          }
        }
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace floe
