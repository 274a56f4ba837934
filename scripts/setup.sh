# Sourced by quickstart and check: what a fresh Debian 12 lacks, and the release build.

# package, and a command that stands for it where it may have been installed another way
build_packages=(
  g++:g++ cmake:cmake ninja-build:ninja pkg-config:pkg-config git:git
  libboost-dev nlohmann-json3-dev libfmt-dev libspdlog-dev libutf8proc-dev libhwloc-dev libxxhash-dev
)
page_packages=(nodejs:node npm:npm)
test_packages=(libgtest-dev libpcre2-dev curl:curl python3:python3 python3-jinja2 chromium:chromium
  prometheus:promtool g++-aarch64-linux-gnu:aarch64-linux-gnu-g++ qemu-user:qemu-aarch64)

say() { printf '%s\n' "$*" >&2; }

missing_packages() {
  local entry package command
  for entry in "$@"; do
    package=${entry%%:*}
    command=${entry#*:}
    if [ "$command" != "$entry" ] && command -v "$command" >/dev/null 2>&1; then continue; fi
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' && continue
    printf '%s\n' "$package"
  done
}

# install_packages WHY ENTRY...: installs what is missing; fails in one line when it cannot.
install_packages() {
  local why=$1 missing as_root=()
  shift
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || { say "$why needs ${missing[*]}: run as root or install sudo"; return 1; }
    as_root=(sudo)
  fi
  say "installing for $why: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq >&2 || return 1
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >"${TMPDIR:-/tmp}/floe-apt.log" 2>&1 || {
    tail -n 5 "${TMPDIR:-/tmp}/floe-apt.log" >&2
    say "the packages for $why could not be installed"
    return 1
  }
}

# build PRESET TARGET...: configures once, then builds. Compiler output only when it fails.
build() {
  local preset=$1 log
  shift
  mkdir -p build
  log=build/$preset.log
  if [ ! -f "build/$preset/build.ninja" ]; then
    cmake --preset "$preset" "${cmake_flags[@]}" >"$log" 2>&1 || { tail -n 20 "$log" >&2; return 1; }
  fi
  if [ -t 2 ]; then
    ninja -C "build/$preset" "$@" >&2
  else
    ninja -C "build/$preset" "$@" >>"$log" 2>&1 || { grep -A5 -E 'error|FAILED' "$log" | tail -n 40 >&2; return 1; }
  fi
}
cmake_flags=()
