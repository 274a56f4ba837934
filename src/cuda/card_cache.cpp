#include "cuda/card_cache.h"

#include <utility>

namespace floe::cuda {

namespace {

constexpr size_t kPlaneAlignBytes = 256;

size_t align_up(size_t value) {
  return (value + kPlaneAlignBytes - 1) / kPlaneAlignBytes * kPlaneAlignBytes;
}

}  // namespace

Result<std::unique_ptr<CardKvCache>> CardKvCache::create(std::span<const KvLayerSpec> layers,
                                                         const KvCacheLimits& limits,
                                                         cudaStream_t stream) {
  const KvCacheBytes bytes = HostKvCache::bytes_of(layers, limits.types);
  FLOE_CHECK(bytes.per_state == 0);
  auto cache = std::unique_ptr<CardKvCache>(new CardKvCache(limits, bytes, stream));
  std::vector<size_t> offsets;
  size_t size_bytes = 0;
  for (const KvLayerSpec& layer : layers) {
    LayerPlanes planes;
    for (size_t p = 0; p < KvLayerSpec::kMaxPlanes; ++p) {
      const KvPlaneSpec& spec = layer.planes[p];
      offsets.push_back(size_bytes);
      if (spec.dim == 0) continue;
      CachePlane& plane = planes.planes[p];
      plane.type = limits.types.*spec.type;
      plane.stride_bytes = kv_vector_bytes(plane.type, spec.dim);
      plane.head_bytes = align_up(limits.n_slots * plane.stride_bytes);
      planes.n_heads[p] = spec.n_heads;
      size_bytes += spec.n_heads * plane.head_bytes;
    }
    cache->layers_.push_back(planes);
  }
  FLOE_TRY(
      cache->memory_,
      DeviceMemory::allocate(size_bytes, fmt::format("the KV cache of {} tokens", limits.n_slots)));
  size_t next = 0;
  for (LayerPlanes& layer : cache->layers_) {
    for (size_t p = 0; p < KvLayerSpec::kMaxPlanes; ++p) {
      if (layer.n_heads[p] != 0) layer.planes[p].base = cache->memory_.data() + offsets[next];
      ++next;
    }
  }
  return cache;
}

template <typename Visit>
void CardKvCache::each_run(uint32_t begin, uint32_t end, const Visit& visit) const {
  for (const LayerPlanes& layer : layers_) {
    for (size_t p = 0; p < KvLayerSpec::kMaxPlanes; ++p) {
      const CachePlane& plane = layer.planes[p];
      for (uint32_t head = 0; head < layer.n_heads[p]; ++head) {
        visit(plane.base + head * plane.head_bytes + begin * plane.stride_bytes,
              (end - begin) * plane.stride_bytes, plane.type);
      }
    }
  }
}

// Copies that were started end before the call returns, whatever fails.
template <typename Copy>
Result<void> CardKvCache::copy_block(KvBlockId block, size_t size_bytes, const char* attempted,
                                     const Copy& copy) const {
  FLOE_CHECK(size_bytes == block_bytes() && block < n_slots() / kKvBlockTokens);
  const uint32_t begin = block * kKvBlockTokens;
  cudaError_t failed = cudaSuccess;
  each_run(begin, begin + kKvBlockTokens, [&](std::byte* at, size_t n, KvType) {
    if (failed == cudaSuccess) failed = copy(at, n);
  });
  const cudaError_t ended = cudaStreamSynchronize(stream_);
  return check(failed != cudaSuccess ? failed : ended, attempted);
}

Result<void> CardKvCache::read_block(KvBlockId block, std::span<std::byte> out) const {
  std::byte* to = out.data();
  return copy_block(block, out.size(), "reading the cache", [&](const std::byte* from, size_t n) {
    return cudaMemcpyAsync(std::exchange(to, to + n), from, n, cudaMemcpyDeviceToHost, stream_);
  });
}

Result<void> CardKvCache::write_block(KvBlockId block, std::span<const std::byte> bytes) {
  const std::byte* from = bytes.data();
  return copy_block(block, bytes.size(), "writing the cache", [&](std::byte* to, size_t n) {
    return cudaMemcpyAsync(to, std::exchange(from, from + n), n, cudaMemcpyHostToDevice, stream_);
  });
}

void CardKvCache::poison(uint32_t begin, uint32_t end) {
  if (begin >= end) return;
  FLOE_CHECK(end <= n_slots());
  each_run(begin, end,
           [&](std::byte* at, size_t n, KvType type) { fill_nan(stream_, at, n, type); });
}

// No model of the card keeps states: nobody calls these.
uint32_t CardKvCache::state_tokens(uint32_t) const {
  FLOE_CHECK(false);
}
void CardKvCache::clear_state(uint32_t) {
  FLOE_CHECK(false);
}
void CardKvCache::copy_state(uint32_t, uint32_t) {
  FLOE_CHECK(false);
}
Result<void> CardKvCache::read_state(uint32_t, std::span<std::byte>) const {
  FLOE_CHECK(false);
}
Result<void> CardKvCache::write_state(uint32_t, uint32_t, std::span<const std::byte>) {
  FLOE_CHECK(false);
}

}  // namespace floe::cuda
