"""Writes a valid GGUF model of zeros; the file is sparse.

sparse_model.py giant FILE    tensors that need far more memory than any machine has
sparse_model.py long FILE     little weights, but the 48 layers, the 4 KV heads of 128 and the 262,144 positions of
                              Qwen3-30B-A3B: 98,304 bytes of KV cache for a token in F16
"""
import struct
import sys

U32, F32, STRING, ARRAY = 4, 6, 8, 9
TENSOR_F32 = 0


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key, kind, value):
    head = text(key) + struct.pack("<I", kind)
    if kind == STRING:
        return head + text(value)
    return head + struct.pack("<f" if kind == F32 else "<I", value)


def strings(key, values):
    return text(key) + struct.pack("<IIQ", ARRAY, STRING, len(values)) + b"".join(map(text, values))


def giant():
    hidden, vocab, ffn = 16384, 1 << 20, 32768
    pairs = [
        pair("general.architecture", STRING, "llama"),
        pair("tokenizer.ggml.model", STRING, "none"),
        pair("llama.vocab_size", U32, vocab),
        pair("llama.block_count", U32, 1),
        pair("llama.context_length", U32, 4096),
        pair("llama.embedding_length", U32, hidden),
        pair("llama.feed_forward_length", U32, ffn),
        pair("llama.attention.head_count", U32, 128),
        pair("llama.attention.head_count_kv", U32, 8),
        pair("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        pair("llama.rope.freq_base", F32, 1e4),
    ]
    return pairs, {
        "token_embd.weight": (hidden, vocab),
        "output_norm.weight": (hidden,),
        "output.weight": (hidden, vocab),
        "blk.0.attn_norm.weight": (hidden,),
        "blk.0.attn_q.weight": (hidden, hidden),
        "blk.0.attn_k.weight": (hidden, 1024),
        "blk.0.attn_v.weight": (hidden, 1024),
        "blk.0.attn_output.weight": (hidden, hidden),
        "blk.0.ffn_norm.weight": (hidden,),
        "blk.0.ffn_gate.weight": (hidden, ffn),
        "blk.0.ffn_up.weight": (hidden, ffn),
        "blk.0.ffn_down.weight": (ffn, hidden),
    }


def long():
    hidden, n_layers, n_heads, n_kv_heads, head_dim, ffn, n_experts = 64, 48, 4, 4, 128, 32, 4
    # The 256 bytes as byte-level vocabularies spell them.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    tokens = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    pairs = [
        pair("general.architecture", STRING, "qwen3moe"),
        pair("tokenizer.ggml.model", STRING, "gpt2"),
        pair("tokenizer.ggml.pre", STRING, "qwen2"),
        strings("tokenizer.ggml.tokens", tokens),
        strings("tokenizer.ggml.merges", []),
        pair("qwen3moe.block_count", U32, n_layers),
        pair("qwen3moe.context_length", U32, 262144),
        pair("qwen3moe.embedding_length", U32, hidden),
        pair("qwen3moe.feed_forward_length", U32, ffn),
        pair("qwen3moe.expert_feed_forward_length", U32, ffn),
        pair("qwen3moe.expert_count", U32, n_experts),
        pair("qwen3moe.expert_used_count", U32, 2),
        pair("qwen3moe.attention.head_count", U32, n_heads),
        pair("qwen3moe.attention.head_count_kv", U32, n_kv_heads),
        pair("qwen3moe.attention.key_length", U32, head_dim),
        pair("qwen3moe.attention.value_length", U32, head_dim),
        pair("qwen3moe.attention.layer_norm_rms_epsilon", F32, 1e-6),
        pair("qwen3moe.rope.freq_base", F32, 1e6),
    ]
    tensors = {"token_embd.weight": (hidden, 256), "output_norm.weight": (hidden,), "output.weight": (hidden, 256)}
    for i in range(n_layers):
        tensors |= {
            f"blk.{i}.attn_norm.weight": (hidden,),
            f"blk.{i}.attn_q.weight": (hidden, n_heads * head_dim),
            f"blk.{i}.attn_k.weight": (hidden, n_kv_heads * head_dim),
            f"blk.{i}.attn_v.weight": (hidden, n_kv_heads * head_dim),
            f"blk.{i}.attn_q_norm.weight": (head_dim,),
            f"blk.{i}.attn_k_norm.weight": (head_dim,),
            f"blk.{i}.attn_output.weight": (n_heads * head_dim, hidden),
            f"blk.{i}.ffn_norm.weight": (hidden,),
            f"blk.{i}.ffn_gate_inp.weight": (hidden, n_experts),
            f"blk.{i}.ffn_gate_exps.weight": (hidden, ffn, n_experts),
            f"blk.{i}.ffn_up_exps.weight": (hidden, ffn, n_experts),
            f"blk.{i}.ffn_down_exps.weight": (ffn, hidden, n_experts),
        }
    return pairs, tensors


pairs, tensors = {"giant": giant, "long": long}[sys.argv[1]]()
infos, offset = b"", 0
for name, dims in tensors.items():
    infos += text(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
    infos += struct.pack("<IQ", TENSOR_F32, offset)
    size = 4
    for dim in dims:
        size *= dim
    offset += (size + 31) // 32 * 32
header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs) + infos
header += b"\0" * (-len(header) % 32)
with open(sys.argv[2], "wb") as out:
    out.write(header)
    out.truncate(len(header) + offset)
