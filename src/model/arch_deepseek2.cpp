// deepseek2 (V2-Lite, V2, V3, R1) and deepseek32 (V3.2: the same with an indexer in every trunk
// layer, whose rotation is half-split while attention's is interleaved).
#include "model/architecture.h"
#include "model/attention_mla.h"
#include "model/moe.h"

namespace floe {

namespace {
constexpr const char* kKeys[] = {"feed_forward_length", "attention.kv_lora_rank",
                                 "rope.dimension_count"};
constexpr const char* kDsaKeys[] = {"feed_forward_length",          "attention.kv_lora_rank",
                                    "attention.q_lora_rank",        "rope.dimension_count",
                                    "attention.indexer.head_count", "attention.indexer.key_length",
                                    "attention.indexer.top_k"};

Result<void> build_deepseek2(const Hparams& hparams, WeightLoader& loader, Network& network) {
  const bool has_indexer = hparams.architecture == "deepseek32";
  if (has_indexer && hparams.q_lora_dim == 0) {
    return hparam_error(hparams, "attention.q_lora_rank", "at least 1", "0");
  }
  const BlockSplit split = split_blocks(hparams, loader);
  FLOE_TRY_VOID(build_frame(hparams, loader, split.n_trunk_layers, split.has_mtp, network));
  for (uint32_t i = 0; i < network.layers.size(); ++i) {
    const std::string prefix = layer_prefix(i);
    Layer& layer = network.layers[i];
    auto& attention = layer.make_attention<MlaAttention>();
    FLOE_TRY_VOID(
        loader.vector(prefix + "attn_norm.weight", hparams.hidden_dim, layer.attention_norm));
    FLOE_TRY_VOID(
        load_mla(hparams, prefix, network.rope.attention_multiplier(), loader, attention));
    if (has_indexer && i < split.n_trunk_layers) {
      attention.selection = Selection::indexed;
      attention.top_k = hparams.indexer_top_k;
      attention.indexer.rope_interleaved = false;
      attention.indexer.key_norm_eps = 1e-6f;
      FLOE_TRY_VOID(load_indexer(hparams, prefix, loader, attention.indexer));
    } else if (has_indexer) {
      ignore_indexer(prefix, loader);
    }
    FLOE_TRY_VOID(loader.vector(prefix + "ffn_norm.weight", hparams.hidden_dim, layer.ffn_norm));
    FLOE_TRY_VOID(load_dense_or_moe(hparams, i, {Gating::softmax, false}, loader, layer));
  }
  if (!split.has_mtp) return {};
  network.mtp->feeds_normed_hidden = false;
  return build_mtp(hparams, layer_prefix(split.n_trunk_layers), loader, *network.mtp);
}

}  // namespace

extern const Architecture kDeepseek2{"deepseek2", kKeys, build_deepseek2};
extern const Architecture kDeepseek32{"deepseek32", kDsaKeys, build_deepseek2};

}  // namespace floe
