#!/usr/bin/env python3
"""Writes the committed seeds of the safetensors fuzzer: good files, and one hostile file per rule.
Usage: make_safetensors_seeds.py tests/fuzz/corpus/safetensors"""
import json
import pathlib
import struct
import sys

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2,
         "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def file(header, data=0, length=None):
    text = header if isinstance(header, str) else json.dumps(header, separators=(",", ":"))
    raw = text.encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(i % 251 for i in range(data))


def index(value):
    return (value if isinstance(value, str) else json.dumps(value)).encode()


TWO = {"a": tensor("F32", [3, 2], 0, 24), "b": tensor("BF16", [2, 3], 24, 36)}
every, at = {}, 0
for name, size in SIZES.items():
    every[name] = tensor(name, [2, 2], at, at + 4 * size)
    at += 4 * size

SEEDS = {
    "good_two": file(TWO, 36),
    "good_empty": file({}),
    "good_metadata": file({"__metadata__": {"format": "pt", "x": ""}, **TWO}, 36),
    "good_order": file(dict(reversed(TWO.items())), 36),
    "good_scalar": file({"a": tensor("I64", [], 0, 8)}, 8),
    "good_every_type": file(every, at),
    "good_padding": file(json.dumps(TWO) + " " * 7, 36),
    "good_index": index({"metadata": {"total_size": 36}, "weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}),
    "bad_length_over": file(TWO, 36, 2**63),
    "bad_length_limit": file(TWO, 36, 100_000_001),
    "bad_cut": file(TWO, 35),
    "bad_tail": file(TWO, 37),
    "bad_gap": file({"a": tensor("F32", [1], 4, 8)}, 8),
    "bad_overlap": file({"a": tensor("F32", [1], 0, 4), "b": tensor("F32", [1], 2, 6)}, 6),
    "bad_wrap": file({"a": tensor("F32", [2**32, 2**32], 0, 0)}),
    "bad_end_before_begin": file({"a": tensor("F32", [1], 4, 0)}, 4),
    "bad_dtype": file({"a": tensor("Q4_0", [1], 0, 4)}, 4),
    "bad_size_zero": file({"a": tensor("F32", [0], 0, 0)}),
    "bad_twice": file('{"a":%s,"a":%s}' % (json.dumps(tensor("F32", [1], 0, 4)), json.dumps(tensor("F32", [1], 4, 8))), 8),
    "bad_negative": file({"a": tensor("F32", [-1], 0, 4)}, 4),
    "bad_nested": file('{"a":' + "[" * 200),
    "bad_index_path": index({"weight_map": {"a": "../x"}}),
    "bad_index_twice": index('{"weight_map":{"a":"x","a":"x"}}'),
    # One more than a power of two: where growing by doubling costs most.
    "bad_index_many": index('{"weight_map":{%s}}' % ",".join(['"a":"b"'] * 4097)),
    "bad_index_number": index({"weight_map": {"a": 1}}),
}

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name, raw in SEEDS.items():
    (folder / name).write_bytes(raw)
