#!/usr/bin/env bash
# The tree is as the pinned clang-format writes it: Debian 12's clang-format-14, .clang-format at the top. To mend:
# clang-format-14 -i FILE...
set -uo pipefail
cd "$(dirname "$0")/.."
tool=$(command -v clang-format-14 || command -v clang-format) || {
  echo "skipped: formatting: clang-format-14 was not found"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
}
case $("$tool" --version) in
  *"version 14."*) ;;
  *)
    echo "skipped: formatting: $tool is $("$tool" --version), and other versions than 14 write other lines"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
    ;;
esac
files=$(find src tests bench \( -name '*.cpp' -o -name '*.h' -o -name '*.inl' -o -name '*.cu' -o -name '*.cuh' \) \
  -not -path '*/node_modules/*' | sort)
n_files=$(wc -l <<<"$files")
if [ "$n_files" -lt 100 ]; then
  echo "$n_files source files found"
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
fi
# Eight files a call; the first line that would change of each file.
badly=$(xargs -P "$(nproc)" -n 8 "$tool" --dry-run -Werror <<<"$files" 2>&1 | grep -E ': error:' | sort -t: -k1,1 -u)
if [ -n "$badly" ]; then
  printf '%s\n' "$badly"
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
fi
echo "1 passed, 0 failed, 0 skipped"
