// glm-dsa (GLM-5 family): MLA with sparse attention. Some layers have an indexer; the others reuse
// the positions that the nearest indexer below chose. The draft head attends to everything.
#include "model/architecture.h"
#include "model/attention_mla.h"
#include "model/moe.h"

namespace floe {

namespace {

constexpr const char* kKeys[] = {
    "feed_forward_length",     "attention.kv_lora_rank",       "attention.q_lora_rank",
    "rope.dimension_count",    "attention.indexer.head_count", "attention.indexer.key_length",
    "attention.indexer.top_k", "expert_feed_forward_length",   "expert_count",
    "expert_used_count"};

// Without the types key, models of this context length or more share: three full layers, then one
// in four.
constexpr uint32_t kSharingContext = 1u << 20;

bool is_full_by_default(const Hparams& hparams, uint32_t layer) {
  if (hparams.context_length < kSharingContext) return true;
  return layer < 2 || (layer - 2) % 4 == 0;
}

Result<void> build_glm_dsa(const Hparams& hparams, WeightLoader& loader, Network& network) {
  if (hparams.q_lora_dim == 0) {
    return hparam_error(hparams, "attention.q_lora_rank", "at least 1", "0");
  }
  if (hparams.n_experts == 0) return hparam_error(hparams, "expert_count", "at least 1", "0");
  const BlockSplit split = split_blocks(hparams, loader);
  const std::vector<uint8_t>& types = hparams.indexer_types;
  if (!types.empty() && types.size() != split.n_trunk_layers && types.size() != hparams.n_blocks) {
    return hparam_error(hparams, "attention.indexer.types",
                        fmt::format("{} elements, one per trunk layer", split.n_trunk_layers),
                        fmt::format("{}", types.size()));
  }
  if (!types.empty() && types[0] == 0) {
    return hparam_error(hparams, "attention.indexer.types", "a full first layer", "a shared one");
  }
  FLOE_TRY_VOID(build_frame(hparams, loader, split.n_trunk_layers, split.has_mtp, network));
  for (uint32_t i = 0; i < network.layers.size(); ++i) {
    const std::string prefix = layer_prefix(i);
    Layer& layer = network.layers[i];
    auto& attention = layer.make_attention<MlaAttention>();
    FLOE_TRY_VOID(
        loader.vector(prefix + "attn_norm.weight", hparams.hidden_dim, layer.attention_norm));
    FLOE_TRY_VOID(
        load_mla(hparams, prefix, network.rope.attention_multiplier(), loader, attention));
    if (i < split.n_trunk_layers) {
      const bool full = types.empty() ? is_full_by_default(hparams, i) : types[i] != 0;
      attention.selection = full ? Selection::indexed : Selection::shared;
      attention.top_k = hparams.indexer_top_k;
    }
    if (attention.selection == Selection::indexed) {
      attention.indexer.rope_interleaved = true;
      attention.indexer.key_norm_eps = 0.0f;
      FLOE_TRY_VOID(load_indexer(hparams, prefix, loader, attention.indexer));
    } else {
      ignore_indexer(prefix, loader);
    }
    FLOE_TRY_VOID(loader.vector(prefix + "ffn_norm.weight", hparams.hidden_dim, layer.ffn_norm));
    FLOE_TRY_VOID(load_dense_or_moe(hparams, i, {Gating::sigmoid, false}, loader, layer));
  }
  if (!split.has_mtp) return {};
  return build_mtp(hparams, layer_prefix(split.n_trunk_layers), loader, *network.mtp);
}

}  // namespace

extern const Architecture kGlmDsa{"glm-dsa", kKeys, build_glm_dsa};

}  // namespace floe
