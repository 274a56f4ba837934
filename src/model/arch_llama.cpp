// llama: dense models, and Mixtral-style experts where expert_count is set. The file's query and
// key rows are permuted so that rotary pairs stand side by side.
#include "model/architecture.h"
#include "model/attention_gqa.h"
#include "model/gated_ffn.h"
#include "model/moe.h"

namespace floe {

namespace {
constexpr const char* kKeys[] = {"feed_forward_length"};

Result<void> build_llama(const Hparams& hparams, WeightLoader& loader, Network& network) {
  FLOE_TRY_VOID(build_frame(hparams, loader, hparams.n_blocks, false, network));
  for (uint32_t i = 0; i < hparams.n_blocks; ++i) {
    const std::string prefix = layer_prefix(i);
    Layer& layer = network.layers[i];
    auto& attention = layer.make_attention<GqaAttention>();
    attention.rope_interleaved = true;
    FLOE_TRY_VOID(
        loader.vector(prefix + "attn_norm.weight", hparams.hidden_dim, layer.attention_norm));
    FLOE_TRY_VOID(load_gqa(hparams, prefix, loader, attention));
    FLOE_TRY_VOID(loader.vector(prefix + "ffn_norm.weight", hparams.hidden_dim, layer.ffn_norm));
    if (hparams.n_experts == 0) {
      auto& dense = layer.make_ffn<DenseFfn>();
      FLOE_TRY_VOID(
          load_gated_ffn(prefix, "", hparams.hidden_dim, hparams.ffn_dim, loader, dense.ffn));
    } else {
      const uint32_t ffn_dim =
          hparams.expert_ffn_dim != 0 ? hparams.expert_ffn_dim : hparams.ffn_dim;
      FLOE_TRY_VOID(load_moe(hparams, prefix, ffn_dim, {Gating::softmax, true}, loader,
                             layer.make_ffn<MoeFfn>()));
    }
    // A copy of the frequencies that old files carry per layer.
    loader.ignore(prefix + "attn_rot_embd.weight");
  }
  return {};
}

}  // namespace

extern const Architecture kLlama{"llama", kKeys, build_llama};

}  // namespace floe
