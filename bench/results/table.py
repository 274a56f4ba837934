"""Markdown tables of one machine's results. The newest row of each test counts.

table.py FILE.csv [MODEL.gguf ...]     a row per test
table.py --summary FILE.csv [MODEL.gguf ...]     a row per model
"""
import csv
import re
import sys

COLUMNS = (("t/s", "median_ts"), ("GB/s", "gb_s"), ("% of floor", "pct_floor"), ("union", "experts_union"),
           ("GMAC/s", "gmac_s"), ("r", "r"), ("r model", "r_model"))

# Test and column of what a summary says of a model.
SUMMARY = (("tg32 t/s", "tg32", "median_ts"), ("GB/s", "tg32", "gb_s"), ("read GB/s", "tg32", "read_gb_s"),
           ("% of floor", "tg32", "pct_floor"), ("r(4)", "v4", "r"), ("r(8)", "v8", "r"), ("r(16)", "v16", "r"),
           ("r model (16)", "v16", "r_model"), ("pp512 t/s", "pp512", "median_ts"), ("GMAC/s", "pp512", "gmac_s"))


def print_summary(newest, models):
    print("| model |" + "".join(f" {name} |" for name, _, _ in SUMMARY))
    print("|---|" + "---:|" * len(SUMMARY))
    for model in models:
        cells = [newest.get((model, test), {}).get(key) or "" for _, test, key in SUMMARY]
        print(f"| {model.removesuffix('.gguf')} | " + " | ".join(cells) + " |")


def main():
    summary = "--summary" in sys.argv[1:2]
    if summary:
        del sys.argv[1]
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    newest = {}
    with open(sys.argv[1], newline="") as file:
        for row in csv.DictReader(file):
            newest[row["model_filename"], row["test"]] = row
    if not newest:
        sys.exit(f"{sys.argv[1]}: no rows")
    models = sys.argv[2:] or list(dict.fromkeys(model for model, _ in newest))
    missing = [model for model in models if not any(key[0] == model for key in newest)]
    if missing:
        sys.exit(f"{sys.argv[1]}: no rows of {', '.join(missing)}")
    if summary:
        print_summary(newest, models)
        return

    def order(test):
        kind, n, depth = re.fullmatch(r"([a-z]+)(\d+)(?: @ d(\d+))?", test).groups()
        return int(depth or 0), ("pp", "tg", "v").index(kind), int(n)

    tests = sorted({test for model, test in newest if model in models}, key=order)
    print("| test |" + "".join(f" {model}: {name} |" if name == "t/s" else f" {name} |"
                              for model in models for name, _ in COLUMNS))
    print("|---|" + "---:|" * (len(models) * len(COLUMNS)))
    for test in tests:
        cells = [newest.get((model, test), {}).get(key) or "" for model in models for _, key in COLUMNS]
        print(f"| {test} | " + " | ".join(cells) + " |")
    print()
    for model in models:
        rows = [row for (name, _), row in newest.items() if name == model]
        reads = [float(row["read_gb_s"]) for row in rows]
        row = rows[-1]
        print(f"{model}: {row['model_type']}, {float(row['model_size']) / 1e9:.2f} GB; {row['cpu_info']}, {row['isa']}, "
              f"{row['n_threads']} threads, {row['type_k']} cache; read bandwidth beside the tests {min(reads):.1f} to "
              f"{max(reads):.1f} GB/s; build {row['build_commit']}, {row['test_time']}")


main()
