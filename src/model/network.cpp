#include "model/network.h"

namespace floe {

std::vector<KvLayerSpec> cache_layout(const Network& network) {
  std::vector<KvLayerSpec> layers;
  for (const Layer& layer : network.layers) {
    layers.push_back(layer.attention->cache_spec());
    // A draft head's guesses are taken back, and a state cannot be.
    FLOE_CHECK(layers.size() <= network.n_trunk_layers || layers.back().state_bytes == 0);
  }
  return layers;
}

HostKvCache& host_cache(const ForwardBatch& batch, const Network& network) {
  auto* cache = dynamic_cast<HostKvCache*>(&batch.cache);
  FLOE_CHECK(cache != nullptr && cache->n_layers() == network.layers.size());
  return *cache;
}

}  // namespace floe
