#!/usr/bin/env python3
"""Packs the chosen reference cases: tests/golden/pack.py SET... (folders with an index.json) writes cases.tar.xz.

    tests/golden/formats.py ../shared/golden OUT && tests/golden/pack.py ../shared/golden OUT

What several sets hold is taken from the first; an unpacked archive (build/<preset>/golden) is a set too. Fits 5 MB:
at least one case for every family and for what differs inside one, draft heads of both kinds of attention, a model
of every weight format, and decoded values of every format. The order is kept so that the archive depends on nothing
but the files."""
import io
import json
import lzma
import pathlib
import sys
import tarfile

CASES = {
    "llama3-ropefreqs-tied",     # dense, RoPE frequencies from a tensor, tied output
    "llama-moe",                 # Mixtral: softmax router, renormalised
    "qwen3",                     # dense, norms per head
    "qwen3moe.F16",              # the same with experts; F16 weights
    "deepseek2-lite-legacy-kvb", # MLA without q_lora, attn_kv_b in one piece, softmax router
    "deepseek2-v3-yarn-nextn",   # MLA, YaRN, sigmoid router with groups, a draft head
    "deepseek32-yarn",           # lightning indexer in every block
    "glm-dsa-indexshare-nextn",  # blocks that share an indexer, a draft head
    "glm4moe-air",               # half of each head rotated, biases, sigmoid router, a shared expert
    "gpt-oss-yarn",              # sinks, sliding window, biases, clamped activation
    "formats",                   # every weight format, 8-bit activations (formats.py)
}
FORMATS = {"F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
           "IQ4_NL", "IQ4_XS", "MXFP4"}
# Of blocks of 256 weights: the first four of the whole set's 64 are the special scales (zero, subnormal, negative,
# large), the others are random.
N_LARGE_BLOCKS = 24
# Words of four bytes: the coder keeps statistics of its own for each place in a word.
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 2, "lp": 2, "pb": 2}]


def dequantisation(folder):
    """The blocks and floats of FORMATS alone: {name in the archive: bytes}."""
    index = json.loads((folder / "index.json").read_text())
    blocks, floats = (folder / "blocks.bin").read_bytes(), (folder / "floats.bin").read_bytes()
    out_blocks, out_floats = bytearray(), bytearray()
    types = {}
    for name, entry in index["types"].items():
        if name not in FORMATS:
            continue
        n_blocks = min(entry["n_blocks"], N_LARGE_BLOCKS) if entry["block_elems"] == 256 else entry["n_blocks"]
        n_block_bytes = n_blocks * entry["block_bytes"]
        n_float_bytes = n_blocks * entry["block_elems"] * 4
        at, floats_at = entry["blocks_offset"], entry["floats_offset"]
        types[name] = {**entry, "n_blocks": n_blocks, "blocks_offset": len(out_blocks), "floats_offset": len(out_floats)}
        out_blocks += blocks[at:at + n_block_bytes]
        out_floats += floats[floats_at:floats_at + n_float_bytes]
    assert types.keys() == FORMATS, FORMATS - types.keys()
    index["types"] = types
    return {"dequant/index.json": json.dumps(index).encode(), "dequant/blocks.bin": bytes(out_blocks),
            "dequant/floats.bin": bytes(out_floats)}


def main():
    files, cases = {}, []
    missing = set(CASES)
    for folder in map(pathlib.Path, sys.argv[1:]):
        for case in json.loads((folder / "index.json").read_text())["cases"]:
            if case["name"] in missing:
                missing.remove(case["name"])
                cases.append(case)
                for path in (case["file"], case["json"]):
                    files[path] = (folder / path).read_bytes()
        if (folder / "dequant").is_dir() and "dequant/index.json" not in files:
            files.update(dequantisation(folder / "dequant"))
    assert not missing, missing
    files["index.json"] = json.dumps({"cases": cases}, indent=1).encode()
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            archive.addfile(info, io.BytesIO(files[name]))
    packed = lzma.compress(raw.getvalue(), format=lzma.FORMAT_XZ, filters=FILTERS)
    target = pathlib.Path(__file__).parent / "cases.tar.xz"
    target.write_bytes(packed)
    print(f"{target}: {len(packed)} bytes, {len(cases)} cases")
    assert len(packed) <= 5_000_000


main()
