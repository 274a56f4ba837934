#!/usr/bin/env bash
# run.sh [SECONDS]: builds every fuzz target with clang and runs it for SECONDS (20), as many at once as there are cores, from
# the committed corpus. What it finds is not kept in the checkout; an input that breaks something stays in build/fuzz/found, to be
# replayed by build/fuzz/fuzz/fuzz_NAME FILE, mended, and committed to tests/fuzz/corpus/NAME.
# The last line is "N passed, N failed, N skipped".
set -uo pipefail
cd "$(dirname "$0")/../.."
. scripts/setup.sh
seconds=${1:-20}
cmake_flags=(-DFLOE_TESTS=ON -DFLOE_WEB=OFF)

if ! command -v clang++ >/dev/null 2>&1; then
  echo "skipped: fuzzing: clang++ was not found"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
fi
if ! build fuzz fuzzers; then
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
fi

# Bytes of the longest input, where it is not the corpus that says so.
max_len() {
  case $1 in
    gguf | safetensors | http) echo 65536 ;;
    quant) echo 20000 ;;
    request) echo 16384 ;;
    gguf_model | eagle3) echo 129 ;;
    lookup) echo 1024 ;;
    *) echo 4096 ;;
  esac
}

# fuzz NAME: one target; its log ends with the exit status.
fuzz() {
  local name=$1 scratch status=0 more=()
  scratch=$(mktemp -d)
  [ -d "tests/fuzz/corpus/$name" ] && more+=("tests/fuzz/corpus/$name")
  [ -f "tests/fuzz/$name.dict" ] && more+=("-dict=tests/fuzz/$name.dict")
  "build/fuzz/fuzz/fuzz_$name" -max_total_time="$seconds" -max_len="$(max_len "$name")" -timeout=20 -rss_limit_mb=2048 \
    -artifact_prefix="build/fuzz/found/$name-" "$scratch" "${more[@]}" >"build/fuzz/logs/$name" 2>&1 || status=$?
  rm -rf "$scratch"
  echo "exit status $status" >>"build/fuzz/logs/$name"
}
export -f fuzz max_len
export seconds

rm -rf build/fuzz/logs
mkdir -p build/fuzz/logs build/fuzz/found
passed=0 failed=0
names=()
for binary in build/fuzz/fuzz/fuzz_*; do names+=("${binary##*/fuzz_}"); done
printf '%s\n' "${names[@]}" | xargs -P "$(nproc)" -I '{}' bash -c 'fuzz "$1"' - '{}'
for name in "${names[@]}"; do
  log=build/fuzz/logs/$name
  # A target that executed nothing has tested nothing.
  if [ "$(tail -n 1 "$log")" = "exit status 0" ] && grep -qE '^Done [1-9][0-9]* runs' "$log"; then
    passed=$((passed + 1))
    echo "fuzz_$name: $(grep -E '^Done' "$log")"
  else
    failed=$((failed + 1))
    echo "fuzz_$name:"
    tail -n 40 "$log"
  fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
