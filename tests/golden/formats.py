#!/usr/bin/env python3
"""Makes the reference case `formats`: a tiny Mixtral-like model that holds every block format and half-precision
format that floe reads, and its logits in float64.

    tests/golden/formats.py ../shared/golden OUT    writes OUT as a folder that pack.py takes

Shares no code with the engine. Everything that computes is checked first against the whole set, which other
programs made: the decoders against its decoded blocks, every bit; the forward pass against its logits of llama
models. Blocks are drawn as they lie in a file, codes and scales at random, so no encoder takes part. Needs numpy."""
import hashlib
import json
import pathlib
import struct
import sys

import numpy as np

F32 = np.float32
IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], F32)
E2M1 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, 0, -.5, -1, -1.5, -2, -3, -4, -6], F32)


# Decoders: b is u8 [n blocks][bytes of a block], the result f32 [n][weights of a block]. The order of the
# float32 operations is part of a format (docs/formats.md).

def half(b, at):
    return np.ascontiguousarray(b[:, at:at + 2]).view("<f2").astype(F32)


def nibbles(q):
    """u8 [..., 16 or 32] -> [..., 32 or 64]: all low nibbles, then all high ones."""
    return np.concatenate([q & 15, q >> 4], -1)


def fifth_bits(b, at):
    return np.unpackbits(b[:, at:at + 4], axis=1, bitorder="little") << 4


def bit_pairs(q):
    """u8 [n][64] -> [n][8 groups][32]: bits 0-1, 2-3, 4-5, 6-7 of the first 32 bytes, then of the others."""
    q = q.reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    return (q & 3).reshape(-1, 8, 32)


def six_bit_pairs(p):
    """The 12 bytes of Q4_K and Q5_K -> eight scales, eight minima."""
    low, high = p[:, 8:12], p[:, :8] >> 6
    return (np.concatenate([p[:, :4] & 63, (low & 15) | (high[:, :4] << 4)], 1),
            np.concatenate([p[:, 4:8] & 63, (low >> 4) | (high[:, 4:] << 4)], 1))


def scaled(scale, q, minimum=None):
    """scale f32 [n][s], q [n][anything of as many weights] -> f32 [n][weights], minimum subtracted."""
    n, s = scale.shape
    w = scale[:, :, None] * q.reshape(n, s, -1).astype(F32)
    if minimum is not None:
        w = w - minimum[:, :, None]
    return w.reshape(n, -1)


def decode_q2_k(b):
    scales = b[:, :16]
    return scaled(half(b, 80) * (scales & 15).astype(F32), bit_pairs(b[:, 16:80]),
                  half(b, 82) * (scales >> 4).astype(F32))


def decode_q3_k(b):
    packed = b[:, 96:108]
    high = (packed[:, 8:].reshape(-1, 1, 4) >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 4, 1)) & 3
    scales = (nibbles(packed[:, :8]) | (high.reshape(-1, 16) << 4)).astype(F32) - 32
    third = (b[:, None, :32] >> np.arange(8, dtype=np.uint8).reshape(1, 8, 1)) & 1
    return scaled(half(b, 108) * scales, bit_pairs(b[:, 32:96]).astype(F32) - 4 * (third == 0))


def decode_q4_k(b):
    scales, minima = six_bit_pairs(b[:, 4:16])
    return scaled(half(b, 0) * scales.astype(F32), nibbles(b[:, 16:].reshape(-1, 4, 32)),
                  half(b, 2) * minima.astype(F32))


def decode_q5_k(b):
    scales, minima = six_bit_pairs(b[:, 4:16])
    fifth = (b[:, None, 16:48] >> np.arange(8, dtype=np.uint8).reshape(1, 8, 1)) & 1
    q = nibbles(b[:, 48:].reshape(-1, 4, 32)).reshape(-1, 8, 32) | (fifth << 4)
    return scaled(half(b, 0) * scales.astype(F32), q, half(b, 2) * minima.astype(F32))


def decode_q6_k(b):
    low = nibbles(b[:, :128].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    high = (b[:, 128:192].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)) & 3
    return scaled(half(b, 208) * b[:, 192:208].view(np.int8).astype(F32), (low | (high << 4)).astype(F32) - 32)


def decode_iq4_xs(b):
    low = np.stack([b[:, 4:8] & 15, b[:, 4:8] >> 4], -1).reshape(-1, 8)
    high = np.ascontiguousarray(b[:, 2:4]).view("<u2") >> np.arange(0, 16, 2, dtype=np.uint16) & 3
    return scaled(half(b, 0) * ((low | (high << 4)).astype(F32) - 32), IQ4[nibbles(b[:, 8:].reshape(-1, 8, 16))])


class Format:
    def __init__(self, type_id, n_weights, n_bytes, decode, scale=None, codes=None):
        self.type_id, self.n_weights, self.n_bytes, self.decode = type_id, n_weights, n_bytes, decode
        self.scale, self.codes = scale, codes  # slices: the bytes of the block's scale, of its codes


BLOCKS = {
    "Q4_0": Format(2, 32, 18, lambda b: half(b, 0) * (nibbles(b[:, 2:]).astype(F32) - 8), slice(0, 2), slice(2, 18)),
    "Q4_1": Format(3, 32, 20, lambda b: half(b, 0) * nibbles(b[:, 4:]).astype(F32) + half(b, 2),
                   slice(0, 2), slice(4, 20)),
    "Q5_0": Format(6, 32, 22, lambda b: half(b, 0) * ((nibbles(b[:, 6:]) | fifth_bits(b, 2)).astype(F32) - 16),
                   slice(0, 2), slice(6, 22)),
    "Q5_1": Format(7, 32, 24, lambda b: half(b, 0) * (nibbles(b[:, 8:]) | fifth_bits(b, 4)).astype(F32) + half(b, 2),
                   slice(0, 2), slice(8, 24)),
    "Q8_0": Format(8, 32, 34, lambda b: half(b, 0) * b[:, 2:].view(np.int8).astype(F32), slice(0, 2), slice(2, 34)),
    "IQ4_NL": Format(20, 32, 18, lambda b: half(b, 0) * IQ4[nibbles(b[:, 2:])], slice(0, 2), slice(2, 18)),
    "MXFP4": Format(39, 32, 17, lambda b: np.ldexp(F32(1), b[:, :1].astype(np.int32) - 128)
                    * (2 * E2M1[nibbles(b[:, 1:])]), slice(0, 1), slice(1, 17)),
    "Q2_K": Format(10, 256, 84, decode_q2_k, slice(80, 82), slice(16, 80)),
    "Q3_K": Format(11, 256, 110, decode_q3_k, slice(108, 110), slice(32, 96)),
    "Q4_K": Format(12, 256, 144, decode_q4_k, slice(0, 2), slice(16, 144)),
    "Q5_K": Format(13, 256, 176, decode_q5_k, slice(0, 2), slice(48, 176)),
    "Q6_K": Format(14, 256, 210, decode_q6_k, slice(208, 210), slice(0, 128)),
    "IQ4_XS": Format(23, 256, 136, decode_iq4_xs, slice(0, 2), slice(8, 136)),
}
PLAIN = {
    "F32": Format(0, 1, 4, lambda b: np.ascontiguousarray(b).view("<f4")),
    "F16": Format(1, 1, 2, lambda b: half(b, 0)),
    "BF16": Format(30, 1, 2, lambda b: (np.ascontiguousarray(b).view("<u2").astype(np.uint32) << 16).view(F32)),
}
FORMATS = {**PLAIN, **BLOCKS}


def check_decoders(folder):
    index = json.loads((folder / "index.json").read_text())
    blocks, floats = (np.fromfile(folder / name, np.uint8) for name in ("blocks.bin", "floats.bin"))
    for name, form in FORMATS.items():
        if name == "F32":
            continue
        entry = index["types"][name]
        assert (form.type_id, form.n_weights, form.n_bytes) == tuple(
            entry[key] for key in ("ggml_type", "block_elems", "block_bytes")), name
        n = entry["n_blocks"]
        at, floats_at = entry["blocks_offset"], entry["floats_offset"]
        found = form.decode(blocks[at:at + n * form.n_bytes].reshape(n, -1))
        expected = floats[floats_at:floats_at + 4 * n * form.n_weights]
        assert np.ascontiguousarray(found).view(np.uint8).tobytes() == expected.tobytes(), name
        print(f"{name:7} {n} blocks decode to the same bits")


class Tensor:
    """blocks u8 [number of blocks][bytes of one]; shape as GGUF has it, columns first."""
    def __init__(self, form, shape, blocks):
        self.form, self.shape, self.blocks = form, tuple(shape), blocks

    def weights(self):
        return FORMATS[self.form].decode(self.blocks).reshape(self.shape[::-1])


# GGUF, as much as these files need.

def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def write_gguf(path, keys, tensors):
    """keys {name: str, int (u32) or float (f32)}; returns the bytes written."""
    head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(keys))]
    for name, value in keys.items():
        kind, packed = ((8, text(value)) if isinstance(value, str) else (4, struct.pack("<I", value))
                        if isinstance(value, int) else (6, struct.pack("<f", value)))
        head.append(text(name) + struct.pack("<I", kind) + packed)
    data = b""
    for name, t in tensors.items():
        head.append(text(name) + struct.pack(f"<I{len(t.shape)}QIQ", len(t.shape), *t.shape,
                                             FORMATS[t.form].type_id, len(data)))
        data += t.blocks.tobytes()
        data += bytes(-len(data) % 32)
    head = b"".join(head)
    whole = head + bytes(-len(head) % 32) + data
    path.write_bytes(whole)
    return whole


def read_gguf(path):
    """(keys, tensors) of a file without arrays among its keys."""
    raw, at = path.read_bytes(), 24

    def take(kind):
        nonlocal at
        value = struct.unpack_from("<" + kind, raw, at)[0]
        at += struct.calcsize(kind)
        return value

    def take_text():
        nonlocal at
        n = take("Q")
        at += n
        return raw[at - n:at].decode()

    kinds = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    n_tensors, n_keys = struct.unpack_from("<QQ", raw, 8)
    keys, places, tensors = {}, [], {}
    for _ in range(n_keys):
        name, kind = take_text(), take("I")
        keys[name] = take_text() if kind == 8 else take(kinds[kind])
    for _ in range(n_tensors):
        name = take_text()
        places.append((name, [take("Q") for _ in range(take("I"))], take("I"), take("Q")))
    start = at + -at % 32
    names = {form.type_id: name for name, form in FORMATS.items()}
    for name, shape, type_id, offset in places:
        form = FORMATS[names[type_id]]
        n = int(np.prod(shape)) // form.n_weights
        blocks = np.frombuffer(raw, np.uint8, n * form.n_bytes, start + offset).reshape(n, -1)
        tensors[name] = Tensor(names[type_id], shape, blocks)
    return keys, tensors


# The forward pass of llama, dense or with experts, in float64.

def normed(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rounded(x):
    """Activations as 8-bit blocks: of 32 values the largest magnitude becomes 127, the others the nearest integer.
    Also how far the closest of them is from the middle of two integers."""
    b = x.reshape(*x.shape[:-1], -1, 32)
    scale = np.abs(b).max(-1, keepdims=True) / 127
    b = b / scale
    return (np.rint(b) * scale).reshape(x.shape), 0.5 - np.abs(b - np.rint(b)).max()


class Llama:
    def __init__(self, keys, tensors, round_activations=False):
        self.key = lambda name, default=None: keys.get("llama." + name, default)
        self.form = {name: t.form for name, t in tensors.items()}
        self.weight = {name: t.weights().astype(np.float64) for name, t in tensors.items()}
        self.round_activations = round_activations  # of matrices in block formats
        self.closest_tie = 0.5  # of all activations rounded in the last logits()

    def times(self, name, x, expert=None):
        w = self.weight[name] if expert is None else self.weight[name][expert]
        if self.round_activations and self.form[name] in BLOCKS:
            x, tie = rounded(x)
            self.closest_tie = min(self.closest_tie, tie)
        return x @ w.T

    def turned(self, x):
        """x [rows][heads][dim], row i at position i: the pairs (0, 1), (2, 3), ... are rotated."""
        d = x.shape[-1]
        angle = np.arange(len(x))[:, None] * self.key("rope.freq_base", 10000.0) ** (-np.arange(0, d, 2) / d)
        turn = np.exp(1j * angle)[:, None]
        return (np.ascontiguousarray(x).view(np.complex128) * turn).view(np.float64)

    def attention(self, p, x):
        n, heads, kv_heads = len(x), self.key("attention.head_count"), self.key("attention.head_count_kv")
        q = self.turned(self.times(p + "attn_q.weight", x).reshape(n, heads, -1))
        k = self.turned(self.times(p + "attn_k.weight", x).reshape(n, kv_heads, -1))
        v = self.times(p + "attn_v.weight", x).reshape(n, kv_heads, -1)
        past = np.tril(np.ones((n, n), bool))
        out = []
        for h in range(heads):
            kv = h * kv_heads // heads
            score = q[:, h] @ k[:, kv].T / np.sqrt(q.shape[-1])
            out.append(softmax(np.where(past, score, -np.inf)) @ v[:, kv])
        return self.times(p + "attn_output.weight", np.concatenate(out, -1))

    def ffn(self, p, suffix, x, expert=None):
        gate, up = (self.times(f"{p}ffn_{part}{suffix}.weight", x, expert) for part in ("gate", "up"))
        return self.times(f"{p}ffn_down{suffix}.weight", gate / (1 + np.exp(-gate)) * up, expert)

    def feed_forward(self, p, x):
        if p + "ffn_gate_inp.weight" not in self.weight:
            return self.ffn(p, "", x)
        share = softmax(self.times(p + "ffn_gate_inp.weight", x))
        worst = np.sort(share, -1)[:, -self.key("expert_used_count"), None]
        share = np.where(share >= worst, share, 0)
        share /= share.sum(-1, keepdims=True)
        return sum(self.ffn(p, "_exps", x, e) * share[:, e, None] for e in range(share.shape[1]))

    def logits(self, tokens):
        self.closest_tie = 0.5
        eps = self.key("attention.layer_norm_rms_epsilon")
        x = self.weight["token_embd.weight"][tokens]
        for i in range(self.key("block_count")):
            p = f"blk.{i}."
            x = x + self.attention(p, normed(x, self.weight[p + "attn_norm.weight"], eps))
            x = x + self.feed_forward(p, normed(x, self.weight[p + "ffn_norm.weight"], eps))
        return self.times("output.weight", normed(x, self.weight["output_norm.weight"], eps))


def check_forward(folder):
    cases = ["llama-dense", "llama-moe", "llama-dense.F16", "llama-dense.BF16"]
    cases += ["q256-llama." + name for name in FORMATS if (folder / f"models/q256-llama.{name}.gguf").exists()]
    for name in cases:
        golden = json.loads((folder / f"golden/{name}.json").read_text())
        prefix = "ref_" if golden["kind"] == "quant" else ""
        found = Llama(*read_gguf(folder / golden["file"])).logits(golden["tokens"])
        worst = max(np.abs(found[-4:] - golden[prefix + "logits_last4"]).max(),
                    np.abs(found[:, golden["probe_cols"]] - golden[prefix + "logits_probe_all"]).max())
        worst /= golden["logit_std"]
        print(f"{name:18} logits differ by at most {worst:.1e} of their standard deviation")
        assert worst <= 1e-5 and (found.argmax(-1) == golden[prefix + "argmax_all"]).all(), name


# The model.

HIDDEN, HEAD, HEADS, FFN, EXPERTS, VOCABULARY = 512, 16, 2, 32, 2, 64
KEYS = {
    "general.architecture": "llama", "tokenizer.ggml.model": "none", "general.name": "formats",
    "llama.block_count": 2, "llama.context_length": 4096, "llama.embedding_length": HIDDEN,
    "llama.feed_forward_length": FFN, "llama.attention.head_count": HEADS, "llama.attention.head_count_kv": 1,
    "llama.attention.key_length": HEAD, "llama.attention.value_length": HEAD,
    "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.freq_base": 10000.0,
    "llama.rope.dimension_count": HEAD, "llama.vocab_size": VOCABULARY,
    # Both experts are always used, so no rounding can choose another.
    "llama.expert_count": EXPERTS, "llama.expert_used_count": EXPERTS,
}
# (tensor, format, columns, rows, standard deviation of what it gives for inputs of 1)
MATRICES = [
    ("token_embd", "IQ4_NL", HIDDEN, VOCABULARY, 1.0),
    ("blk.0.attn_q", "Q2_K", HIDDEN, HEADS * HEAD, 2.0),
    ("blk.0.attn_k", "Q8_0", HIDDEN, HEAD, 2.0),
    ("blk.0.attn_v", "F16", HIDDEN, HEAD, 1.5),
    ("blk.0.attn_output", "Q4_0", HEADS * HEAD, HIDDEN, 1.0),
    ("blk.0.ffn_gate_exps", "Q3_K", HIDDEN, FFN, 1.5),
    ("blk.0.ffn_up_exps", "Q4_K", HIDDEN, FFN, 1.5),
    ("blk.0.ffn_down_exps", "Q4_1", FFN, HIDDEN, 1.0),
    ("blk.1.attn_q", "Q5_K", HIDDEN, HEADS * HEAD, 2.0),
    ("blk.1.attn_k", "BF16", HIDDEN, HEAD, 2.0),
    ("blk.1.attn_v", "Q5_0", HIDDEN, HEAD, 1.5),
    ("blk.1.attn_output", "Q8_0", HEADS * HEAD, HIDDEN, 1.0),
    ("blk.1.ffn_gate_exps", "Q6_K", HIDDEN, FFN, 1.5),
    ("blk.1.ffn_up_exps", "IQ4_XS", HIDDEN, FFN, 1.5),
    ("blk.1.ffn_down_exps", "Q5_1", FFN, HIDDEN, 1.0),
    ("output", "MXFP4", HIDDEN, VOCABULARY, 2.5),
]


def halves(values):
    return np.asarray(values).astype("<f2").reshape(-1, 1).view(np.uint8)


def drawn_blocks(random, form, n, wanted):
    """n blocks of random codes whose weights have about the standard deviation wanted, and no mean to speak of."""
    f = FORMATS[form]
    if form in PLAIN:
        values = (random.standard_normal(n) * wanted).astype(F32)
        return halves(values) if form == "F16" else values.reshape(-1, 1).view(np.uint8)[:, 2:].copy()
    b = random.randint(0, 256, (n, f.n_bytes)).astype(np.uint8)
    if form == "MXFP4":
        b[:, 0] = 128 + random.randint(-1, 2, n)
        b[:, 0] -= int(np.rint(np.log2(f.decode(b).std() / wanted)))
        return b
    if form in ("Q4_K", "Q5_K"):  # minima about as large as scales, so that the weights lie on both sides of 0
        scales = random.randint(4, 64, (n, 8))
        minima = np.clip(scales + random.randint(-3, 4, (n, 8)), 0, 63)
        b[:, 4:8] = scales[:, :4] | (scales[:, 4:] >> 4 << 6)
        b[:, 8:12] = minima[:, :4] | (minima[:, 4:] >> 4 << 6)
        b[:, 12:16] = (scales[:, 4:] & 15) | ((minima[:, 4:] & 15) << 4)
    elif form == "Q2_K":
        scales = random.randint(1, 16, (n, 16))
        b[:, :16] = scales | (np.clip(scales + random.randint(-1, 2, (n, 16)), 0, 15) << 4)
    d = np.exp(0.3 * random.standard_normal(n))
    # The middle of the codes, which the minimum takes away.
    middle = {"Q4_1": 7.5, "Q5_1": 15.5, "Q2_K": 1.5, "Q4_K": 7.5, "Q5_K": 15.5}.get(form)
    if middle is None:
        d *= random.choice([-1, 1], n)
    for _ in range(2):
        b[:, f.scale] = halves(d)
        if middle is not None:
            at = f.scale.stop
            minimum = d * middle * np.exp(0.05 * np.sin(np.arange(n)))
            b[:, at:at + 2] = halves(minimum if form.endswith("K") else -minimum)
        d *= wanted / f.decode(b).std()
    return b


def make_model(random):
    tensors = {}
    for name, form, columns, rows, gain in MATRICES:
        shape = (columns, rows, EXPERTS) if name.endswith("_exps") else (columns, rows)
        n = int(np.prod(shape)) // FORMATS[form].n_weights
        std = gain if name == "token_embd" else gain / np.sqrt(columns)
        tensors[name + ".weight"] = Tensor(form, shape, drawn_blocks(random, form, n, std))
    def floats(name, shape, mean, std):
        values = (mean + std * random.standard_normal(int(np.prod(shape)))).astype(F32)
        tensors[name] = Tensor("F32", shape, values.reshape(-1, 1).view(np.uint8))
    for i in range(KEYS["llama.block_count"]):
        for norm in ("attn_norm", "ffn_norm"):
            floats(f"blk.{i}.{norm}.weight", (HIDDEN,), 1, 0.25)
        floats(f"blk.{i}.ffn_gate_inp.weight", (HIDDEN, EXPERTS), 0, 0.05)
    floats("output_norm.weight", (HIDDEN,), 1, 0.25)
    return tensors


def best_and_gap(rows):
    top = np.sort(rows, -1)
    return rows.argmax(-1), top[:, -1] - top[:, -2]


LEAST_GAP = 1.0  # of a row's best logit to the next
# Of a rounded activation to the middle of two integers. Computing in float32 moves activations by about 1e-5 of
# such a step, so no order of operations rounds one of them to the other side.
LEAST_TIE = 1e-4


def is_clear(model, rounding, tokens):
    """The last row's best token is not close to another, and no activation of any row close to a tie."""
    if best_and_gap(model.logits(tokens)[-1:])[1][0] < LEAST_GAP:
        return False
    rounding.logits(tokens)
    return rounding.closest_tie >= LEAST_TIE


def drawn_prompt(random, model, rounding, n):
    tokens = []
    while len(tokens) < n:
        for candidate in random.permutation(VOCABULARY):
            if is_clear(model, rounding, tokens + [int(candidate)]):
                tokens.append(int(candidate))
                break
        else:
            tokens.pop()
    return tokens


def greedy(model, tokens, n, least_gap=0.0):
    """Up to n best tokens and their gaps, ending before a gap below least_gap."""
    tokens, chosen, gaps = list(tokens), [], []
    while len(chosen) < n:
        best, gap = best_and_gap(model.logits(tokens)[-1:])
        if gap[0] < least_gap:
            break
        chosen.append(int(best[0]))
        gaps.append(float(gap[0]))
        tokens.append(chosen[-1])
    return chosen, gaps


class Checked:
    """What the test compares: all columns of the last four rows, some columns of all rows."""
    def __init__(self, columns):
        self.columns = columns

    def distance(self, found, expected):
        d = found - expected
        d = np.concatenate([d[-4:].ravel(), d[:, self.columns].ravel()])
        return float(np.sqrt((d * d).mean())), float(np.abs(d).max())


def mistakes(tensor):
    """(what, tensor with that mistake): each spoils the first block of every row alone (of formats of single
    values: the first 32 columns)."""
    f, columns = FORMATS[tensor.form], tensor.shape[0]
    plain = tensor.form in PLAIN
    width = columns // f.n_weights
    def changed(change):
        blocks = tensor.blocks.copy().reshape(-1, width, f.n_bytes)
        change(blocks)
        return Tensor(tensor.form, tensor.shape, blocks.reshape(-1, f.n_bytes))
    def another_scale(b):
        b[:, 0, f.scale] = np.roll(b[:, 0, f.scale], 1, axis=0)
    def swapped_nibbles(b):
        b[:, 0, f.codes] = b[:, 0, f.codes] >> 4 | b[:, 0, f.codes] << 4
    def swapped_columns(b):
        first = b[:, :32] if plain else b[:, 0, f.codes]
        first[:, ::2], first[:, 1::2] = first[:, 1::2].copy(), first[:, ::2].copy()
    if not plain:
        yield "scale of another row", changed(another_scale)
    if plain or tensor.form == "Q8_0":
        yield "columns swapped", changed(swapped_columns)
    else:
        yield "nibbles swapped", changed(swapped_nibbles)


def digits(values):
    return [float(f"{v:.7g}") for v in values] if np.ndim(values) == 1 else [digits(row) for row in values]


def main():
    whole, out = map(pathlib.Path, sys.argv[1:])
    check_decoders(whole / "dequant")
    check_forward(whole)
    random = np.random.RandomState(20261130)  # this generator's numbers are promised to stay
    tensors = make_model(random)
    model, rounding = Llama(KEYS, tensors), Llama(KEYS, tensors, round_activations=True)
    checked = Checked([0, 1, 2, 3, 21, 32, 62, 63])
    # The test compares greedy tokens up to the first close call: of some prompts, and every last token, the one
    # with most tokens before it.
    n_steps, tokens = -1, None
    for _ in range(20):
        prompt = drawn_prompt(random, model, rounding, 39)
        close = 0.5 * model.logits(prompt).std()
        for last in range(VOCABULARY):
            n = len(greedy(model, prompt + [last], 16, close)[0])
            if n > n_steps and is_clear(model, rounding, prompt + [last]):
                n_steps, tokens = n, prompt + [last]
    chosen, greedy_gaps = greedy(model, tokens, 16)
    logits = model.logits(tokens)
    std = float(logits.std())
    best, gaps = best_and_gap(logits)
    with_rounding = rounding.logits(tokens)
    by_rounding = checked.distance(with_rounding, logits)
    print(f"logits: standard deviation {std:.3f}, closest best token {gaps.min() / std:.2f} of it, "
          f"{n_steps} greedy tokens before a close call")
    print(f"rounding activations to 8 bits: rms {by_rounding[0] / std:.2e}, largest {by_rounding[1] / std:.2e}, "
          f"closest tie {rounding.closest_tie:.1e}")
    for name, form, *_ in MATRICES:
        for what, spoiled in mistakes(tensors[name + ".weight"]):
            found = Llama(KEYS, {**tensors, name + ".weight": spoiled}, round_activations=True).logits(tokens)
            rms, largest = (d / std for d in checked.distance(found, with_rounding))
            print(f"  {name:20} {form:7} {what:22} rms {rms:.3f}, largest {largest:.2f}")

    for folder in ("models", "golden"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    data = write_gguf(out / "models/formats.gguf", KEYS, tensors)
    types = {}
    for t in tensors.values():
        types[t.form] = types.get(t.form, 0) + 1
    assert types.keys() == FORMATS.keys()
    case = {"name": "formats", "kind": "quant", "arch": "llama", "json": "golden/formats.json",
            "file": "models/formats.gguf", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(),
            "mtp": False, "tensor_types": types, "logit_std": float(f"{std:.7g}"),
            "features": "every weight format, each in a matrix of its own; two experts, both used"}
    golden = {**{key: case[key] for key in ("name", "kind", "arch", "features", "file", "sha256", "bytes",
                                            "tensor_types", "logit_std")},
              "n_vocab": VOCABULARY, "n_embd": HIDDEN, "reference": "float64, tests/golden/formats.py",
              "tokens": tokens, "ref_argmax_all": best.tolist(), "ref_argmax_gap_all": digits(gaps),
              "ref_greedy16": chosen, "ref_greedy16_gap": digits(greedy_gaps), "ref_logits_last4": digits(logits[-4:]),
              "probe_cols": checked.columns, "ref_logits_probe_all": digits(logits[:, checked.columns]),
              "rounded_logits_last4": digits(with_rounding[-4:]),
              "rounded_logits_probe_all": digits(with_rounding[:, checked.columns]),
              "rounded_activations_vs_ref": dict(zip(("rms_all", "max_abs_all"), digits(by_rounding)))}
    (out / "golden/formats.json").write_text(json.dumps(golden))
    (out / "index.json").write_text(json.dumps({"cases": [case]}, indent=1))


main()
