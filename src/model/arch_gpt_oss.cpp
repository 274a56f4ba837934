// gpt-oss: attention with sinks, every other layer over a sliding window; biases everywhere; a
// clamped activation; weights of the chosen experts by a softmax over their logits alone.
#include "model/architecture.h"
#include "model/attention_gqa.h"
#include "model/moe.h"

namespace floe {

namespace {

constexpr const char* kKeys[] = {"expert_count", "expert_used_count", "expert_feed_forward_length",
                                 "attention.sliding_window"};

Result<void> load_attention_extras(const Hparams& hparams, const std::string& prefix,
                                   WeightLoader& loader, GqaAttention& a) {
  FLOE_TRY_VOID(loader.vector(prefix + "attn_q.bias", a.n_heads * a.key_dim, a.q_bias));
  FLOE_TRY_VOID(loader.vector(prefix + "attn_k.bias", a.n_kv_heads * a.key_dim, a.k_bias));
  FLOE_TRY_VOID(loader.vector(prefix + "attn_v.bias", a.n_kv_heads * a.value_dim, a.v_bias));
  FLOE_TRY_VOID(loader.vector(prefix + "attn_output.bias", hparams.hidden_dim, a.output_bias));
  return loader.vector(prefix + "attn_sinks.weight", a.n_heads, a.sinks);
}

Result<void> load_expert_extras(const Hparams& hparams, const std::string& prefix,
                                WeightLoader& loader, MoeFfn& moe, ResidentExperts& experts) {
  const uint32_t n_experts = moe.rules.n_experts;
  const uint32_t ffn_dim = hparams.expert_ffn_dim;
  experts.activation = Activation::swiglu_clamped;
  FLOE_TRY_VOID(loader.vector(prefix + "ffn_gate_inp.bias", n_experts, moe.router_bias));
  FLOE_TRY_VOID(
      loader.vector_stack(prefix + "ffn_gate_exps.bias", ffn_dim, n_experts, experts.gate_bias));
  FLOE_TRY_VOID(
      loader.vector_stack(prefix + "ffn_up_exps.bias", ffn_dim, n_experts, experts.up_bias));
  return loader.vector_stack(prefix + "ffn_down_exps.bias", hparams.hidden_dim, n_experts,
                             experts.down_bias);
}

Result<void> build_gpt_oss(const Hparams& hparams, WeightLoader& loader, Network& network) {
  if (hparams.n_experts == 0) return hparam_error(hparams, "expert_count", "at least 1", "0");
  if (hparams.sliding_window == 0) {
    return hparam_error(hparams, "attention.sliding_window", "at least 1", "0");
  }
  FLOE_TRY_VOID(build_frame(hparams, loader, hparams.n_blocks, false, network));
  for (uint32_t i = 0; i < hparams.n_blocks; ++i) {
    const std::string prefix = layer_prefix(i);
    Layer& layer = network.layers[i];
    auto& attention = layer.make_attention<GqaAttention>();
    attention.window = i % 2 == 0 ? hparams.sliding_window : 0;
    FLOE_TRY_VOID(
        loader.vector(prefix + "attn_norm.weight", hparams.hidden_dim, layer.attention_norm));
    FLOE_TRY_VOID(load_gqa(hparams, prefix, loader, attention));
    FLOE_TRY_VOID(load_attention_extras(hparams, prefix, loader, attention));
    // Named after the attention it follows; it norms the experts' input.
    FLOE_TRY_VOID(
        loader.vector(prefix + "post_attention_norm.weight", hparams.hidden_dim, layer.ffn_norm));
    auto& moe = layer.make_ffn<MoeFfn>();
    FLOE_TRY(ResidentExperts * experts, load_moe(hparams, prefix, hparams.expert_ffn_dim,
                                                 {Gating::softmax_selected, false}, loader, moe));
    FLOE_TRY_VOID(load_expert_extras(hparams, prefix, loader, moe, *experts));
  }
  return {};
}

}  // namespace

extern const Architecture kGptOss{"gpt-oss", kKeys, build_gpt_oss};

}  // namespace floe
