#!/usr/bin/env bash
# A file includes only rooms of strictly lower rank, or its own room.
set -euo pipefail
cd "$(dirname "$0")/.."
awk '
BEGIN {
  split("base:0 quant:1 grammar:1 store:2 kernels:2 kv:3 text:3 template:3 chat:4 model:4 cuda:5 draft:5 engine:6 server:7 lab:7 tools:7 verbs:8", rows, " ")
  for (i in rows) { split(rows[i], pair, ":"); rank[pair[1]] = pair[2] }
}
FNR == 1 {
  n_files++
  split(FILENAME, part, "/")
  room = part[2] in rank ? part[2] : "main"
  if (room == "main" && part[2] != "main.cpp") { print FILENAME ": its folder has no rank"; bad++ }
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
  path = $0
  sub(/^[^"]*"/, "", path)
  sub(/".*/, "", path)
  # Without a folder the name is looked for beside the file first: which room it is of would be left open.
  if (path !~ /^[a-z0-9_]+\//) { print FILENAME ":" FNR ": \"" path "\" does not name its room"; bad++; next }
  target = path
  sub(/\/.*/, "", target)
  if (!(target in rank)) { print FILENAME ":" FNR ": includes " target "/, which has no rank"; bad++ }
  else if (room != "main" && target != room && rank[target] >= rank[room]) {
    print FILENAME ":" FNR ": " room " (rank " rank[room] ") includes " target "/ (rank " rank[target] ")"; bad++
  }
}
END {
  if (n_files == 0) { print "no source files"; bad++ }
  printf "%d passed, %d failed, 0 skipped\n", bad ? 0 : 1, bad ? 1 : 0
  exit bad ? 1 : 0
}' $(find src -name '*.cpp' -o -name '*.h' -o -name '*.inl' -o -name '*.cu' -o -name '*.cuh' | sort)
