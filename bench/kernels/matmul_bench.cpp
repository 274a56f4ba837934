// Matrix kernels over (format, instruction set, shape, activation rows, threads): bytes of weights
// per second and multiply-adds per second. Weights are more than the caches hold, so one row shows
// the memory's speed and many rows the arithmetic's. The cases are those of the accuracy tests.
//
// Beside the tables stands "free", the AVX-512 kernels without row invariance (free_order.cpp):
// what the promise costs.
//
//   kernels_bench --benchmark_filter='matmul/Q4_0/.*/4096x1024/rows:8/'
// With --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true the tables take turns.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstring>
#include <memory>

#if defined(FLOE_HAVE_FREE_ORDER)
#include "free_order.h"
#endif
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
  std::vector<ActivationBlock> blocks(values.size() / kActivationBlockCols);
  for (size_t i = 0; i < values.size(); i += n_cols) {
    c.table->quantize_row(&values[i], n_cols, &blocks[i / kActivationBlockCols]);
  }
  const ActivationRows x = {n_cols, n_cols, values.data(), blocks.data()};
  std::vector<float> out(size_t{c.n_rows} * matrix.n_rows);
  ThreadPool pool(c.n_threads);
  // As the forward cuts them.
  const auto passes_per_chunk =
      static_cast<uint32_t>(kChunkBytes / (kGroupsPerPass * matrix.group_bytes));
  const uint32_t n_chunk_groups = kGroupsPerPass * std::max(passes_per_chunk, 1u);
  // Many planes to one run of the threads, as a forward does it: waking them takes longer than a
  // plane.
  const uint32_t planes_per_run = std::max(4 * matrix.n_planes / c.n_rows, 1u);

  uint32_t first = 0;
  for (auto _ : state) {
    pool.run([&](Worker& worker) {
      for (uint32_t p = 0; p < planes_per_run; ++p) {
        if (p % 32 == 31) worker.barrier();
        const uint32_t plane = (first + p) % matrix.n_planes;
        worker.chunks(matrix.n_groups, n_chunk_groups, [&](uint32_t begin, uint32_t end) {
          c.table->matmul(matrix, plane, begin, end, x, nullptr, c.n_rows, out.data(),
                          matrix.n_rows);
        });
      }
    });
    first = (first + planes_per_run) % matrix.n_planes;
    benchmark::DoNotOptimize(out.data());
  }
  const double planes = static_cast<double>(state.iterations()) * planes_per_run;
  state.counters["GB/s"] = benchmark::Counter(
      planes * static_cast<double>(matrix.plane_bytes()) * 1e-9, benchmark::Counter::kIsRate);
  state.counters["GMAC/s"] = benchmark::Counter(planes * n_cols * matrix.n_rows * c.n_rows * 1e-9,
                                                benchmark::Counter::kIsRate);
}

// The speed of memory alone: one load of every line.
void read(benchmark::State& state) {
  Result<HugeBuffer> buffer = HugeBuffer::allocate(kWeightBytes);
  if (!buffer) std::abort();
  std::memset(buffer->data(), 1, kWeightBytes);
  constexpr size_t kLine = 64;
  constexpr uint32_t kSweeps = 4;
  ThreadPool pool(static_cast<uint32_t>(state.range(0)));
  for (auto _ : state) {
    pool.run([&](Worker& worker) {
      for (uint32_t sweep = 0; sweep < kSweeps; ++sweep) {
        worker.chunks(kWeightBytes / kChunkBytes, 1, [&](uint32_t begin, uint32_t) {
          const std::byte* bytes = buffer->data() + begin * kChunkBytes;
          unsigned sum = 0;
          for (size_t i = 0; i < kChunkBytes; i += kLine) sum += static_cast<unsigned>(bytes[i]);
          benchmark::DoNotOptimize(sum);
        });
      }
    });
  }
  state.counters["GB/s"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * kSweeps * kWeightBytes * 1e-9,
                         benchmark::Counter::kIsRate);
}
BENCHMARK(read)->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMicrosecond);

void register_case(const Case& c) {
  const std::string name =
      fmt::format("matmul/{}/{}/{}x{}/rows:{}/threads:{}", format_traits(c.type).name, c.table->isa,
                  c.shape.n_cols, c.shape.n_rows, c.n_rows, c.n_threads);
  benchmark::RegisterBenchmark(name.c_str(), matmul, c)
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
}

void register_free_order() {
#if defined(FLOE_HAVE_FREE_ORDER)
  const KernelTable* fixed = find_kernels("avx512");
  if (fixed == nullptr) return;
  static KernelTable table = *fixed;
  table.isa = "free";
  table.matmul = free_order_matmul;
  for (const QuantType type :
       {QuantType::Q4_0, QuantType::Q8_0, QuantType::Q4_K, QuantType::Q6_K}) {
    for (const uint32_t n_rows : {1u, 8u}) {
      for (const uint32_t n_threads : {1u, 2u}) {
        register_case({type, &table, kMatmulShapes[0], n_rows, n_threads});
      }
    }
  }
#endif
}

const bool kRegistered = [] {
  for (const QuantType type : kAllFormats) {
    for (const MatmulShape& shape : kMatmulShapes) {
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
  register_free_order();
  return true;
}();

}  // namespace
}  // namespace floe
