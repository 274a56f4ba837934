// glm4moe (GLM-4.5 to 4.7, GLM-4.5-Air): queries, keys and values with biases and, in the larger
// models, a norm per head; only the first half of each head is rotated, in halves. The first layers
// are dense. The draft head is one more layer with experts.
#include "model/architecture.h"
#include "model/attention_gqa.h"
#include "model/moe.h"

namespace floe {

namespace {

constexpr const char* kKeys[] = {"feed_forward_length", "expert_count", "expert_used_count",
                                 "expert_feed_forward_length", "rope.dimension_count"};

Result<void> load_attention(const Hparams& hparams, const std::string& prefix, WeightLoader& loader,
                            GqaAttention& a) {
  FLOE_TRY_VOID(load_gqa(hparams, prefix, loader, a));
  FLOE_TRY_VOID(loader.vector(prefix + "attn_q.bias", a.n_heads * a.key_dim, a.q_bias));
  FLOE_TRY_VOID(loader.vector(prefix + "attn_k.bias", a.n_kv_heads * a.key_dim, a.k_bias));
  FLOE_TRY_VOID(loader.vector(prefix + "attn_v.bias", a.n_kv_heads * a.value_dim, a.v_bias));
  if (!loader.has(prefix + "attn_q_norm.weight")) return {};
  FLOE_TRY_VOID(loader.vector(prefix + "attn_q_norm.weight", a.key_dim, a.q_norm));
  return loader.vector(prefix + "attn_k_norm.weight", a.key_dim, a.k_norm);
}

Result<void> build_glm4moe(const Hparams& hparams, WeightLoader& loader, Network& network) {
  if (hparams.n_experts == 0) return hparam_error(hparams, "expert_count", "at least 1", "0");
  const BlockSplit split = split_blocks(hparams, loader);
  FLOE_TRY_VOID(build_frame(hparams, loader, split.n_trunk_layers, split.has_mtp, network));
  for (uint32_t i = 0; i < network.layers.size(); ++i) {
    const std::string prefix = layer_prefix(i);
    Layer& layer = network.layers[i];
    FLOE_TRY_VOID(
        loader.vector(prefix + "attn_norm.weight", hparams.hidden_dim, layer.attention_norm));
    FLOE_TRY_VOID(load_attention(hparams, prefix, loader, layer.make_attention<GqaAttention>()));
    // Named after the attention it follows; it norms the feed-forward network's input.
    FLOE_TRY_VOID(
        loader.vector(prefix + "post_attention_norm.weight", hparams.hidden_dim, layer.ffn_norm));
    FLOE_TRY_VOID(load_dense_or_moe(hparams, i, {Gating::sigmoid, false}, loader, layer));
  }
  if (!split.has_mtp) return {};
  return build_mtp(hparams, layer_prefix(split.n_trunk_layers), loader, *network.mtp);
}

}  // namespace

extern const Architecture kGlm4Moe{"glm4moe", kKeys, build_glm4moe};

}  // namespace floe
