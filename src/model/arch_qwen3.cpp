// qwen3 and qwen3moe: queries and keys are normed per head before a half-split rotation.
#include "model/architecture.h"
#include "model/attention_gqa.h"
#include "model/moe.h"

namespace floe {

namespace {
constexpr const char* kKeys[] = {"feed_forward_length"};
constexpr const char* kMoeKeys[] = {"expert_count", "expert_used_count",
                                    "expert_feed_forward_length"};

Result<void> build_qwen3(const Hparams& hparams, WeightLoader& loader, Network& network) {
  const bool is_moe = hparams.architecture == "qwen3moe";
  if (is_moe && hparams.n_experts == 0)
    return hparam_error(hparams, "expert_count", "at least 1", "0");
  FLOE_TRY_VOID(build_frame(hparams, loader, hparams.n_blocks, false, network));
  for (uint32_t i = 0; i < hparams.n_blocks; ++i) {
    const std::string prefix = layer_prefix(i);
    Layer& layer = network.layers[i];
    auto& attention = layer.make_attention<GqaAttention>();
    FLOE_TRY_VOID(
        loader.vector(prefix + "attn_norm.weight", hparams.hidden_dim, layer.attention_norm));
    FLOE_TRY_VOID(load_gqa(hparams, prefix, loader, attention));
    FLOE_TRY_VOID(loader.vector(prefix + "attn_q_norm.weight", hparams.key_dim, attention.q_norm));
    FLOE_TRY_VOID(loader.vector(prefix + "attn_k_norm.weight", hparams.key_dim, attention.k_norm));
    FLOE_TRY_VOID(loader.vector(prefix + "ffn_norm.weight", hparams.hidden_dim, layer.ffn_norm));
    FLOE_TRY_VOID(load_dense_or_moe(hparams, i, {Gating::softmax, true}, loader, layer));
  }
  return {};
}

}  // namespace

extern const Architecture kQwen3{"qwen3", kKeys, build_qwen3};
extern const Architecture kQwen3Moe{"qwen3moe", kMoeKeys, build_qwen3};

}  // namespace floe
