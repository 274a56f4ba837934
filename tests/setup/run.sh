#!/usr/bin/env bash
# quickstart, check and scripts/setup.sh as a stranger meets them, with an apt-get, a dpkg-query and a ninja that only pretend.
set -uo pipefail
cd "$(dirname "$0")/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=0

# expect NAME PATTERN FILE: the file has a line that matches; the pattern "" stands for an empty file.
expect() {
  if [ -z "$2" ] && [ ! -s "$3" ] || { [ -n "$2" ] && grep -qE -- "$2" "$3"; }; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED: %s: no /%s/ in:\n%s\n' "$1" "$2" "$(cat "$3")"
  fi
}
is() {
  if [ "$2" = "$3" ]; then passed=$((passed + 1)); else failed=$((failed + 1)); printf 'FAILED: %s: %s instead of %s\n' "$1" "$3" "$2"; fi
}

# A machine where nothing is installed. FAKE_FAULT: what a real installation says before it fails.
mkdir "$scratch/bin"
cat >"$scratch/bin/apt-get" <<'EOF'
#!/bin/sh
echo "apt-get $*" >>"$FAKE_LOG"
case " $* " in
  *" update "*) [ -z "$FAKE_UPDATE_FAULT" ] || { echo "$FAKE_UPDATE_FAULT"; exit 100; } ;;
  *" --assume-no "*)
    echo 'Need to get 85.2 MB of archives.'
    echo 'After this operation, 310 MB of additional disk space will be used.'
    echo 'Abort.'
    exit 1 ;;
  *" install "*) [ -z "$FAKE_FAULT" ] || { printf '%s\n' 'Unpacking x ...' "$FAKE_FAULT" 'Errors were encountered while processing:' ' x.deb'; exit 100; } ;;
  *" download "*) exit 100 ;;
esac
EOF
printf '#!/bin/sh\nexit 1\n' >"$scratch/bin/dpkg-query"
printf '#!/bin/sh\nexec "$@"\n' >"$scratch/bin/sudo"
# Three seconds of work, then what FAKE_FAULT says.
cat >"$scratch/bin/ninja" <<'EOF'
#!/bin/sh
echo '[1/9] Building a'; sleep 1; echo '[4/9] Building b'; sleep 2
[ -z "$FAKE_FAULT" ] || { echo "FAILED: b.o"; echo "$FAKE_FAULT"; exit 1; }
echo '[9/9] Linking floe'
EOF
chmod +x "$scratch"/bin/*
export FAKE_LOG=$scratch/apt FAKE_FAULT='' FAKE_UPDATE_FAULT='' TMPDIR=$scratch
# in_setup COMMAND...: what a script does that has sourced setup.sh; its exit status is printed last.
in_setup() {
  : >"$FAKE_LOG"
  # shellcheck disable=SC2016
  PATH=$scratch/bin:$PATH bash -c 'cd "$1"; . "$2/scripts/setup.sh"; PATH=$3:$PATH; shift 3; "$@"; echo "status $?"' \
    - "$scratch" "$PWD" "$scratch/bin" "$@" >"$scratch/out" 2>&1 </dev/null
}

for command in ./quickstart ./check; do
  for flag in --help -h; do
    "$command" "$flag" >"$scratch/out" 2>"$scratch/err"
    is "$command $flag" 0 $?
    expect "$command $flag" "^  $command \[" "$scratch/out"
    expect "$command $flag" '^  --help ' "$scratch/out"
    expect "$command $flag" '' "$scratch/err"
  done
done
./check --frobnicate >"$scratch/out" 2>&1
is './check --frobnicate' 2 $?

in_setup install_packages 'the build' floe-nothing-a floe-nothing-b
expect 'an installation' '^installing for the build \(85.2 MB to download, 310 MB on disk\): floe-nothing-a floe-nothing-b$' "$scratch/out"
expect 'an installation' '^status 0$' "$scratch/out"
is 'the order of an installation' 'update ask install' \
  "$(sed -e 's/.*--assume-no.*/ask/' -e 's/.* update .*/update/' -e 's/.*install.*/install/' "$FAKE_LOG" | paste -sd' ' -)"

# A failed installation shows the line that says why.
while IFS='|' read -r fault line; do
  FAKE_FAULT=$fault in_setup install_packages 'the tests' floe-nothing-a
  expect "$fault" "^the packages for the tests could not be installed: $line\$" "$scratch/out"
  expect "$fault" '^status 1$' "$scratch/out"
done <<'EOF'
dpkg: error processing archive x.deb (--unpack): cannot copy: No space left on device|dpkg: error processing archive x.deb \(--unpack\): cannot copy: No space left on device
E: You don't have enough free space in /var/cache/apt/archives/.|E: You don't have enough free space in /var/cache/apt/archives/\.
E: Unable to locate package floe-nothing-a|E: Unable to locate package floe-nothing-a
EOF
FAKE_UPDATE_FAULT='E: Failed to fetch the list' in_setup install_packages 'the tests' floe-nothing-a
expect 'no network' '^the list of packages could not be fetched: E: Failed to fetch the list$' "$scratch/out"

# No Prometheus server, with its service, for the sake of promtool.
in_setup printf '%s\n' "packages:"
PATH=$scratch/bin:$PATH bash -c '. scripts/setup.sh; printf "%s\n" "${build_packages[@]}" "${page_packages[@]}" "${test_packages[@]}" "${example_packages[@]}"' >"$scratch/packages"
is 'packages of a service' 0 "$(grep -c '^prometheus' "$scratch/packages")"
expect 'the example of quickstart' '^curl' "$scratch/packages"

# Without a terminal a build says how far it is, and why it failed.
mkdir -p "$scratch/build/release"
: >"$scratch/build/release/build.ninja"
in_setup eval 'line_every_s=1; build release floe'
expect 'a build' '^building for [0-9]+ s: \[4/9\] files$' "$scratch/out"
expect 'a build' '^status 0$' "$scratch/out"
# quickstart ends at the first command that fails: a build that worked must not look like one.
in_setup eval 'set -e; build release floe; echo goes on'
expect 'a build of a script that ends at failures' '^goes on$' "$scratch/out"
FAKE_FAULT='b.cpp:1:1: error: no such thing' in_setup build release floe
expect 'a failed build' 'b.cpp:1:1: error: no such thing' "$scratch/out"
expect 'a failed build' '^status 1$' "$scratch/out"
FAKE_FAULT='fatal: write failed: No space left on device' in_setup build release floe
expect 'a full disk' 'No space left on device' "$scratch/out"

# Figures in the pages are those of bench/results.
python3 bench/results/table.py --check docs/performance.md >"$scratch/out" 2>&1
is "the tables of docs/performance.md ($(cat "$scratch/out"))" 0 $?

printf '%d passed, %d failed, 0 skipped\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
