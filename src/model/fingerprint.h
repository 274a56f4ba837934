#pragma once
// Hashes (XXH3-64) of what decides the bytes that a model leaves in its cache: parts of
// Model::cache_fingerprint().
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/thread_pool.h"
#include "kv/host_cache.h"
#include "store/gguf_metadata.h"

namespace floe {

uint64_t hash_of(std::span<const std::byte> bytes);
// Of many bytes, by all workers. Does not depend on their number.
uint64_t hash_of_weights(std::span<const std::byte> weights, ThreadPool& pool);
// Of every key that the architecture reads, as the file holds it.
uint64_t hash_of_hyperparameters(const GgufMetadata& metadata, const std::string& architecture);
uint64_t hash_of_layout(std::span<const KvLayerSpec> layers, KvTypes types);

// Model::cache_fingerprint() of those and of this program's version.
uint64_t cache_fingerprint_of(uint64_t weights_hash, uint64_t hyperparameters_hash,
                              std::span<const KvLayerSpec> layers, KvTypes types);

}  // namespace floe
