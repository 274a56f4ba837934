// Attention kernels and activation quantisation, on one thread.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "base/memory.h"
#include "kernels/attend.h"

namespace floe {
namespace {

// Cached vectors in slot order, copied until the last-level cache does not hold them: in a model
// every layer finds its vectors in memory.
struct Cache {
  static constexpr size_t kBytes = size_t{96} << 20;

  HugeBuffer storage;  // as the product's cache
  KvPlane plane;
  size_t n_bytes;  // of one copy

  Cache(std::mt19937& rng, KvType type, uint32_t n_slots, uint32_t dim) {
    const size_t stride = kv_vector_bytes(type, dim);
    n_bytes = stride * n_slots;
    if (n_bytes == 0) return;
    storage = HugeBuffer::allocate(std::max<size_t>(1, kBytes / n_bytes) * n_bytes).value();
    std::normal_distribution<float> normal;
    std::vector<float> vector(dim);
    for (uint32_t s = 0; s < n_slots; ++s) {
      for (float& value : vector) value = normal(rng);
      kernels().store_kv(vector.data(), type, storage.data() + s * stride, dim);
    }
    for (size_t at = n_bytes; at < storage.size_bytes(); at += n_bytes) {
      std::memcpy(storage.data() + at, storage.data(), n_bytes);
    }
    plane = {storage.data(), stride, type};
  }

  void next() {
    plane.base += n_bytes;
    if (plane.base == storage.data() + storage.size_bytes()) plane.base = storage.data();
  }
};

std::vector<uint32_t> ascending(uint32_t n) {
  std::vector<uint32_t> slots(n);
  std::iota(slots.begin(), slots.end(), 0u);
  return slots;
}

void count(benchmark::State& state, double macs, double bytes) {
  const auto n = static_cast<double>(state.iterations());
  state.counters["GMAC/s"] = benchmark::Counter(n * macs * 1e-9, benchmark::Counter::kIsRate);
  state.counters["GB/s"] = benchmark::Counter(n * bytes * 1e-9, benchmark::Counter::kIsRate);
}

// Arguments: heads that share the cached vectors, rows, positions, width of keys and of values (0:
// the values are the keys' first 512 columns, as in MLA).
void attend_rows(benchmark::State& state, KvType type) {
  const auto n_heads = static_cast<uint32_t>(state.range(0));
  const auto n_rows = static_cast<uint32_t>(state.range(1));
  const auto n = static_cast<uint32_t>(state.range(2));
  const auto key_dim = static_cast<uint32_t>(state.range(3));
  const bool latent = state.range(4) == 0;
  const uint32_t value_dim = latent ? 512 : static_cast<uint32_t>(state.range(4));
  std::mt19937 rng(1);
  Cache keys(rng, type, n, key_dim);
  Cache values(rng, type, latent ? 0 : n, value_dim);
  const std::vector<uint32_t> slots = ascending(n);
  const std::vector<float> q(size_t{n_rows} * n_heads * key_dim, 0.1f);
  std::vector<float> out(size_t{n_rows} * n_heads * value_dim);
  std::vector<float> memory(AttendScratch::size(key_dim, value_dim) + 16);
  const size_t misalignment = reinterpret_cast<uintptr_t>(memory.data()) % 64;
  const AttendScratch scratch(memory.data() + (64 - misalignment) % 64 / 4, key_dim, value_dim);
  SharedHeads heads;
  heads.key_dim = key_dim;
  heads.value_dim = value_dim;
  heads.scale = 0.05f;
  heads.q_stride = key_dim;
  heads.out_stride = value_dim;
  const uint32_t part = std::min(n_heads, AttendScratch::kMaxQueries / n_rows);
  for (auto _ : state) {
    keys.next();
    heads.keys = keys.plane;
    if (!latent) {
      values.next();
      heads.values = values.plane;
    }
    for (uint32_t head = 0; head < n_heads; head += part) {
      heads.n_heads = std::min(part, n_heads - head);
      std::vector<AttendRow> rows;
      for (uint32_t r = 0; r < n_rows; ++r) {
        const size_t query = size_t{r} * n_heads + head;
        rows.push_back({&q[query * key_dim], &out[query * value_dim], 0, n - n_rows + 1 + r});
      }
      attend(kernels(), heads, slots.data(), rows, scratch);
    }
    benchmark::DoNotOptimize(out.data());
  }
  const double per_position = static_cast<double>(n_rows) * n_heads * (key_dim + value_dim);
  count(state, per_position * n, static_cast<double>(keys.n_bytes + values.n_bytes));
}

// Arguments: heads, rows, positions; keys of 128 values.
void indexer(benchmark::State& state) {
  constexpr uint32_t kDim = 128;
  const auto n_heads = static_cast<uint32_t>(state.range(0));
  const auto n_rows = static_cast<uint32_t>(state.range(1));
  const auto n = static_cast<uint32_t>(state.range(2));
  std::mt19937 rng(1);
  Cache keys(rng, KvType::F16, n, kDim);
  const std::vector<uint32_t> slots = ascending(n);
  const std::vector<float> q(size_t{n_rows} * n_heads * kDim, 0.1f);
  const std::vector<float> weights(n_heads, 0.1f);
  std::vector<float> scores(size_t{n_rows} * n);
  std::vector<float> tile(size_t{kAttentionBlock} * tile_stride(kDim));
  for (auto _ : state) {
    keys.next();
    for (uint32_t t = 0; t < n; t += kAttentionBlock) {
      KvBlock block(keys.plane, &slots[t], kAttentionBlock);
      block.prepare(kernels(), kAttentionBlock, kDim, n_rows * n_heads, tile.data());
      for (uint32_t r = 0; r < n_rows; ++r) {
        kernels().indexer_scores(&q[size_t{r} * n_heads * kDim], weights.data(), n_heads,
                                 block.vectors, block.type, kAttentionBlock, kDim,
                                 &scores[size_t{r} * n + t]);
      }
    }
    benchmark::DoNotOptimize(scores.data());
  }
  count(state, static_cast<double>(n_rows) * n_heads * n * kDim, static_cast<double>(keys.n_bytes));
}

void quantize_row(benchmark::State& state) {
  const auto n = static_cast<uint32_t>(state.range(0));
  std::vector<float> x(n, 0.5f);
  std::vector<ActivationBlock> blocks(n / kActivationBlockCols);
  for (auto _ : state) {
    kernels().quantize_row(x.data(), n, blocks.data());
    benchmark::DoNotOptimize(blocks.data());
  }
}

void softmax(benchmark::State& state) {
  std::vector<float> x(static_cast<size_t>(state.range(0)), 0.5f);
  for (auto _ : state) {
    kernels().softmax(x.data(), static_cast<uint32_t>(x.size()));
    benchmark::DoNotOptimize(x.data());
  }
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"heads", "rows", "n", "kd", "vd"});
  for (const int64_t n : {4096, 16384}) {
    for (const int64_t rows : {1, 4, 8}) {
      bench->Args({8, rows, n, 128, 128});  // a KV head of Qwen3
      bench->Args({8, rows, n, 64, 64});    // of gpt-oss
      bench->Args({64, rows, n, 576, 0});   // a layer of GLM-5
    }
  }
}
BENCHMARK_CAPTURE(attend_rows, f16, KvType::F16)->Apply(shapes);
BENCHMARK_CAPTURE(attend_rows, q8_0, KvType::Q8_0)->Apply(shapes);
BENCHMARK(indexer)->ArgNames({"heads", "rows", "n"})->ArgsProduct({{32}, {1, 4, 8}, {4096, 16384}});
BENCHMARK(quantize_row)->Arg(4096);
BENCHMARK(softmax)->Arg(4096);

}  // namespace
}  // namespace floe
