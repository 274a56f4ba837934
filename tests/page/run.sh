#!/bin/sh
# run.sh: the tests of the page: its modules under Node, the whole in headless Chromium.
# The browser tests run against a stub server; what server and page must agree on also against build/release/floe,
# where it is built.
# FLOE_URL=http://...  tests the page of a running server instead of both (FLOE_API_KEY: its key).
# FLOE_BIN, FLOE_MODEL the program and the model; build/release/floe and the bundled one by default.
# FLOE_PICTURES=DIR    keeps screenshots there.
# FLOE_CHROMIUM=FILE   the browser; /usr/bin/chromium by default.
# The last line is `N passed, N failed, N skipped`; the exit status is 1 when something failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
web=$here/../../web
chromium=${FLOE_CHROMIUM:-/usr/bin/chromium}
export FLOE_CHROMIUM="$chromium"

skip() {
  echo "skipped: tests/page: $*"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
}
broken() {
  echo "tests/page: $*" >&2
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
}

command -v node >/dev/null 2>&1 || skip "node was not found"
command -v npm >/dev/null 2>&1 || skip "npm was not found"
# Packages that cannot be had are a matter of the machine; a page that does not build is a matter of ours.
log=$(sh "$web/install.sh" "$web" 2>&1) || skip "$log"

# The lock files say which packages, by digest; from where is the machine's own business.
grep -q '"resolved"' "$web/package-lock.json" "$here/package-lock.json" &&
  broken "a lock file records download addresses"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$(sh "$web/build_tests.sh" "$work/unit" 2>&1) || broken "$log"
log=$(sh "$web/build.sh" "$work/page" 2>&1) || broken "$log"
export FLOE_PAGE_DIR="$work/page"

n_passed=0 n_failed=0 n_skipped=0
browser=false
set -- "$work"/unit/*.test.mjs
if [ ! -x "$chromium" ]; then
  echo "skipped: tests/page in a browser: $chromium was not found"
  n_skipped=1
elif ! log=$(sh "$web/install.sh" "$here" 2>&1); then
  echo "skipped: tests/page in a browser: $log"
  n_skipped=1
else
  browser=true
  set -- "$@" "$here/page.test.mjs"
fi

run_tests() {
  node --test --test-reporter=tap "$@" >"$work/tap" 2>&1
  status=$?
  passed=$(count pass)
  # The whole report when the runner itself did not come to an end.
  if [ -z "$passed" ]; then
    cat "$work/tap"
    broken "the test runner ended with status $status and no count"
  fi
  failed=$(($(count fail) + $(count cancelled)))
  if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
  n_passed=$((n_passed + passed))
  n_failed=$((n_failed + failed))
  n_skipped=$((n_skipped + $(count skipped)))
  awk '/^ *ok /{show=0} /^ *not ok /{show=1} /^ *# Subtest/{show=0} show' "$work/tap"
}
count() { sed -n "s/^# $1 \([0-9][0-9]*\)$/\1/p" "$work/tap" | tail -n 1; }

run_tests "$@"

# The same page out of the real program, with a real model behind it.
floe=${FLOE_BIN:-$here/../../build/release/floe}
model=${FLOE_MODEL:-$here/../../models/floe-nano.gguf}
if [ -z "${FLOE_URL:-}" ] && $browser; then
  if [ ! -x "$floe" ] || [ ! -f "$model" ]; then
    echo "skipped: tests/page against the program: it needs build/release/floe and a model"
    n_skipped=$((n_skipped + 1))
  else
    "$floe" serve -m "$model" --port 0 >"$work/serve" 2>&1 &
    server=$!
    trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf "$work"' EXIT
    url=""
    for _ in $(seq 600); do
      url=$(sed -n 's|^floe is ready: \(http://[^/]*\)/$|\1|p' "$work/serve")
      [ -n "$url" ] && break
      kill -0 "$server" 2>/dev/null || break
      sleep 0.1
    done
    if [ -z "$url" ]; then
      tail -n 5 "$work/serve"
      broken "$floe serve did not become ready"
    fi
    export FLOE_URL="$url"
    run_tests "$here/page.test.mjs"
  fi
fi

echo "$n_passed passed, $n_failed failed, $n_skipped skipped"
[ "$n_failed" -eq 0 ]
