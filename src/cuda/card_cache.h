#pragma once
// A KV cache in the memory of a card. Blocks are read and written in HostKvCache's byte order.
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cuda/device.h"
#include "cuda/launch.h"
#include "kv/host_cache.h"

namespace floe::cuda {

class CardKvCache final : public KvCache {
 public:
  // On the current device; copies run on the stream, which outlives the cache. Layers must keep no
  // states.
  static Result<std::unique_ptr<CardKvCache>> create(std::span<const KvLayerSpec> layers,
                                                     const KvCacheLimits& limits,
                                                     cudaStream_t stream);

  const CachePlane& plane(uint32_t layer, uint32_t plane) const {
    return layers_[layer].planes[plane];
  }

  Result<void> read_block(KvBlockId block, std::span<std::byte> out) const override;
  Result<void> write_block(KvBlockId block, std::span<const std::byte> bytes) override;
  void poison(uint32_t begin, uint32_t end) override;
  uint32_t state_tokens(uint32_t state) const override;
  void clear_state(uint32_t state) override;
  void copy_state(uint32_t from, uint32_t to) override;
  Result<void> read_state(uint32_t state, std::span<std::byte> out) const override;
  Result<void> write_state(uint32_t state, uint32_t n_tokens,
                           std::span<const std::byte> bytes) override;

 private:
  struct LayerPlanes {
    CachePlane planes[KvLayerSpec::kMaxPlanes];
    uint32_t n_heads[KvLayerSpec::kMaxPlanes] = {};
  };

  CardKvCache(const KvCacheLimits& limits, const KvCacheBytes& bytes, cudaStream_t stream)
      : KvCache(limits, bytes), stream_(stream) {}
  // visit(address, bytes, type) for the vectors of slots [begin, end) of every head of every plane.
  template <typename Visit>
  void each_run(uint32_t begin, uint32_t end, const Visit& visit) const;

  // Starts copy(address, bytes) for every run of the block, and waits for all of them.
  template <typename Copy>
  Result<void> copy_block(KvBlockId block, size_t size_bytes, const char* attempted,
                          const Copy& copy) const;

  DeviceMemory memory_;
  std::vector<LayerPlanes> layers_;
  cudaStream_t stream_;
};

}  // namespace floe::cuda
