#include "model/fingerprint.h"

#include <algorithm>
#include <cstring>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/version.h"

namespace floe {

uint64_t hash_of(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

uint64_t hash_of_weights(std::span<const std::byte> weights, ThreadPool& pool) {
  constexpr size_t kPieceBytes = size_t{1} << 20;
  std::vector<uint64_t> pieces((weights.size() + kPieceBytes - 1) / kPieceBytes);
  pool.run([&](Worker& worker) {
    worker.chunks(static_cast<uint32_t>(pieces.size()), 1, [&](uint32_t i, uint32_t) {
      const size_t begin = i * kPieceBytes;
      pieces[i] = hash_of(weights.subspan(begin, std::min(kPieceBytes, weights.size() - begin)));
    });
  });
  return hash_of(std::as_bytes(std::span(pieces)));
}

uint64_t hash_of_hyperparameters(const GgufMetadata& metadata, const std::string& architecture) {
  std::vector<uint64_t> parts;
  for (const MetadataEntry& entry : metadata.entries()) {
    if (entry.key != "general.architecture" && !entry.key.starts_with(architecture + ".")) continue;
    parts.push_back(hash_of(std::as_bytes(std::span(entry.key))));
    parts.push_back(hash_of({entry.value, entry.value_bytes}));
  }
  return hash_of(std::as_bytes(std::span(parts)));
}

uint64_t hash_of_layout(std::span<const KvLayerSpec> layers, KvTypes types) {
  std::vector<uint64_t> parts;
  for (const KvLayerSpec& layer : layers) {
    for (const KvPlaneSpec& plane : layer.planes) {
      if (plane.dim == 0) continue;
      parts.push_back(plane.n_heads);
      parts.push_back(plane.dim);
      parts.push_back(static_cast<uint64_t>(types.*plane.type));
    }
    parts.push_back(layer.state_bytes);
  }
  return hash_of(std::as_bytes(std::span(parts)));
}

uint64_t cache_fingerprint_of(uint64_t weights_hash, uint64_t hyperparameters_hash,
                              std::span<const KvLayerSpec> layers, KvTypes types) {
  const uint64_t parts[] = {weights_hash, hyperparameters_hash, hash_of_layout(layers, types),
                            hash_of(std::as_bytes(std::span(kVersion, std::strlen(kVersion))))};
  return hash_of(std::as_bytes(std::span(parts)));
}

}  // namespace floe
