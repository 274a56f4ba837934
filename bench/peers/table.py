"""Medians and ratios of the rows that run.sh gathered: "PROGRAM ROUND KIND {json}"."""
import json
import statistics
import sys

path, n_prompt, n_decode, n_sequences = sys.argv[1:]
rates = {}
for line in open(path):
    program, _, kind, text = line.split(" ", 3)
    row = json.loads(text)
    if kind == "bench":
        found = {"pp" if row["n_prompt"] else "tg": row["median_ts"]}
    elif kind == "batch":
        found = {"batch": row["speed_tg"]}
    else:
        found = {test: row[test] for test in ("pp", "tg", "batch")}
    for test, rate in found.items():
        rates.setdefault((test, program), []).append(rate)


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


print("| test | floe t/s | llama.cpp t/s | ratio of medians |")
print("|---|---:|---:|---:|")
names = {"pp": f"prefill {n_prompt}", "tg": f"decode {n_decode}", "batch": f"decode {n_decode}, B={n_sequences}"}
for test, name in names.items():
    floe, peer = rates[test, "floe"], rates[test, "peer"]
    print(f"| {name} | {spread(floe)} | {spread(peer)} | {statistics.median(floe) / statistics.median(peer):.2f} |")
