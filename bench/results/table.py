"""Markdown table of one machine's results: table.py FILE.csv [MODEL.gguf ...]. The newest row of each test counts."""
import csv
import re
import sys

COLUMNS = (("t/s", "median_ts"), ("GB/s", "gb_s"), ("% of floor", "pct_floor"), ("union", "experts_union"),
           ("GMAC/s", "gmac_s"), ("r", "r"), ("r model", "r_model"))


def main():
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
