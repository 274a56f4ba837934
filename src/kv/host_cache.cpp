#include "kv/host_cache.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace floe {

namespace {
constexpr size_t kAlignBytes = 64;

size_t align_up(size_t value) {
  return (value + kAlignBytes - 1) & ~(kAlignBytes - 1);
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

KvCacheBytes HostKvCache::bytes_of(std::span<const KvLayerSpec> layers, KvTypes types) {
  KvCacheBytes bytes;
  for (const KvLayerSpec& layer : layers) {
    for (const KvPlaneSpec& plane : layer.planes) {
      bytes.per_slot += plane.n_heads * kv_vector_bytes(types.*plane.type, plane.dim);
    }
    bytes.per_state += layer.state_bytes;
  }
  return bytes;
}

Result<std::unique_ptr<HostKvCache>> HostKvCache::create(std::span<const KvLayerSpec> layers,
                                                         const KvCacheLimits& limits) {
  std::unique_ptr<HostKvCache> cache(new HostKvCache(limits, bytes_of(layers, limits.types)));
  const uint64_t needed = cache->size_bytes();
  const uint64_t available = available_memory_bytes();
  if (available != 0 && needed > available) {
    return make_error(
        ErrorKind::memory,
        "the KV cache of {} tokens needs {:.1f} GB, {:.1f} GB are available: lower -c or "
        "-np, or take -ctk q8_0 -ctv q8_0",
        limits.n_slots, static_cast<double>(needed) / 1e9, static_cast<double>(available) / 1e9);
  }
  size_t offset = 0;
  const auto reserve = [&](size_t n_bytes) {
    const size_t begin = offset;
    offset = align_up(offset + n_bytes);
    return begin;
  };
  for (const KvLayerSpec& spec : layers) {
    LayerPlace& place = cache->layers_.emplace_back();
    for (size_t i = 0; i < KvLayerSpec::kMaxPlanes; ++i) {
      if (spec.planes[i].dim == 0) continue;
      Plane& plane = place.planes[i];
      plane.n_heads = spec.planes[i].n_heads;
      plane.dim = spec.planes[i].dim;
      plane.type = limits.types.*spec.planes[i].type;
      plane.stride_bytes = kv_vector_bytes(plane.type, plane.dim);
      plane.offset = reserve(size_t{plane.n_heads} * limits.n_slots * plane.stride_bytes);
    }
    place.state_bytes = spec.state_bytes;
    place.state_offset = reserve(cache->n_states() * align_up(spec.state_bytes));
  }
  FLOE_TRY(cache->buffer_, HugeBuffer::allocate(offset));
  cache->state_tokens_.assign(cache->n_states(), 0);
  return cache;
}

std::byte* HostKvCache::address(const Plane& plane, uint32_t head, uint32_t slot) const {
  FLOE_CHECK(head < plane.n_heads && slot < n_slots());
  return const_cast<std::byte*>(buffer_.data()) + plane.offset +
         (size_t{head} * n_slots() + slot) * plane.stride_bytes;
}

KvPlane HostKvCache::plane(uint32_t layer, uint32_t plane, uint32_t head) const {
  const Plane& place = layers_[layer].planes[plane];
  return KvPlane{address(place, head, 0), place.stride_bytes, place.type};
}

std::byte* HostKvCache::vector(uint32_t layer, uint32_t plane, uint32_t head, uint32_t slot) {
  return address(layers_[layer].planes[plane], head, slot);
}

template <typename Visit>
void HostKvCache::each_run(KvBlockId block, const Visit& visit) const {
  for (const LayerPlace& layer : layers_) {
    for (const Plane& plane : layer.planes) {
      for (uint32_t head = 0; head < plane.n_heads; ++head) {
        visit(address(plane, head, block * kKvBlockTokens), kKvBlockTokens * plane.stride_bytes);
      }
    }
  }
}

Result<void> HostKvCache::read_block(KvBlockId block, std::span<std::byte> out) const {
  FLOE_CHECK(out.size() == block_bytes() && block < n_slots() / kKvBlockTokens);
  std::byte* to = out.data();
  each_run(block, [&](const std::byte* from, size_t n) {
    std::memcpy(to, from, n);
    to += n;
  });
  return {};
}

Result<void> HostKvCache::write_block(KvBlockId block, std::span<const std::byte> bytes) {
  FLOE_CHECK(bytes.size() == block_bytes() && block < n_slots() / kKvBlockTokens);
  const std::byte* from = bytes.data();
  each_run(block, [&](std::byte* to, size_t n) {
    std::memcpy(to, from, n);
    from += n;
  });
  return {};
}

void HostKvCache::poison(uint32_t begin, uint32_t end) {
  if (begin >= end) return;
  FLOE_CHECK(end <= n_slots());
  for (const LayerPlace& layer : layers_) {
    for (const Plane& plane : layer.planes) {
      for (uint32_t head = 0; head < plane.n_heads; ++head) {
        fill_nan(address(plane, head, begin), end - begin, plane.dim, plane.type);
      }
    }
  }
}

std::byte* HostKvCache::state_address(const LayerPlace& layer, uint32_t state) const {
  FLOE_CHECK(state < n_states());
  return const_cast<std::byte*>(buffer_.data()) + layer.state_offset +
         state * align_up(layer.state_bytes);
}

std::byte* HostKvCache::state(uint32_t layer, uint32_t state) {
  return state_address(layers_[layer], state);
}

void HostKvCache::advance_state(uint32_t state, uint32_t n_tokens) {
  FLOE_CHECK(state < n_states());
  state_tokens_[state] += n_tokens;
}

uint32_t HostKvCache::state_tokens(uint32_t state) const {
  FLOE_CHECK(state < n_states());
  return state_tokens_[state];
}

void HostKvCache::clear_state(uint32_t state) {
  for (const LayerPlace& layer : layers_) {
    std::memset(state_address(layer, state), 0, layer.state_bytes);
  }
  state_tokens_[state] = 0;
}

void HostKvCache::copy_state(uint32_t from, uint32_t to) {
  for (const LayerPlace& layer : layers_) {
    std::memmove(state_address(layer, to), state_address(layer, from), layer.state_bytes);
  }
  state_tokens_[to] = state_tokens_[from];
}

Result<void> HostKvCache::read_state(uint32_t state, std::span<std::byte> out) const {
  FLOE_CHECK(out.size() == state_bytes());
  std::byte* to = out.data();
  for (const LayerPlace& layer : layers_) {
    std::memcpy(to, state_address(layer, state), layer.state_bytes);
    to += layer.state_bytes;
  }
  return {};
}

Result<void> HostKvCache::write_state(uint32_t state, uint32_t n_tokens,
                                      std::span<const std::byte> bytes) {
  FLOE_CHECK(bytes.size() == state_bytes());
  const std::byte* from = bytes.data();
  for (const LayerPlace& layer : layers_) {
    std::memcpy(state_address(layer, state), from, layer.state_bytes);
    from += layer.state_bytes;
  }
  state_tokens_[state] = n_tokens;
  return {};
}

}  // namespace floe
