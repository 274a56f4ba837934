#include "kv/kv_cache.h"

#include <cstring>
#include <limits>

namespace floe {

namespace {
constexpr size_t kPlaneAlignBytes = 64;

size_t align_up(size_t value) {
  return (value + kPlaneAlignBytes - 1) & ~(kPlaneAlignBytes - 1);
}

// Fills n_vectors vectors, one after the other, with NaN.
void fill_nan(std::byte* dst, size_t n_vectors, uint32_t dim, KvType type) {
  const size_t size_bytes = n_vectors * kv_vector_bytes(type, dim);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  constexpr uint16_t kHalfNaN = 0x7e00;
  switch (type) {
    case KvType::F32:
      for (size_t i = 0; i < size_bytes; i += 4) std::memcpy(dst + i, &nan, 4);
      return;
    case KvType::F16:
      for (size_t i = 0; i < size_bytes; i += 2) std::memcpy(dst + i, &kHalfNaN, 2);
      return;
    case KvType::Q8_0:  // the scales
      for (size_t i = 0; i < size_bytes; i += kv_vector_bytes(type, 32)) {
        std::memcpy(dst + i, &kHalfNaN, 2);
      }
      return;
  }
}
}  // namespace

const char* to_string(KvType type) {
  switch (type) {
    case KvType::F32:
      return "f32";
    case KvType::F16:
      return "f16";
    case KvType::Q8_0:
      return "q8_0";
  }
  return "";
}

KvType parse_kv_type(std::string_view name) {
  for (const KvType type : {KvType::F32, KvType::Q8_0}) {
    if (name == to_string(type)) return type;
  }
  return KvType::F16;
}

uint64_t KvCache::bytes_per_slot(std::span<const KvLayerSpec> layers, KvTypes types) {
  uint64_t bytes = 0;
  for (const KvLayerSpec& layer : layers) {
    bytes += layer.n_heads * (kv_vector_bytes(types.keys, layer.key_dim) +
                              kv_vector_bytes(types.values, layer.value_dim)) +
             kv_vector_bytes(types.keys, layer.indexer_dim);
  }
  return bytes;
}

Result<KvCache> KvCache::create(std::span<const KvLayerSpec> layers, uint32_t n_slots,
                                KvTypes types) {
  KvCache cache;
  cache.n_slots_ = n_slots;
  cache.types_ = types;
  const uint64_t per_slot = bytes_per_slot(layers, types);
  const uint64_t needed = per_slot * n_slots;
  const uint64_t available = available_memory_bytes();
  if (available != 0 && needed > available) {
    return make_error(ErrorKind::memory,
                      "the KV cache of {} tokens needs {} bytes, {} are available: lower -c or -np",
                      n_slots, needed, available);
  }
  size_t offset = 0;
  auto reserve = [&](uint32_t n_heads, uint32_t dim, KvType type) {
    const size_t begin = offset;
    offset = align_up(offset + size_t{n_heads} * n_slots * kv_vector_bytes(type, dim));
    return begin;
  };
  for (const KvLayerSpec& spec : layers) {
    LayerPlanes planes;
    planes.spec = spec;
    planes.keys_offset = reserve(spec.n_heads, spec.key_dim, types.keys);
    planes.values_offset = reserve(spec.n_heads, spec.value_dim, types.values);
    planes.indexer_offset = reserve(1, spec.indexer_dim, types.keys);
    cache.layers_.push_back(planes);
  }
  FLOE_TRY(cache.buffer_, HugeBuffer::allocate(offset));
  return cache;
}

KvPlane KvCache::plane(size_t offset, uint32_t head, uint32_t dim, KvType type) const {
  const size_t stride_bytes = kv_vector_bytes(type, dim);
  return KvPlane{buffer_.data() + offset + size_t{head} * n_slots_ * stride_bytes, stride_bytes,
                 type};
}

std::byte* KvCache::slot_address(size_t offset, uint32_t head, uint32_t slot, size_t stride_bytes) {
  FLOE_CHECK(slot < n_slots_);
  return buffer_.data() + offset + (size_t{head} * n_slots_ + slot) * stride_bytes;
}

KvPlane KvCache::keys(uint32_t layer, uint32_t head) const {
  const LayerPlanes& planes = layers_[layer];
  return plane(planes.keys_offset, head, planes.spec.key_dim, types_.keys);
}

KvPlane KvCache::values(uint32_t layer, uint32_t head) const {
  const LayerPlanes& planes = layers_[layer];
  FLOE_CHECK(planes.spec.value_dim != 0);
  return plane(planes.values_offset, head, planes.spec.value_dim, types_.values);
}

KvPlane KvCache::indexer_keys(uint32_t layer) const {
  const LayerPlanes& planes = layers_[layer];
  return plane(planes.indexer_offset, 0, planes.spec.indexer_dim, types_.keys);
}

std::byte* KvCache::key_slot(uint32_t layer, uint32_t head, uint32_t slot) {
  const LayerPlanes& planes = layers_[layer];
  return slot_address(planes.keys_offset, head, slot,
                      kv_vector_bytes(types_.keys, planes.spec.key_dim));
}

std::byte* KvCache::value_slot(uint32_t layer, uint32_t head, uint32_t slot) {
  const LayerPlanes& planes = layers_[layer];
  return slot_address(planes.values_offset, head, slot,
                      kv_vector_bytes(types_.values, planes.spec.value_dim));
}

std::byte* KvCache::indexer_slot(uint32_t layer, uint32_t slot) {
  const LayerPlanes& planes = layers_[layer];
  return slot_address(planes.indexer_offset, 0, slot,
                      kv_vector_bytes(types_.keys, planes.spec.indexer_dim));
}

void KvCache::poison(uint32_t slot_begin, uint32_t slot_end) {
  if (slot_begin >= slot_end) return;
  const size_t n_slots = slot_end - slot_begin;
  for (uint32_t layer = 0; layer < layers_.size(); ++layer) {
    const KvLayerSpec& spec = layers_[layer].spec;
    for (uint32_t head = 0; head < spec.n_heads; ++head) {
      fill_nan(key_slot(layer, head, slot_begin), n_slots, spec.key_dim, types_.keys);
      if (spec.value_dim != 0) {
        fill_nan(value_slot(layer, head, slot_begin), n_slots, spec.value_dim, types_.values);
      }
    }
    if (spec.indexer_dim != 0) {
      fill_nan(indexer_slot(layer, slot_begin), n_slots, spec.indexer_dim, types_.keys);
    }
  }
}

}  // namespace floe
