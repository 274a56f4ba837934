#include "cuda/layer_kinds.h"

namespace floe::cuda {

Result<void> check_layers(const Network& network, const std::string& name) {
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    const bool attends = dynamic_cast<const GqaAttention*>(layer.attention.get()) != nullptr ||
                         dynamic_cast<const MlaAttention*>(layer.attention.get()) != nullptr;
    if (!attends || layer.attention->cache_spec().state_bytes != 0) {
      return model_error("{}: layer {}: no card runs this kind of attention yet: --device cpu does",
                         name, i);
    }
    const auto* moe = dynamic_cast<const MoeFfn*>(layer.ffn.get());
    const bool feeds_forward =
        moe != nullptr ? dynamic_cast<const ResidentExperts*>(moe->experts.get()) != nullptr
                       : as_dense(layer) != nullptr;
    if (!feeds_forward) {
      return model_error(
          "{}: layer {}: no card runs this kind of feed-forward network yet: --device cpu does",
          name, i);
    }
    // One thread has up to four values of a head.
    constexpr uint32_t kMostValues = 1024;
    const GqaAttention* gqa = as_gqa(layer);
    const uint32_t value_dim = gqa != nullptr ? gqa->value_dim : as_mla(layer).kv_lora_dim;
    if (value_dim > kMostValues) {
      return model_error("{}: layer {}: expected at most {} values of a head on a card, found {}",
                         name, i, kMostValues, value_dim);
    }
  }
  return {};
}

}  // namespace floe::cuda
