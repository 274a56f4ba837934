#!/usr/bin/env bash
# append.sh NEW.csv FILE.csv: the rows of one `floe bench -o csv` go to the end of a machine's results.
set -euo pipefail
if [ $# -ne 2 ]; then
  sed -n '2s/^# //p' "$0" >&2
  exit 2
fi
header=$(head -n 1 "$1")
case $header in
  build_commit,*,test,*) ;;
  *) echo "$1: expected the output of 'floe bench -o csv'" >&2; exit 2 ;;
esac
if [ ! -s "$2" ]; then
  cat "$1" >"$2"
elif [ "$header" = "$(head -n 1 "$2")" ]; then
  tail -n +2 "$1" >>"$2"
else
  echo "$2: its columns are not those of $1: start a new file" >&2
  exit 2
fi
