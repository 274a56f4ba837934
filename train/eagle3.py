#!/usr/bin/env python3
"""Trains an EAGLE-3 draft head for floe-nano and writes it in the published layout: a folder with
config.json and model.safetensors.

    python3 eagle3.py --gguf ../models/floe-nano.gguf --out out/eagle3 --minutes 8

The trunk stays as it is. The head reads three of its hidden states, is unrolled over its own output for
as many steps as it will be chained (the training-time test of arXiv 2503.01840), and learns what the
trunk predicts, not what the text says: half of the rows are answers that the trunk itself wrote,
greedily, to prompts of the generated tasks.
"""
import argparse
import json
import math
import os
import struct
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import data
import eval as evaluation
import feed
import model as floe
import tokenizer
from muon import Muon

TAPS = (1, 4, 7)             # trunk layers whose outputs the head reads
N_HEADS, N_KV_HEADS, HEAD_DIM = 6, 2, 64
ROPE_THETA = 10000.0
# share of the time at which a phase ends, sequence length, the trunk's sparse mask
PHASES = [(0.8, 512, False), (1.01, 1024, True)]


def half_rotate(x, cos, sin):
    """Rotary embedding of pairs (i, i + d / 2); x [B, T, heads, d], cos and sin [T, 1, d / 2]."""
    a, b = x.float().chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1).to(x.dtype)


def rope_table(n, device):
    freq = ROPE_THETA ** (-torch.arange(0, HEAD_DIM, 2, dtype=torch.float64, device=device) / HEAD_DIM)
    angle = torch.arange(n, dtype=torch.float64, device=device)[:, None] * freq[None]
    return torch.cos(angle).float()[:, None], torch.sin(angle).float()[:, None]


class Head(nn.Module):
    def __init__(self, cfg, intermediate, draft_vocab):
        super().__init__()
        h = cfg.hidden
        self.eps = cfg.eps
        self.fc = nn.Linear(3 * h, h, bias=False)
        self.input_layernorm = nn.Parameter(torch.ones(h))
        self.hidden_norm = nn.Parameter(torch.ones(h))
        self.q_proj = nn.Linear(2 * h, N_HEADS * HEAD_DIM, bias=False)
        self.k_proj = nn.Linear(2 * h, N_KV_HEADS * HEAD_DIM, bias=False)
        self.v_proj = nn.Linear(2 * h, N_KV_HEADS * HEAD_DIM, bias=False)
        self.o_proj = nn.Linear(N_HEADS * HEAD_DIM, h, bias=False)
        self.post_attention_layernorm = nn.Parameter(torch.ones(h))
        self.gate_proj = nn.Linear(h, intermediate, bias=False)
        self.up_proj = nn.Linear(h, intermediate, bias=False)
        self.down_proj = nn.Linear(intermediate, h, bias=False)
        self.norm = nn.Parameter(torch.ones(h))
        self.lm_head = nn.Linear(h, draft_vocab, bias=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=(0.1 if name.startswith(("o_proj", "down_proj")) else 0.6) / math.sqrt(p.shape[1]))

    def step(self, e, g, keys, values, own, cos, sin):
        """One link of the chain over rows p. e, g [B, R, hidden]: the embedding of the row's token and the
        features before it. keys, values [B, heads, R, d] of the first link (None: this is it), own: the
        (keys, values) of this row's links between. Returns (g of the next link, keys, values)."""
        b, r, _ = e.shape
        x = torch.cat([floe.rms_norm(e, self.input_layernorm, self.eps), floe.rms_norm(g, self.hidden_norm, self.eps)], -1)
        q = half_rotate(self.q_proj(x).view(b, r, N_HEADS, HEAD_DIM), cos, sin).transpose(1, 2)
        k = half_rotate(self.k_proj(x).view(b, r, N_KV_HEADS, HEAD_DIM), cos, sin)
        v = self.v_proj(x).view(b, r, N_KV_HEADS, HEAD_DIM)
        k, v = (t.repeat_interleave(N_HEADS // N_KV_HEADS, 2).transpose(1, 2) for t in (k, v))
        scale = HEAD_DIM ** -0.5
        if keys is None:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
        else:
            # The trunk's positions up to p as the first link stored them, then the row's own links.
            own = own + [(k, v)]
            s = torch.matmul(q, keys.transpose(-1, -2)).float() * scale
            s = s.masked_fill(torch.ones(r, r, dtype=torch.bool, device=s.device).triu(1), -math.inf)
            s = torch.cat([s] + [(q * ki).float().sum(-1, keepdim=True) * scale for ki, _ in own], -1)
            p = torch.softmax(s, -1).to(v.dtype)
            y = torch.matmul(p[..., :r], values)
            for i, (_, vi) in enumerate(own):
                y = y + p[..., r + i:r + i + 1] * vi
        h = g + self.o_proj(y.transpose(1, 2).reshape(b, r, -1))
        x = floe.rms_norm(h, self.post_attention_layernorm, self.eps)
        return h + self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x)), k, v

    def logits(self, g):
        return self.lm_head(floe.rms_norm(g, self.norm, self.eps))


def trunk_taps(model, tokens, sparse, dtype):
    """The trunk's logits rows (after the output norm) and its taps [B, T, 3 * hidden]."""
    cos, sin = model.table(tokens.shape[1], tokens.device)
    x = F.embedding(tokens, model.embed).to(dtype)
    mask = x.new_zeros(()) if sparse else None
    index, taps = None, []
    for i, block in enumerate(model.blocks):
        x, mask, index, _, _ = block(x, model.experts_of(block, dtype), cos, sin, mask, index, None)
        if i in TAPS:
            taps.append(x)
    return floe.rms_norm(x, model.norm, model.cfg.eps), torch.cat(taps, -1)


def chain(head, step, embed, tokens, taps, n_steps, tables):
    """Yields the pre-norm outputs of each link over rows p = 0 .. T - 1 - n_steps. Link k at row p takes
    token p + 1 + k and guesses the token after it."""
    r = tokens.shape[1] - n_steps
    cos, sin = tables
    g = head.fc(taps[:, :r])
    keys = values = None
    own = []
    for k in range(n_steps):
        e = F.embedding(tokens[:, 1 + k:1 + k + r], embed).to(g.dtype)
        g, key, value = step(e, g, keys, values, own, cos[k:k + r], sin[k:k + r])
        if keys is None:
            keys, values = key, value
        else:
            own = own + [(key, value)]
        yield g


def link_loss(g, head_weight, norm, hidden, embed, target_rows, to_draft, eps):
    """Cross-entropy of a link against the trunk's distribution over the draft vocabulary, and its
    greedy agreement. hidden: the trunk's rows for the same guesses; to_draft [vocab]: draft id or -1."""
    draft = F.linear(floe.rms_norm(g, norm, eps), head_weight.to(g.dtype)).float()
    with torch.no_grad():
        full = F.linear(hidden, embed.to(hidden.dtype))
        top = full.argmax(-1)
        p = torch.softmax(full[..., target_rows].float(), -1)
        known = to_draft[top]
    loss = -(p * torch.log_softmax(draft, -1)).sum(-1)
    keep = (known >= 0).float()
    return (loss * keep).sum() / keep.sum(), draft.argmax(-1) == known


class Writer:
    """Answers that the trunk writes itself, greedily: rows of prompts and answers, one document after the
    other. Attends densely, so rows are no longer than what the sparse mask keeps."""

    def __init__(self, model, tok, feeder, dtype):
        self.model, self.dtype, self.feeder = model, dtype, feeder
        self.end, self.eot, self.think_end = tok.special["<|end|>"], tok.eot, tok.special["</think>"]

    def prompts(self, n, width=240):
        """Beginnings of task documents up to where the answer begins: [n, width] and lengths."""
        f = self.feeder
        at = f.starts[torch.randint(0, f.n_starts, (n,), device=f.device)].long()
        ids = f.pool[(at[:, None] + torch.arange(width, device=f.device)) % f.pool_tokens].long()
        hit = ids == self.think_end
        ends = hit.float().argmax(1)
        inside = (ids == self.eot).float().argmax(1)
        good = hit.any(1) & (((ids == self.eot).any(1) == 0) | (inside > ends))
        return ids[good], ends[good] + 1

    @torch.no_grad()
    def decode(self, block, experts, x, t, cache, cos, sin):
        cfg, a = self.model.cfg, block.attn
        n = x.shape[0]
        h = floe.rms_norm(x, block.attn_norm, cfg.eps)
        q = a.q_b(floe.rms_norm(a.q_a(h), a.q_a_norm, cfg.eps)).view(n, 1, cfg.n_heads, -1)
        kv = a.kv_a(h)
        cache[:, t, :cfg.kv_lora] = floe.rms_norm(kv[:, :cfg.kv_lora], a.kv_a_norm, cfg.eps)
        cache[:, t, cfg.kv_lora:] = floe.rotate(kv[:, None, None, cfg.kv_lora:], cos, sin)[:, 0, 0]
        q_pe = floe.rotate(q[..., cfg.nope:], cos, sin)[:, 0]
        absorbed = torch.einsum("bhn,hln->bhl", q[:, 0, :, :cfg.nope], a.k_b.to(q.dtype))
        seen = cache[:, :t + 1]
        s = torch.matmul(torch.cat([absorbed, q_pe], -1), seen.transpose(1, 2)).float() / math.sqrt(cfg.nope + cfg.rope)
        latent = torch.matmul(torch.softmax(s, -1).to(q.dtype), seen[..., :cfg.kv_lora])
        y = torch.einsum("bhl,hvl->bhv", latent, a.v_b.to(q.dtype))
        x = x + a.out(y.reshape(n, -1))
        h = floe.rms_norm(x, block.ffn_norm, cfg.eps)
        return x + (block.ffn(h) if block.ffn is not None else block.moe(h, experts)[0])

    @torch.no_grad()
    def write(self, n, steps, longest=200):
        m = self.model
        device = m.embed.device
        prompts, lengths = self.prompts(4 * n)
        width = prompts.shape[1]
        pick = lambda: torch.randint(0, len(prompts), (n,), device=device)
        doc, ptr = pick(), torch.zeros(n, dtype=torch.long, device=device)
        token = prompts[doc, 0]
        out = torch.zeros(n, steps, dtype=torch.int16, device=device)
        cos, sin = m.table(steps, device)
        experts = [m.experts_of(b, self.dtype) for b in m.blocks]
        caches = [torch.zeros(n, steps, m.cfg.kv_lora + m.cfg.rope, dtype=self.dtype, device=device) for _ in m.blocks]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            for t in range(steps):
                out[:, t] = token.short()
                x = F.embedding(token, m.embed).to(self.dtype)
                for b, e, c in zip(m.blocks, experts, caches):
                    x = self.decode(b, e, x, t, c, cos[t:t + 1], sin[t:t + 1])
                guess = m.logits(floe.rms_norm(x, m.norm, m.cfg.eps)).argmax(-1)
                nxt = torch.where(ptr + 1 < lengths[doc], prompts[doc, (ptr + 1).clamp(max=width - 1)], guess)
                ended = (ptr >= lengths[doc]) & ((token == self.end) | (ptr >= lengths[doc] + longest))
                nxt = torch.where(ended, torch.full_like(nxt, self.eot), nxt)
                fresh = token == self.eot
                doc = torch.where(fresh, pick(), doc)
                ptr = torch.where(fresh, torch.zeros_like(ptr), ptr + 1)
                token = torch.where(fresh, prompts[doc, 0], nxt)
        return out


def write_safetensors(path, tensors):
    """tensors: [(name, dtype name, numpy array)]."""
    header, at = {}, 0
    for name, kind, a in tensors:
        header[name] = {"dtype": kind, "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(raw)) + raw)
        for _, _, a in tensors:
            f.write(np.ascontiguousarray(a).tobytes())


def bf16_bits(p):
    return p.detach().to(torch.bfloat16).cpu().view(torch.int16).numpy()


def export(folder, head, cfg, target_ids):
    os.makedirs(folder, exist_ok=True)
    a, m = "midlayer.self_attn.", "midlayer.mlp."
    parts = [("fc.weight", head.fc.weight), ("midlayer.input_layernorm.weight", head.input_layernorm),
             ("midlayer.hidden_norm.weight", head.hidden_norm)]
    parts += [(a + n + ".weight", getattr(head, n).weight) for n in ("q_proj", "k_proj", "v_proj", "o_proj")]
    parts.append(("midlayer.post_attention_layernorm.weight", head.post_attention_layernorm))
    parts += [(m + n + ".weight", getattr(head, n).weight) for n in ("gate_proj", "up_proj", "down_proj")]
    parts += [("norm.weight", head.norm), ("lm_head.weight", head.lm_head.weight)]
    tensors = [(n, "BF16", bf16_bits(p)) for n, p in parts]
    ids = target_ids.cpu().numpy().astype(np.int64)
    mask = np.zeros(cfg.vocab_size, bool)
    mask[ids] = True
    tensors += [("d2t", "I64", ids - np.arange(len(ids))), ("t2d", "BOOL", mask)]
    write_safetensors(os.path.join(folder, "model.safetensors"), tensors)
    config = {
        "architectures": ["LlamaForCausalLMEagle3"], "model_type": "llama", "torch_dtype": "bfloat16",
        "hidden_size": cfg.hidden, "intermediate_size": head.gate_proj.weight.shape[0], "num_hidden_layers": 1,
        "num_attention_heads": N_HEADS, "num_key_value_heads": N_KV_HEADS, "head_dim": HEAD_DIM, "hidden_act": "silu",
        "rms_norm_eps": cfg.eps, "rope_theta": ROPE_THETA, "max_position_embeddings": cfg.context,
        "vocab_size": cfg.vocab_size, "draft_vocab_size": len(ids), "tie_word_embeddings": False,
        "eagle_config": {"use_aux_hidden_state": True, "eagle_aux_hidden_state_layer_ids": list(TAPS)}}
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
        f.write("\n")


class Trainer:
    def __init__(self, args):
        self.args = args
        self.cuda = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.cuda else "cpu")
        torch.manual_seed(args.seed)
        if self.cuda:
            torch.set_float32_matmul_precision("high")
        self.dtype = torch.bfloat16 if self.cuda else torch.float32
        self.tok = tokenizer.Tokenizer.load(args.tokenizer)
        self.model = evaluation.load_model(args.gguf, self.device)
        self.model.requires_grad_(False)
        self.cfg = self.model.cfg
        self.start = time.time()
        self.log_file = open(os.path.join(args.out, "log.txt"), "a")

    def log(self, text):
        text = "%6.1f s %s" % (time.time() - self.start, text)
        print(text, flush=True)
        self.log_file.write(text + "\n")
        self.log_file.flush()

    def autocast(self):
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.cuda)

    def choose_vocabulary(self, feeder):
        """The draft vocabulary: what the trunk predicts most often, on its own answers and on the mix."""
        counts = torch.zeros(self.cfg.vocab_size, device=self.device)
        for rows in (self.written, feeder.batch(128, 512, 0.0)):
            for at in range(0, min(len(rows), 1024), 128):
                with torch.no_grad(), self.autocast():
                    h, _ = trunk_taps(self.model, rows[at:at + 128].long(), False, self.dtype)
                    counts += torch.bincount(self.model.logits(h).argmax(-1).view(-1), minlength=self.cfg.vocab_size)
        own = torch.bincount(self.written.long().view(-1), minlength=self.cfg.vocab_size).float()
        order = torch.argsort(counts + 1e-3 * own, descending=True)
        for n in (2048, 4096, self.args.draft_vocab):
            self.log("the %d most frequent ids cover %.4f of the predictions, %.4f of what the trunk wrote" % (
                n, float(counts[order[:n]].sum() / counts.sum()), float(own[order[:n]].sum() / own.sum())))
        self.target_ids = torch.sort(order[:self.args.draft_vocab])[0]
        self.to_draft = torch.full((self.cfg.vocab_size,), -1, dtype=torch.long, device=self.device)
        self.to_draft[self.target_ids] = torch.arange(len(self.target_ids), device=self.device)

    def rewrite(self):
        self.written = self.writer.write(self.args.write_rows, 512)
        self.write_order = torch.randperm(len(self.written), device=self.device)
        self.write_at = 0

    def rows(self, feeder, n, length, progress):
        """Half of the rows written by the trunk (two joined where a row is longer), half from the mix."""
        joined = length // 512
        half = n // 2
        need = half * joined
        if self.write_at + need > len(self.written) * self.args.write_passes:
            self.rewrite()
        pick = self.write_order[(self.write_at + torch.arange(need, device=self.device)) % len(self.written)]
        self.write_at += need
        own = self.written[pick].long().view(half, length)
        return torch.cat([own, feeder.batch(n - half, length, progress)])

    def losses(self, tokens, sparse, n_steps):
        with self.autocast():
            with torch.no_grad():
                h, taps = self.trunk(self.model, tokens, sparse, self.dtype)
            r = tokens.shape[1] - n_steps
            out = []
            for k, g in enumerate(chain(self.head, self.step, self.model.embed, tokens, taps, n_steps, self.tables)):
                loss, hit = self.link_loss(g, self.head.lm_head.weight, self.head.norm, h[:, 1 + k:1 + k + r], self.model.embed,
                                           self.target_ids, self.to_draft, self.cfg.eps)
                out.append((loss, hit))
        return out

    @torch.no_grad()
    def measure(self, tokens, n_steps, answers_only):
        """Share of greedy chains right at each link among those right before it; the same for the MTP
        head's first two. On text that the trunk wrote greedily a right guess is the text itself."""
        hits = torch.zeros(n_steps, 2, device=self.device)
        mtp = torch.zeros(2, 2, device=self.device)
        for at in range(0, len(tokens), 128):
            x = tokens[at:at + 128]
            r = x.shape[1] - n_steps
            with self.autocast():
                h, taps = trunk_taps(self.model, x, False, self.dtype)
                top = torch.cat([self.model.logits(p).argmax(-1) for p in h.split(16)])
                z, _, _ = self.model.mtp_rows(x, h)
                z2, _, _ = self.model.mtp_rows(x, z)
                guess = [torch.cat([self.model.logits(p).argmax(-1) for p in y.split(16)]) for y in (z, z2)]
                links = list(chain(self.head, self.head.step, self.model.embed, x, taps, n_steps, self.tables))
                drafts = [self.target_ids[self.head.logits(g).argmax(-1)] for g in links]
            # Chains that begin where the trunk writes: the row's token is the trunk's own.
            alive = x[:, 1:1 + r] == top[:, :r] if answers_only else torch.ones_like(x[:, :r], dtype=torch.bool)
            start = alive
            for k in range(n_steps):
                hit = drafts[k] == top[:, 1 + k:1 + k + r]
                hits[k, 0] += (alive & hit).sum()
                hits[k, 1] += alive.sum()
                alive = alive & hit & (x[:, 2 + k:2 + k + r] == top[:, 1 + k:1 + k + r]) if k + 1 < n_steps else alive
            first = start & (guess[0][:, 1:1 + r] == top[:, 1:1 + r])
            mtp[0, 0] += first.sum()
            mtp[0, 1] += start.sum()
            second = first & (x[:, 2:2 + r] == top[:, 1:1 + r])
            mtp[1, 0] += (second & (guess[1][:, 2:2 + r] == top[:, 2:2 + r])).sum()
            mtp[1, 1] += second.sum()
        share = lambda t: ["%.4f" % float(a / b.clamp_min(1)) for a, b in t]
        return share(hits), share(mtp)

    def run(self):
        args = self.args
        feeder = feed.Feeder(args, self.tok, self.device)
        feeder.wait(args.min_pool)
        self.log("corpus %d tokens, first pool %d tokens, torch %s" % (feeder.corpus_tokens, feeder.pool_tokens, torch.__version__))
        self.writer = Writer(self.model, self.tok, feeder, self.dtype)
        held = self.writer.write(args.held_rows, 512).long()
        begin = time.time()
        self.rewrite()
        if self.cuda:
            torch.cuda.synchronize()
        self.log("the trunk wrote %d tokens in %.1f s" % (self.written.numel(), time.time() - begin))
        self.choose_vocabulary(feeder)
        mixed = feeder.batch(128, 512, 0.0)
        self.head = Head(self.cfg, args.intermediate, args.draft_vocab).to(self.device)
        with torch.no_grad():
            self.head.lm_head.weight.copy_(self.model.embed[self.target_ids])
        self.tables = rope_table(self.cfg.context, self.device)
        self.step, self.link_loss, self.trunk = self.head.step, link_loss, trunk_taps
        if self.cuda and args.compile:
            from torch import _dynamo
            _dynamo.config.cache_size_limit = 64
            if hasattr(_dynamo.config, "recompile_limit"):
                _dynamo.config.recompile_limit = 64
            for b in self.model.blocks:
                b.compile(dynamic=False)
            self.step = torch.compile(self.head.step, dynamic=False)
            self.link_loss = torch.compile(link_loss, dynamic=False)
        matrices = [p for n, p in self.head.named_parameters() if p.dim() == 2 and not n.startswith("lm_head")]
        vectors = [p for p in self.head.parameters() if p.dim() < 2]
        muon = Muon(matrices, lr=args.lr, weight_decay=0.05, compiled=self.cuda)
        adam = torch.optim.AdamW([{"params": vectors, "peak": args.adam_lr}, {"params": [self.head.lm_head.weight], "peak": args.head_lr}],
                                 lr=args.adam_lr, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0)
        muon.param_groups[0]["peak"] = args.lr
        for _, length, sparse in PHASES:   # compiling and any failure come first
            out = self.losses(self.rows(feeder, args.batch_tokens // length, length, 0.0), sparse, args.links)
            sum(l for l, _ in out).backward()
            self.head.zero_grad(set_to_none=True)
            self.log("rehearsed length %d, memory %.0f GB" % (length, torch.cuda.max_memory_allocated() / 2**30 if self.cuda else 0))
        begin = last_log = last_export = time.time()
        seconds = args.minutes * 60
        step = tokens = 0
        acc = None
        while True:
            now = time.time()
            progress = (now - begin) / seconds
            if progress >= 1 or (args.steps and step >= args.steps):
                break
            _, length, sparse = next(p for p in PHASES if progress < p[0])
            scale = min(1.0, (step + 1) / 100) * (1.0 if progress < 0.3 else max(0.01, 1 - (progress - 0.3) / 0.7))
            for g in muon.param_groups + adam.param_groups:
                g["lr"] = g["peak"] * scale
            out = self.losses(self.rows(feeder, args.batch_tokens // length, length, progress), sparse, args.links)
            loss = sum(0.8 ** k * l for k, (l, _) in enumerate(out))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(vectors + [self.head.lm_head.weight], 1.0)
            muon.step()
            adam.step()
            muon.zero_grad(set_to_none=True)
            adam.zero_grad(set_to_none=True)
            stats = torch.stack([l.detach() for l, _ in out] + [h.float().mean() for _, h in out])
            acc = stats if acc is None else 0.98 * acc + 0.02 * stats
            step += 1
            tokens += args.batch_tokens
            if step <= 2 or now - last_log > args.log_seconds:
                last_log = now
                self.log("step %d tokens %.1fM (%.0fk/s) losses and agreement by link: %s, pool %.0fM" % (
                    step, tokens / 1e6, tokens / 1e3 / (time.time() - begin), " ".join("%.3f" % float(v) for v in acc), feeder.pool_tokens / 1e6))
                feeder.collect()
            if now - last_export > args.export_seconds:
                last_export = now
                export(os.path.join(args.out, "head"), self.head, self.cfg, self.target_ids)
        feeder.stop()
        export(os.path.join(args.out, "head"), self.head, self.cfg, self.target_ids)
        self.log("trained: %d steps, %.1fM tokens, %d parameters" % (step, tokens / 1e6, floe.param_count(self.head)))
        self.head = self.head.to(torch.bfloat16).float()   # as exported
        self.step = self.head.step
        for name, rows, answers in (("own answers", held, True), ("the mix", mixed, False)):
            head, mtp = self.measure(rows, args.links + 1, answers)
            self.log("%s: acceptance by position %s; MTP head %s" % (name, " ".join(head), " ".join(mtp)))


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--gguf", default="../models/floe-nano.gguf")
    ap.add_argument("--corpus", default=data.DEFAULT_CORPUS)
    ap.add_argument("--tokenizer", default="tokenizer.json")
    ap.add_argument("--out", default="out/eagle3")
    ap.add_argument("--minutes", type=float, default=8)
    ap.add_argument("--steps", type=int, default=0, help="stop after so many steps (0: by time only)")
    ap.add_argument("--links", type=int, default=4, help="steps the head is unrolled")
    ap.add_argument("--intermediate", type=int, default=1536)
    ap.add_argument("--draft-vocab", type=int, default=5120)
    ap.add_argument("--batch-tokens", type=int, default=65536)
    ap.add_argument("--write-rows", type=int, default=8192, help="rows the trunk writes at a time")
    ap.add_argument("--write-passes", type=int, default=4, help="how often a written row is used")
    ap.add_argument("--held-rows", type=int, default=512)
    ap.add_argument("--lr", type=float, default=4e-3, help="Muon's rate for matrices")
    ap.add_argument("--adam-lr", type=float, default=2e-3)
    ap.add_argument("--head-lr", type=float, default=1e-3)
    ap.add_argument("--corpus-share", default="0.40,0.30", help="share of corpus rows among those not written by the trunk")
    ap.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) * 5 // 8))
    ap.add_argument("--pool-limit", type=int, default=300_000_000, help="task tokens to generate at most")
    ap.add_argument("--min-pool", type=int, default=2_000_000)
    ap.add_argument("--log-seconds", type=float, default=15)
    ap.add_argument("--export-seconds", type=float, default=120)
    ap.add_argument("--compile", type=int, default=1)
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    os.makedirs(args.out, exist_ok=True)
    Trainer(args).run()


if __name__ == "__main__":
    main()
