#!/usr/bin/env bash
# floe and llama.cpp (npm package node-llama-cpp) on one GGUF file, in interleaved rounds on the same cores.
#
#   bench/peers/run.sh --install             once: the package into build/peers (x86-64 Linux)
#   bench/peers/run.sh MODEL.gguf [ROUNDS]   prints a table of medians and their ratio
#
# THREADS (2), CPUS (0-1, for taskset), N_PROMPT (512), N_DECODE (128), N_SEQUENCES (8) and BATCH_PROMPT (32) may be
# set in the environment. Each round starts both programs anew, so one model is in memory at a time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
peers=build/peers
floe=build/release/floe

if [ "${1:-}" = --install ]; then
  mkdir -p "$peers"
  cp "$here"/{package.json,package-lock.json,.npmrc} "$peers"
  # Optional packages are the builds for other machines, some of them unpublished, which "npm ci" refuses.
  (cd "$peers" && npm install --omit=optional)
  exit
fi
model=${1:-}
rounds=${2:-5}
if [ -z "$model" ]; then
  sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
if [ ! -d "$peers/node_modules/node-llama-cpp" ]; then
  echo "peers: skipped: node-llama-cpp is not installed (bench/peers/run.sh --install)"
  exit 0
fi
threads=${THREADS:-2} cpus=${CPUS:-0-1} n_prompt=${N_PROMPT:-512} n_decode=${N_DECODE:-128}
n_sequences=${N_SEQUENCES:-8} batch_prompt=${BATCH_PROMPT:-32}
cp "$here"/*.mjs "$peers"
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
for round in $(seq "$rounds"); do
  taskset -c "$cpus" "$floe" bench -m "$model" --no-progress -t "$threads" -r 1 \
    -p "$n_prompt" -n "$n_decode" -o jsonl | sed "s/^/floe $round bench /" >>"$rows"
  taskset -c "$cpus" "$floe" batched-bench -m "$model" --no-progress -t "$threads" \
    -npp "$batch_prompt" -ntg "$n_decode" -npl "$n_sequences" -o jsonl | sed "s/^/floe $round batch /" >>"$rows"
  taskset -c "$cpus" node "$peers/llama_cpp.mjs" "$(realpath "$model")" "$threads" "$n_prompt" "$n_decode" \
    "$n_sequences" "$batch_prompt" | sed "s/^/peer $round all /" >>"$rows"
done
python3 "$here/table.py" "$rows" "$n_prompt" "$n_decode" "$n_sequences"
