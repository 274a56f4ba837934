#pragma once
// A KV cache in this process's memory, with addresses, for layers that run here.
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "kernels/kernel_table.h"
#include "kv/kv_cache.h"

namespace floe {

// Vectors that a layer keeps per token: n_heads of dim values each, stored in the type of keys or
// of values. dim 0: none.
struct KvPlaneSpec {
  uint32_t n_heads = 1;
  uint32_t dim = 0;
  KvType KvTypes::*type = &KvTypes::keys;
};

// What one layer keeps. Its kind of attention says how many planes and what they mean.
struct KvLayerSpec {
  static constexpr size_t kMaxPlanes = 4;
  KvPlaneSpec planes[kMaxPlanes];
  uint64_t state_bytes = 0;  // of a sequence; 0: the layer keeps no state
};

class HostKvCache final : public KvCache {
 public:
  // Fails with ErrorKind::memory, naming the bytes needed, when the machine cannot hold it.
  static Result<std::unique_ptr<HostKvCache>> create(std::span<const KvLayerSpec> layers,
                                                     const KvCacheLimits& limits);
  static KvCacheBytes bytes_of(std::span<const KvLayerSpec> layers, KvTypes types);

  uint32_t n_layers() const { return static_cast<uint32_t>(layers_.size()); }

  // The vectors of all slots, of one head of a layer's plane.
  KvPlane plane(uint32_t layer, uint32_t plane, uint32_t head = 0) const;
  // That of one slot.
  std::byte* vector(uint32_t layer, uint32_t plane, uint32_t head, uint32_t slot);
  // What the layer keeps of the state's sequence, of its state_bytes, aligned to 64 bytes.
  std::byte* state(uint32_t layer, uint32_t state);
  // Every layer has taken in n_tokens more.
  void advance_state(uint32_t state, uint32_t n_tokens);

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
  struct Plane {
    uint32_t n_heads = 0;  // 0: the layer has no such plane
    uint32_t dim = 0;
    KvType type = KvType::F16;
    size_t stride_bytes = 0;  // of one vector
    size_t offset = 0;        // [n_heads][n_slots][dim]
  };
  struct LayerPlace {
    Plane planes[KvLayerSpec::kMaxPlanes];
    uint64_t state_bytes = 0;
    size_t state_offset = 0;  // [n_states][state_bytes rounded up to 64]
  };

  HostKvCache(const KvCacheLimits& limits, const KvCacheBytes& bytes) : KvCache(limits, bytes) {}
  std::byte* address(const Plane& plane, uint32_t head, uint32_t slot) const;
  std::byte* state_address(const LayerPlace& layer, uint32_t state) const;
  // visit(address, bytes) for each run of consecutive bytes of a block, in the order of
  // read_block().
  template <typename Visit>
  void each_run(KvBlockId block, const Visit& visit) const;

  HugeBuffer buffer_;
  std::vector<LayerPlace> layers_;
  std::vector<uint32_t> state_tokens_;  // [n_states]
};

}  // namespace floe
