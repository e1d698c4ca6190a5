# What .ci/run and .ci/full share: stages with their minutes, tools that a bare Debian 12 machine may lack, the summary.
# Sourced by both; nothing here runs by itself.

export CARGO_TERM_COLOR=never
cache="${XDG_CACHE_HOME:-$HOME/.cache}/rust-ingress"
export CARGO_TARGET_DIR="$cache/target"
tools="$cache/tools"
logs="$(mktemp -d)"
trap 'cluster_down >/dev/null 2>&1 || true; rm -rf "$logs"' EXIT
mkdir -p "$cache" "$tools"
export PATH="$tools/bin:$HOME/.cargo/bin:$PATH"

times=()
began=$SECONDS

# stage NAME COMMAND…: runs the command, keeps its output for the summary, prints its minutes. The first stage that
# fails ends the run.
stage() {
  local name=$1 start=$SECONDS status=0
  shift
  printf '\n=== %s\n' "$name"
  set +e
  (set -euo pipefail; "$@") 2>&1 | tee "$logs/${#times[@]}"
  status=${PIPESTATUS[0]}
  set -e
  times+=("$(minutes $((SECONDS - start))) $name")
  if [ "$status" -ne 0 ]; then
    printf '\nFAILED: %s (exit status %s). Run the stage by itself: %s\n' "$name" "$status" "$*"
    summary 1
    exit 1
  fi
}

minutes() { awk -v s="$1" 'BEGIN { printf "%6.1f min", s / 60 }'; }

# summary FAILED-STAGES: minutes per stage, the test runner's own counts, and one line that sums it up.
summary() {
  local failed_stages=$1
  printf '\n=== minutes per stage\n'
  printf '%s\n' "${times[@]}"
  printf '%s all\n' "$(minutes $((SECONDS - began)))"
  printf '\n=== summary\n'
  cat "$logs"/* 2>/dev/null | awk -v f="$failed_stages" '
    /^suite [a-z]+: [0-9]+ passed/ {
      print
      for (i = 1; i < NF; i++) { if ($(i + 1) ~ /^passed/) p += $i; if ($(i + 1) ~ /^failed/) n += $i }
    }
    /^test result:/ {
      print
      for (i = 1; i < NF; i++) { if ($(i + 1) ~ /^passed/) p += $i; if ($(i + 1) ~ /^failed/) n += $i }
    }
    END { if (f && !n) n = f; printf "%d passed, %d failed\n", p, n }'
}

# debian COMMAND PACKAGE: installs a Debian package unless the command is there.
debian() {
  command -v "$1" >/dev/null && return
  [ "$(id -u)" -eq 0 ] || { echo "$1 is missing and this is not root: apt-get install $2"; return 1; }
  [ -n "${apt_updated:-}" ] || { apt-get update -qq; apt_updated=1; }
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null
  # Packages that start a service at once would hold the ports that benches use.
  command -v "$1" >/dev/null || { echo "$2 is installed and $1 is still missing"; return 1; }
}

# The command of the README's Nth `sh` block, as a newcomer would paste it.
readme_command() {
  awk -v want="$1" '/^```sh$/ { block++; inside = 1; next } /^```$/ { inside = 0 } inside && block == want' README.md
}

# The conformance tool as the tests have built it.
tool() { "$CARGO_TARGET_DIR/debug/rust-ingress-conformance" "$@"; }

# What the test cluster, its images and its suites call.
cluster_packages() {
  local need
  for need in ip:iproute2 nsenter:util-linux mount:mount sysctl:procps containerd:containerd runc:runc conntrack:conntrack \
    nft:nftables iptables:iptables busybox:busybox-static nc:netcat-openbsd dig:dnsutils socat:socat iperf:iperf wget:wget \
    python3:python3 curl:curl; do
    debian "${need%:*}" "${need#*:}"
  done
  debian /usr/lib/cni/bridge containernetworking-plugins
  python3 -m pip --version >/dev/null 2>&1 || debian pip3 python3-pip
}

# Kubernetes, etcd, Helm and the suites are built from Go modules beside the Rust tests, into the cache: 25 minutes on two
# cores when nothing is there, seconds when all is. `kubernetes` waits for it.
kubernetes_begin() {
  cargo build --quiet --locked -p rust-ingress-conformance
  {
    local status=0
    tool cluster build "$@" || status=$?
    echo "$status" >"$logs/kubernetes.status"
  } >"$logs/kubernetes.log" 2>&1 &
}

kubernetes() {
  while [ ! -e "$logs/kubernetes.status" ]; do sleep 1; done
  cat "$logs/kubernetes.log"
  [ "$(cat "$logs/kubernetes.status")" -eq 0 ]
}

# A cluster for the suites of one run; taken away however the run ends.
cluster_up() {
  tool cluster down
  tool cluster up "$@"
}

cluster_down() { tool cluster down; }

suite() { tool suite "$@"; }

# Toolchain, compiler and what tests of later stages call.
prepare() {
  command -v rustup >/dev/null || { echo "rustup is missing: see rust-toolchain.toml for the version to install"; return 1; }
  debian cc gcc
  debian curl curl
  [ -e /usr/include/stdio.h ] || debian ld.bfd libc6-dev
  rustup show active-toolchain
  cargo fmt --version || rustup component add rustfmt
  cargo clippy --version || rustup component add clippy
  # aws-lc brings its own assembly for the usual targets; elsewhere it is built with cmake.
  case "$(uname -m)" in x86_64 | aarch64) ;; *) debian cmake cmake ;; esac
  cluster_packages
}

format() { cargo fmt --all --check; }
lint() { cargo clippy --workspace --all-targets --locked -- -D warnings; }

# Licences, bans and sources need nothing but Cargo.lock. Advisories are left out: their database is fetched from a host
# that is not a package registry, which a CI without other network can't reach; `cargo deny check` by hand asks them too.
licences() {
  command -v cargo-deny >/dev/null || CARGO_TARGET_DIR="$cache/tools-target" cargo install --quiet --locked --root "$tools" cargo-deny
  cargo deny --locked check --hide-inclusion-graph licenses bans sources
}

# The README's test command, word for word.
tests() {
  local command
  command="$(readme_command 2)"
  [ "$command" = "cargo test --workspace" ] || { echo "README.md's second command is not the tests: $command"; return 1; }
  bash -c "$command"
}

# The README's first command, word for word; then each curl line that the program prints, also as HTTP/1.1 and as HTTP/2.
quickstart() {
  local command line version printed="$logs/printed"
  command="$(readme_command 1)"
  case "$command" in
    *"run --manifests examples/quickstart") ;;
    *) echo "README.md's first command is not the start: $command"; return 1 ;;
  esac
  cargo build --release
  bash -c "exec $command" >"$printed" 2>&1 &
  program=$!
  trap 'kill "$program" 2>/dev/null || true' EXIT
  for _ in $(seq 100); do
    curl -sf -m 2 -o /dev/null http://127.0.0.1:9902/readyz && break
    kill -0 "$program"
    sleep 0.1
  done
  cat "$printed"
  grep -o 'curl .*' "$printed" >"$printed.curl"
  grep -q 'http://' "$printed.curl" && grep -q 'https://' "$printed.curl" || { echo "no curl line for HTTP and HTTPS"; return 1; }
  while read -r line; do
    case "$line" in *https://*) version=--http2 ;; *) version=--http2-prior-knowledge ;; esac
    ask "$line" 1.1 --http1.1
    ask "$line" 2 "$version"
  done <"$printed.curl"
  kill -TERM "$program"
  wait "$program"
  trap - EXIT
  echo "SIGTERM → exit status 0"
}

# ask CURL-LINE HTTP-VERSION OPTION: a curl line as printed, with one option more; must be answered 200 in that version.
ask() {
  local got
  got="$(bash -c "$1 $3 -sS -m 5 -o /dev/null -w '%{http_code} %{http_version}'")"
  printf '%s %s → %s\n' "$1" "$3" "$got"
  [ "$got" = "200 $2" ] || { echo "expected 200 $2"; return 1; }
}
