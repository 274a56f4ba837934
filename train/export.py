#!/usr/bin/env python3
"""Writes floe-nano as GGUF: routed experts Q4_0, other matrices Q8_0, the small rest F32.

    python3 export.py --checkpoint out/last.pt --out ../models/floe-nano.gguf
"""
import argparse
import os

import gguf
from gguf import ARRAY, BOOL, F32, FLOAT, I32, Q4_0, Q8_0, STRING, U32

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../src/chat/templates/floe-nano.jinja"),
          encoding="utf-8") as file:
    CHAT_TEMPLATE = file.read()


def model_keys(cfg, tok, description):
    a = "glm-dsa."
    tokens, types, merges = tok.gguf_tokens()
    keys = [
        ("general.architecture", STRING, "glm-dsa"), ("general.type", STRING, "model"),
        ("general.name", STRING, "floe-nano"), ("general.basename", STRING, "floe-nano"),
        ("general.description", STRING, description), ("general.license", STRING, "mit"),
        ("general.alignment", U32, gguf.ALIGN), ("general.quantization_version", U32, 2),
        (a + "block_count", U32, cfg.n_layers + 1), (a + "nextn_predict_layers", U32, 1),
        (a + "context_length", U32, cfg.context), (a + "embedding_length", U32, cfg.hidden),
        (a + "feed_forward_length", U32, cfg.dense_ffn), (a + "vocab_size", U32, cfg.vocab_size),
        (a + "attention.head_count", U32, cfg.n_heads), (a + "attention.head_count_kv", U32, 1),
        (a + "attention.layer_norm_rms_epsilon", FLOAT, cfg.eps),
        (a + "attention.key_length", U32, cfg.kv_lora + cfg.rope), (a + "attention.value_length", U32, cfg.kv_lora),
        (a + "attention.key_length_mla", U32, cfg.nope + cfg.rope), (a + "attention.value_length_mla", U32, cfg.v_dim),
        (a + "attention.q_lora_rank", U32, cfg.q_lora), (a + "attention.kv_lora_rank", U32, cfg.kv_lora),
        (a + "attention.indexer.head_count", U32, cfg.index_heads), (a + "attention.indexer.key_length", U32, cfg.index_dim),
        (a + "attention.indexer.top_k", U32, cfg.index_top_k),
        (a + "attention.indexer.types", ARRAY, (BOOL, [bool(x) for x in cfg.index_types])),
        (a + "rope.dimension_count", U32, cfg.rope), (a + "rope.freq_base", FLOAT, cfg.rope_theta),
        (a + "leading_dense_block_count", U32, cfg.n_dense), (a + "expert_count", U32, cfg.n_experts),
        (a + "expert_used_count", U32, cfg.n_used), (a + "expert_feed_forward_length", U32, cfg.expert_ffn),
        (a + "expert_shared_count", U32, 1), (a + "expert_weights_scale", FLOAT, cfg.weights_scale),
        (a + "expert_weights_norm", BOOL, True), (a + "expert_gating_func", U32, 2),
        (a + "expert_group_count", U32, 1), (a + "expert_group_used_count", U32, 1),
        ("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, "qwen2"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, tokens)), ("tokenizer.ggml.token_type", ARRAY, (I32, types)),
        ("tokenizer.ggml.merges", ARRAY, (STRING, merges)),
        ("tokenizer.ggml.eos_token_id", U32, tok.special["<|endoftext|>"]),
        ("tokenizer.ggml.eot_token_id", U32, tok.special["<|end|>"]),
        ("tokenizer.ggml.padding_token_id", U32, tok.special["<|endoftext|>"]),
        ("tokenizer.ggml.add_bos_token", BOOL, False), ("tokenizer.chat_template", STRING, CHAT_TEMPLATE),
    ]
    return keys


def tensor_names(cfg):
    """[(GGUF name, PyTorch name, type)] in file order."""
    out = [("token_embd.weight", "embed", Q8_0), ("output_norm.weight", "norm", F32)]
    for i in range(cfg.n_layers + 1):
        g = "blk.%d." % i
        p = "blocks.%d." % i if i < cfg.n_layers else "mtp.block."
        out += [(g + "attn_norm.weight", p + "attn_norm", F32), (g + "attn_q_a.weight", p + "attn.q_a.weight", Q8_0),
                (g + "attn_q_a_norm.weight", p + "attn.q_a_norm", F32), (g + "attn_q_b.weight", p + "attn.q_b.weight", Q8_0),
                (g + "attn_kv_a_mqa.weight", p + "attn.kv_a.weight", Q8_0), (g + "attn_kv_a_norm.weight", p + "attn.kv_a_norm", F32),
                (g + "attn_k_b.weight", p + "attn.k_b", Q8_0), (g + "attn_v_b.weight", p + "attn.v_b", Q8_0),
                (g + "attn_output.weight", p + "attn.out.weight", Q8_0)]
        if i == cfg.n_layers or cfg.index_types[i]:
            q = p + "attn.indexer."
            out += [(g + "indexer.attn_q_b.weight", q + "q_b.weight", Q8_0), (g + "indexer.attn_k.weight", q + "k.weight", Q8_0),
                    (g + "indexer.k_norm.weight", q + "k_norm_w", F32), (g + "indexer.k_norm.bias", q + "k_norm_b", F32),
                    (g + "indexer.proj.weight", q + "proj", F32)]
        out.append((g + "ffn_norm.weight", p + "ffn_norm", F32))
        if i < cfg.n_dense:
            out += [(g + "ffn_%s.weight" % n, p + "ffn.%s.weight" % n, Q8_0) for n in ("gate", "up", "down")]
        else:
            out += [(g + "ffn_gate_inp.weight", p + "moe.router", F32), (g + "exp_probs_b.bias", p + "moe.bias", F32)]
            out += [(g + "ffn_%s_exps.weight" % n, p + "moe.w_" + n, Q4_0) for n in ("gate", "up", "down")]
            out += [(g + "ffn_%s_shexp.weight" % n, p + "moe.shared.%s.weight" % n, Q8_0) for n in ("gate", "up", "down")]
        if i == cfg.n_layers:
            out += [(g + "nextn.eh_proj.weight", "mtp.eh_proj.weight", Q8_0), (g + "nextn.enorm.weight", "mtp.enorm", F32),
                    (g + "nextn.hnorm.weight", "mtp.hnorm", F32), (g + "nextn.shared_head_norm.weight", "mtp.head_norm", F32)]
    return out


def export(path, cfg, state, tok, description="A tiny mixture-of-experts model trained for the floe engine."):
    """state: {PyTorch name: numpy float32 array}."""
    names = tensor_names(cfg)
    left = set(state) - set(t for _, t, _ in names)
    if left:
        raise ValueError("weights without a GGUF name: " + ", ".join(sorted(left)))
    gguf.write(path, model_keys(cfg, tok, description), [(g, state[t], kind) for g, t, kind in names])


def load_state(path, cfg):
    """A GGUF's dequantised weights under their PyTorch names."""
    _, tensors, _ = gguf.read(path)
    return {t: tensors[g] for g, t, _ in tensor_names(cfg)}


def main():
    import torch

    import model
    import tokenizer
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--checkpoint", required=True)
    ap.add_argument("--tokenizer", default="tokenizer.json")
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    state = {k: v.float().numpy() for k, v in torch.load(args.checkpoint, map_location="cpu").items()}
    export(args.out, model.Config(), state, tokenizer.Tokenizer.load(args.tokenizer))


if __name__ == "__main__":
    main()
