# Sourced by quickstart and check: what a fresh Debian 12 lacks, and the release build.

# package, and a command that stands for it where it may have been installed another way
build_packages=(
  g++:g++ cmake:cmake ninja-build:ninja pkg-config:pkg-config git:git
  libboost-dev nlohmann-json3-dev libfmt-dev libspdlog-dev libutf8proc-dev libhwloc-dev libxxhash-dev
)
page_packages=(nodejs:node npm:npm)
example_packages=(curl:curl)  # what quickstart's example is typed with
test_packages=(libgtest-dev libpcre2-dev curl:curl python3:python3 python3-jinja2 python3-jsonschema chromium:chromium
  clang-format-14:clang-format-14)
full_packages=(g++-aarch64-linux-gnu:aarch64-linux-gnu-g++ qemu-user:qemu-aarch64 clang:clang++)  # of ./check --full
tools_folder=$PWD/build/tools  # programs taken out of their packages, which are not installed
PATH=$tools_folder/usr/bin:$PATH

# print_usage SCRIPT: the comment at its top.
print_usage() { sed -n '2,/^[^#]/ s/^# \{0,1\}//p' "$1"; }

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

# why_apt_failed LOG: the line that says why, or the last one.
why_apt_failed() {
  grep -m 1 -i 'no space left' "$1" || grep -m 1 -E '^(E:|dpkg: error)' "$1" || tail -n 1 "$1"
}

# apt_sizes LOG: what apt-get says of the disk and the network: "85.2 MB to download, 310 MB on disk".
apt_sizes() {
  sed -nE -e 's,^Need to get (.*/)?([0-9.]+ [kMG]?B) of archives.*,\2 to download,p' \
    -e 's/^After this operation, ([0-9.]+ [kMG]?B) of additional disk space.*/\1 on disk/p' "$1" | paste -sd, - | sed 's/,/, /'
}

# install_packages WHY ENTRY...: says what is missing and how large it is, and installs it; fails in one line when it cannot.
install_packages() {
  local why=$1 missing log sizes as_root=()
  shift
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || { say "$why needs ${missing[*]}: run as root or install sudo"; return 1; }
    as_root=(sudo)
  fi
  log=${TMPDIR:-/tmp}/floe-apt.log
  local apt=("${as_root[@]}" env LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get)
  "${apt[@]}" update -qq >"$log" 2>&1 || { say "the list of packages could not be fetched: $(why_apt_failed "$log")"; return 1; }
  # This only asks: it ends before anything is fetched.
  "${apt[@]}" install --assume-no --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null
  sizes=$(apt_sizes "$log")
  say "installing for $why${sizes:+ ($sizes)}: ${missing[*]}"
  "${apt[@]}" install -y -qq --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null || {
    say "the packages for $why could not be installed: $(why_apt_failed "$log")"
    return 1
  }
}

# fetch_promtool: promtool checks the metrics. Debian has it in the package of the Prometheus server, which would start
# and enable a service: only the program is taken out of it.
fetch_promtool() {
  command -v promtool >/dev/null 2>&1 && return 0
  local folder log=${TMPDIR:-/tmp}/floe-apt.log
  say "fetching promtool out of Debian's package prometheus (about 20 MB to download; nothing is installed)"
  folder=$(mktemp -d) || return 1
  if (cd "$folder" && apt-get download prometheus) >"$log" 2>&1 &&
    dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb 2>>"$log" |
      { mkdir -p "$tools_folder" && tar -x -C "$tools_folder" ./usr/bin/promtool 2>>"$log"; }; then
    rm -rf "$folder"
    return 0
  fi
  rm -rf "$folder"
  say "promtool could not be fetched: $(why_apt_failed "$log")"
  return 1
}

# say_progress LOG: a line about a build every line_every_s seconds, until it is killed or this script ends.
line_every_s=15
say_progress() {
  local waited=0 started=$SECONDS
  while sleep 1 </dev/null >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
    waited=$((waited + 1))
    [ $((waited % line_every_s)) -eq 0 ] || continue
    say "building for $((SECONDS - started)) s: $(grep -oE '^\[[0-9]+/[0-9]+\]' "$1" | tail -n 1) files"
  done
}

# why_build_failed LOG: the compiler's lines, or the last ones.
why_build_failed() {
  { grep -q -E 'No space left|error|FAILED' "$1" && grep -A5 -E 'No space left|error|FAILED' "$1" || cat "$1"; } | tail -n 40 >&2
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
    local ticker status=0
    : >"$log"
    say_progress "$log" &
    ticker=$!
    ninja -C "build/$preset" "$@" >>"$log" 2>&1 || status=$?
    kill "$ticker" 2>/dev/null || true  # a caller that ends at failures goes on
    wait "$ticker" 2>/dev/null || true
    [ "$status" -eq 0 ] || why_build_failed "$log"
    return "$status"
  fi
}
cmake_flags=()
