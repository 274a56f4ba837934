#!/usr/bin/env bash
# The tests of the quant and kernels rooms, cross-compiled for 64-bit Arm, on emulated processors that lead
# to each set of kernels. Says nothing of speed.
set -uo pipefail
cd "$(dirname "$0")/../.."
. scripts/setup.sh
passed=0 failed=0 skipped=0

skip() {
  echo "skipped: kernels for 64-bit Arm: $*"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
}
for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
  command -v $tool >/dev/null 2>&1 || skip "$tool was not found"
done

# run_on CPU SET TEST [flags]: a test binary on a processor that must choose SET.
run_on() {
  local cpu=$1 expected=$2 binary=build/aarch64/tests/$3 log ok bad status=0
  shift 3
  log=$(FLOE_EXPECTED_ISA=$expected qemu-aarch64 -cpu "$cpu" -L /usr/aarch64-linux-gnu "$binary" "$@" \
    --gtest_brief=1 2>&1) || status=$?
  ok=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' <<<"$log")
  bad=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test.*listed below.*/\1/p' <<<"$log" | head -n 1)
  if [ "$status" -ne 0 ] || [ "${ok:-0}" -eq 0 ]; then
    printf '%s on %s: exit status %d\n%s\n' "$binary" "$cpu" "$status" "$(tail -n 40 <<<"$log")"
    : "${bad:=1}"
  fi
  passed=$((passed + ${ok:-0})) failed=$((failed + ${bad:-0}))
}

if build aarch64 quant_test kernels_test; then
  run_on max neon_i8mm quant_test
  # The benchmark's large cases would take most of the time and meet no other code.
  run_on max neon_i8mm kernels_test --gtest_filter='-*MeasuredCases*'
  run_on neoverse-n1 neon_dotprod kernels_test --gtest_filter='-*MeasuredCases*'
  run_on cortex-a72 reference kernels_test --gtest_filter='Dispatch.*'
  if log=$(ctest --test-dir build/aarch64 -R '^kernels_isa_symbols$' --no-tests=error --output-on-failure 2>&1); then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf '%s\n' "$log"
  fi
else
  failed=1
fi
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
