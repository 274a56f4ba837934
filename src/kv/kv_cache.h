#pragma once
// Where keys and values of all layers live: a fixed number of slots, one per cached token.
//
// A slot holds, for every layer, the key and value vectors of each KV head (or the one latent
// vector that MLA keeps) and the indexer key where the layer has an indexer. Which sequence owns
// which slot is the block pool's business; this class only knows addresses.
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "kernels/kernel_table.h"

namespace floe {

// What one layer stores per token. Widths in values, not bytes.
struct KvLayerSpec {
  uint32_t n_heads = 0;      // KV heads; 1 for MLA
  uint32_t key_dim = 0;      // per head; MLA: kv_lora + rope
  uint32_t value_dim = 0;    // per head; 0: values are the first columns of the keys (MLA)
  uint32_t indexer_dim = 0;  // 0: no indexer keys in this layer
};

// "f32", "f16", "q8_0", as llama.cpp calls them.
const char* to_string(KvType type);
// F16 for a name that is none of them.
KvType parse_kv_type(std::string_view name);

// A latent of MLA is a key: its type is keys, and so is that of indexer keys.
struct KvTypes {
  KvType keys = KvType::F16;
  KvType values = KvType::F16;

  KvTypes() = default;
  KvTypes(KvType key_type, KvType value_type) : keys(key_type), values(value_type) {}
  KvTypes(KvType both) : KvTypes(both, both) {}
};

class KvCache {
 public:
  KvCache() = default;

  // Fails with ErrorKind::memory, naming the bytes needed, when the machine cannot hold it.
  static Result<KvCache> create(std::span<const KvLayerSpec> layers, uint32_t n_slots,
                                KvTypes types);
  static uint64_t bytes_per_slot(std::span<const KvLayerSpec> layers, KvTypes types);

  uint32_t n_slots() const { return n_slots_; }
  KvTypes types() const { return types_; }
  uint64_t size_bytes() const { return buffer_.size_bytes(); }

  KvPlane keys(uint32_t layer, uint32_t head) const;
  // Only where value_dim is not 0.
  KvPlane values(uint32_t layer, uint32_t head) const;
  KvPlane indexer_keys(uint32_t layer) const;

  std::byte* key_slot(uint32_t layer, uint32_t head, uint32_t slot);
  std::byte* value_slot(uint32_t layer, uint32_t head, uint32_t slot);
  std::byte* indexer_slot(uint32_t layer, uint32_t slot);

  // Fills every vector of the slots with NaN, so that a stale read shows in the logits. Test builds
  // call it on every freed block.
  void poison(uint32_t slot_begin, uint32_t slot_end);

 private:
  struct LayerPlanes {
    KvLayerSpec spec;
    size_t keys_offset = 0;  // head-major: [n_heads][n_slots][dim]
    size_t values_offset = 0;
    size_t indexer_offset = 0;
  };

  KvPlane plane(size_t offset, uint32_t head, uint32_t dim, KvType type) const;
  std::byte* slot_address(size_t offset, uint32_t head, uint32_t slot, size_t stride_bytes);

  HugeBuffer buffer_;
  std::vector<LayerPlanes> layers_;
  uint32_t n_slots_ = 0;
  KvTypes types_;
};

}  // namespace floe
