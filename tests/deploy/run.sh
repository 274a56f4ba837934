#!/usr/bin/env bash
# What deploy/ holds: the Debian package as it is unpacked and configured, the service, the proxy in front of a server.
# The last line is "N passed, N failed, N skipped".
set -uo pipefail
cd "$(dirname "$0")/../.."
floe=build/release/floe
scratch=$(mktemp -d)
server="" proxy=""
cleanup() {
  for process in $proxy $server; do kill "$process" 2>/dev/null; wait "$process" 2>/dev/null; done
  rm -rf "$scratch"
}
trap cleanup EXIT
passed=0 failed=0 skipped=0
pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); printf 'FAILED: %s\n' "$*"; }
skip() { skipped=$((skipped + 1)); echo "skipped: tests/deploy: $*"; }
check() { local what=$1; shift; if "$@" >"$scratch/log" 2>&1; then pass; else fail "$what: $(tail -n 3 "$scratch/log")"; fi; }

if command -v dpkg-shlibdeps >/dev/null 2>&1 && command -v file >/dev/null 2>&1 && command -v cpack >/dev/null 2>&1; then
  check "the package is built" cpack --config build/release/CPackConfig.cmake -B "$scratch/package"
  package=$(echo "$scratch"/package/*.deb)
  dpkg-deb --field "$package" Depends >"$scratch/depends" 2>&1
  for library in libfmt libspdlog libutf8proc passwd; do
    check "the package needs $library" grep -q "$library" "$scratch/depends"
  done
  root=$scratch/root
  check "the package unpacks" dpkg-deb -x "$package" "$root"
  check "the installed program answers" bash -c "'$root/usr/bin/floe' run -m '$root/usr/share/floe/floe-nano.gguf' -p '1 + 1 =' -n 2 --no-progress"
  for file in usr/share/doc/floe/copyright usr/share/doc/floe/serving.md lib/systemd/system/floe.service etc/floe/floe.conf; do
    check "the package has $file" test -s "$root/$file"
  done
  dpkg-deb -e "$package" "$scratch/control"
  check "its configuration is kept at upgrades" grep -qx /etc/floe/floe.conf "$scratch/control/conffiles"
  # The scripts with commands that only write down how they were called.
  mkdir "$scratch/bin"
  for command in getent useradd systemctl; do
    printf '#!/bin/sh\necho "%s $*" >>"%s/calls"\n[ %s != getent ] || exit ${GETENT_STATUS:-0}\n' "$command" "$scratch" "$command" >"$scratch/bin/$command"
    chmod +x "$scratch/bin/$command"
  done
  check "postinst" env PATH="$scratch/bin:$PATH" GETENT_STATUS=2 "$scratch/control/postinst" configure
  check "postinst makes the user" grep -q '^useradd --system .* floe$' "$scratch/calls"
  : >"$scratch/calls"
  check "postinst again" env PATH="$scratch/bin:$PATH" "$scratch/control/postinst" configure 0.1.0
  check "postinst leaves a user alone" bash -c "! grep -q useradd '$scratch/calls'"
  if command -v systemd-analyze >/dev/null 2>&1; then
    mkdir -p "$root/bin"
    cp /bin/kill "$root/bin/kill"
    # The rest of the system is not in the folder: only what is said of this unit counts.
    systemd-analyze verify --man=no --root="$root" floe.service >"$scratch/verify" 2>&1
    if grep 'floe.service' "$scratch/verify" | grep -vE 'sysinit|shutdown|basic.target|network.target|multi-user' >"$scratch/faults"; then
      fail "the service: $(cat "$scratch/faults")"
    else
      pass
    fi
  else
    skip "the service: systemd-analyze was not found"
  fi
else
  skip "the Debian package: dpkg-shlibdeps (dpkg-dev) or file was not found"
fi

if command -v haproxy >/dev/null 2>&1; then
  check "the proxy's configuration" haproxy -c -f deploy/haproxy.cfg
  "$floe" serve -m models/floe-nano.gguf --port 0 -c 1024 --no-progress >"$scratch/out" 2>"$scratch/err" &
  server=$!
  for _ in $(seq 300); do grep -q 'is ready' "$scratch/out" && break; sleep 0.1; done
  port=$(sed -n 's,^floe is ready: http://127.0.0.1:\([0-9]*\)/$,\1,p' "$scratch/out")
  front=$((20000 + RANDOM % 20000))
  sed "s/127.0.0.1:8443/127.0.0.1:$front/; s/127.0.0.1:8080/127.0.0.1:$port/g" deploy/haproxy.cfg >"$scratch/haproxy.cfg"
  haproxy -f "$scratch/haproxy.cfg" >"$scratch/proxy" 2>&1 &
  proxy=$!
  for _ in $(seq 100); do curl -sf "http://127.0.0.1:$front/health" >/dev/null && break; sleep 0.1; done
  check "health through the proxy" curl -sf "http://127.0.0.1:$front/health"
  body='{"messages":[{"role":"user","content":"Tell a story."}],"temperature":0,"max_tokens":40,"stream":true}'
  ask() { curl -s -N -H 'Content-Type: application/json' -d "$body" "http://127.0.0.1:$1/v1/chat/completions" | grep -oE '"delta":\{[^}]*\}|\[DONE\]'; }
  if [ "$(ask "$front")" = "$(ask "$port")" ] && ask "$front" | grep -q DONE; then pass; else fail "a stream through the proxy is another"; fi
  # A client that leaves ends its request behind the proxy, too.
  timeout 1 curl -s -N -H 'Content-Type: application/json' -d "${body/40/900}" "http://127.0.0.1:$front/v1/chat/completions" >/dev/null
  for _ in $(seq 100); do
    running=$(curl -s "http://127.0.0.1:$port/metrics" | sed -n 's/^llamacpp:requests_processing[^ ]* //p')
    [ "${running:-1}" = 0 ] && break
    sleep 0.1
  done
  if [ "${running:-1}" = 0 ]; then pass; else fail "a client left, and its request runs on"; fi
else
  skip "the proxy: haproxy was not found"
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
