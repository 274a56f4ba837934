"""Markdown tables of what was measured, out of the files in this folder. The newest row of each test counts.

table.py FILE.csv [MODEL.gguf ...]     a row per test
table.py --summary FILE.csv [MODEL.gguf ...]     a row per model
table.py --update PAGE.md      writes the summaries anew that stand in the page between
                               <!-- table FILE.csv --> and <!-- end -->
table.py --check PAGE.md       fails when --update would change the page
"""
import csv
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent

COLUMNS = (("t/s", "median_ts"), ("GB/s", "gb_s"), ("% of floor", "pct_floor"), ("union", "experts_union"),
           ("GMAC/s", "gmac_s"), ("r", "r"), ("r model", "r_model"))

# Test and column of what a summary says of a model.
SUMMARY = (("tg32 t/s", "tg32", "median_ts"), ("GB/s", "tg32", "gb_s"), ("read GB/s", "tg32", "read_gb_s"),
           ("% of floor", "tg32", "pct_floor"), ("r(4)", "v4", "r"), ("r(8)", "v8", "r"), ("r(16)", "v16", "r"),
           ("r model (16)", "v16", "r_model"), ("pp512 t/s", "pp512", "median_ts"), ("GMAC/s", "pp512", "gmac_s"))


def read(path):
    """The newest row of each (model, test)."""
    newest = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            newest[row["model_filename"], row["test"]] = row
    if not newest:
        sys.exit(f"{path}: no rows")
    return newest


def newest_build():
    """The build of the last row of all files: rows of others are marked as older."""
    rows = [row for path in sorted(HERE.glob("*.csv")) for row in read(path).values()]
    return max(rows, key=lambda row: row["test_time"])["build_commit"]


def summary(newest, models):
    latest = newest_build()
    lines = ["| model | build |" + "".join(f" {name} |" for name, _, _ in SUMMARY),
             "|---|---|" + "---:|" * len(SUMMARY)]
    for model in models:
        build = next(row["build_commit"] for (name, _), row in newest.items() if name == model)
        mark = build if build == latest else f"{build} (older)"
        cells = [newest.get((model, test), {}).get(key) or "" for _, test, key in SUMMARY]
        lines.append(f"| {model.removesuffix('.gguf')} | {mark} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def update(page):
    def table(match):
        newest = read(HERE / match[1])
        models = dict.fromkeys(model for model, _ in newest)
        return f"<!-- table {match[1]} -->\n{summary(newest, models)}<!-- end -->"
    text = pathlib.Path(page).read_text()
    new, n = re.subn(r"<!-- table (\S+) -->\n.*?<!-- end -->", table, text, flags=re.S)
    if n == 0:
        sys.exit(f"{page}: no table to write")
    return text, new


def main():
    if len(sys.argv) == 3 and sys.argv[1] in ("--update", "--check"):
        text, new = update(sys.argv[2])
        if sys.argv[1] == "--update":
            pathlib.Path(sys.argv[2]).write_text(new)
        elif text != new:
            sys.exit(f"{sys.argv[2]}: its tables are not those of bench/results: table.py --update {sys.argv[2]}")
        return
    is_summary = "--summary" in sys.argv[1:2]
    if is_summary:
        del sys.argv[1]
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    newest = read(sys.argv[1])
    models = sys.argv[2:] or list(dict.fromkeys(model for model, _ in newest))
    missing = [model for model in models if not any(key[0] == model for key in newest)]
    if missing:
        sys.exit(f"{sys.argv[1]}: no rows of {', '.join(missing)}")
    if is_summary:
        print(summary(newest, models), end="")
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
