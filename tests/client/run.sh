#!/bin/sh
# run.sh: the official clients of OpenAI and Anthropic against a server.
# FLOE_URL=http://...  a running server (FLOE_API_KEY: its key). Without it the test starts its own: the bundled
#                      model when it is there, and the fake model of the server tests, from FLOE_BUILD
#                      (build/release by default).
# The last line is `N passed, N failed, N skipped`; the exit status is 1 when something failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
build=${FLOE_BUILD:-$repo/build/release}
n_passed=0 n_failed=0 n_skipped=0

finish() {
  echo "$n_passed passed, $n_failed failed, $n_skipped skipped"
  [ "$n_failed" -eq 0 ]
  exit
}
skip() {
  echo "skipped: tests/client: $*"
  n_skipped=$((n_skipped + 1))
}

command -v node >/dev/null 2>&1 || { skip "node was not found"; finish; }
command -v npm >/dev/null 2>&1 || { skip "npm was not found"; finish; }
if grep -q '"resolved"' "$here/package-lock.json"; then
  echo "tests/client: the lock file records download addresses"
  n_failed=1
  finish
fi
log=$(sh "$repo/web/install.sh" "$here" 2>&1) || { skip "$log"; finish; }

work=$(mktemp -d)
server=""
cleanup() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; fi
  server=""
}
trap 'cleanup; rm -rf "$work"' EXIT

# test_url NAME URL
test_url() {
  FLOE_URL=$2 node --test --test-reporter=tap "$here"/*.test.mjs >"$work/tap" 2>&1
  status=$?
  count() { sed -n "s/^# $1 \([0-9][0-9]*\)$/\1/p" "$work/tap" | tail -n 1; }
  passed=$(count pass)
  if [ -z "$passed" ]; then
    cat "$work/tap"
    n_failed=$((n_failed + 1))
    return
  fi
  failed=$(($(count fail) + $(count cancelled)))
  if [ "$failed" -eq 0 ] && [ "$status" -ne 0 ]; then failed=1; fi
  [ "$failed" -eq 0 ] || cat "$work/tap"
  echo "tests/client: $1: $passed passed, $failed failed"
  n_passed=$((n_passed + passed))
  n_failed=$((n_failed + failed))
  n_skipped=$((n_skipped + $(count skipped)))
}

# serve COMMAND...: starts it and waits for the address that it prints; sets url.
serve() {
  url=""
  "$@" >"$work/server" 2>&1 &
  server=$!
  for _ in $(seq 600); do
    address=$(grep -oE 'http://[0-9.]+:[0-9]+' "$work/server" | head -n 1)
    if [ -n "$address" ] && curl -sf "$address/health" >/dev/null; then
      url=$address
      return 0
    fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/server"
  return 1
}

if [ -n "${FLOE_URL:-}" ]; then
  test_url "$FLOE_URL" "$FLOE_URL"
  finish
fi
command -v curl >/dev/null 2>&1 || { skip "curl was not found"; finish; }

if [ -x "$build/tests/fake_server" ]; then
  export FLOE_API_KEY=client-test-key
  if serve "$build/tests/fake_server" --port 0 --api-key "$FLOE_API_KEY"; then
    test_url "fake model" "$url"
  else
    n_failed=$((n_failed + 1))
  fi
  cleanup
  unset FLOE_API_KEY
else
  skip "the fake server was not built"
fi

model=$repo/models/floe-nano.gguf
if [ -f "$model" ] && [ -x "$build/floe" ]; then
  if serve "$build/floe" serve -m "$model" --port 0; then
    test_url "floe-nano" "$url"
  else
    n_failed=$((n_failed + 1))
  fi
  cleanup
else
  skip "the bundled model was not found"
fi
finish
