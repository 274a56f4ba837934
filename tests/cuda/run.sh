#!/usr/bin/env bash
# All tests of kernels for cards, unattended: run.sh [BUILD_FOLDER] [MODEL.gguf ...]
# Kernels against the reference kernels, then the same `floe logits` hash on card and processor for
# every model (default: the golden ones beside the repository), chunk and cache type, then, where
# compute-sanitizer is, some models under it. Without a card everything is skipped, by name.
set -uo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/release}
[ $# -gt 0 ] && shift
floe=$build/floe
models=("$@")
[ ${#models[@]} -gt 0 ] || models=("${FLOE_GOLDEN_DIR:-../shared/golden}"/models/*.gguf models/*.gguf)
passed=0 failed=0 skipped=0
pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); echo "failed: $1"; }
skip() { skipped=$((skipped + 1)); echo "skipped: $1"; }
finish() {
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" -eq 0 ]
  exit
}

if ! "$floe" doctor -o text 2>/dev/null | grep -q '^card '; then
  skip "tests/cuda: no card, or a build without kernels for cards"
  finish
fi

if "$build"/tests/cuda_test --gtest_brief=1; then pass; else fail "cuda_test"; fi

tokens=$(seq -s, 3 90)
# hash_of MODEL arguments: the hash, or what floe said
hash_of() {
  local model=$1
  shift
  "$floe" logits -m "$model" --no-progress --tokens "$tokens" "$@" 2>&1 |
    sed -n 's/.*"hash": *"\([0-9a-f]*\)".*/\1/p; s/^floe: .*/&/p' | head -1
}
for model in "${models[@]}"; do
  name=$(basename "$model")
  expected=$(hash_of "$model" --device cpu)
  case $expected in
    "floe: "*) skip "$name: ${expected#floe: }"; continue ;;
  esac
  for arguments in "" "--chunk 1" "--chunk 7" "--chunk 40" "-ctk q8_0 -ctv q8_0" "-ctk f32 -ctv f32"; do
    want=$expected
    # shellcheck disable=SC2086  # the words of one case
    case $arguments in -ctk*) want=$(hash_of "$model" --device cpu $arguments) ;; esac
    # shellcheck disable=SC2086
    found=$(hash_of "$model" --device cuda:0 $arguments)
    if [ "$found" = "$want" ]; then pass; else fail "$name $arguments: processor $want, card $found"; fi
  done
done

if [ -z "$(command -v compute-sanitizer)" ]; then
  skip "compute-sanitizer is not here"
  finish
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for tool in memcheck racecheck; do
  for model in "${models[@]:0:${FLOE_SANITIZED_MODELS:-2}}"; do
    if compute-sanitizer --tool $tool --error-exitcode 99 "$floe" logits -m "$model" --no-progress \
      --device cuda:0 --tokens "$tokens" --chunk 16 >"$log" 2>&1; then
      pass
    else
      fail "$tool $(basename "$model"): $(grep -m3 '=========' "$log" | tr '\n' ' ')"
    fi
  done
done
finish
