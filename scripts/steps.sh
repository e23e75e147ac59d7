# Shared by test.sh and accept.sh: where things are, what must be installed, steps with their times. Sourced, not run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${SALLYPORT_TEST_CACHE:-$root/.cache}
logs=$cache/logs
npm_home=$cache/npm

# have_go finds the Go command where its own installer puts it, if PATH does not have it.
have_go() {
  command -v go >/dev/null && return
  [ -x /usr/local/go/bin/go ] && PATH=$PATH:/usr/local/go/bin && return
  echo "error: no go command" >&2
  echo "hint: install Go 1.26 or later and put it on PATH" >&2
  return 1
}

# as_root runs a command as root, through sudo when we are not.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# need_packages installs the Debian packages the race detector and the outside programs need, if one is missing.
need_packages() {
  local missing=()
  command -v gcc >/dev/null || missing+=(gcc libc6-dev)
  [ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
  { command -v node && command -v npm; } >/dev/null || missing+=(nodejs npm)
  command -v curl >/dev/null || missing+=(curl ca-certificates)
  [ ${#missing[@]} = 0 ] && return
  if ! command -v apt-get >/dev/null; then
    echo "error: missing: ${missing[*]}" >&2
    echo "hint: no apt-get here; install them by hand" >&2
    return 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  as_root apt-get update -q && as_root apt-get install -q -y --no-install-recommends "${missing[@]}" && return
  echo "error: cannot install ${missing[*]}" >&2
  echo "hint: run as root, or install them first" >&2
  return 1
}

# need_npm installs what scripts/npm locks into the cache, Node 22 among it, and puts it first on PATH. No package's
# own install script is run: nothing locked needs one.
need_npm() {
  local stamp arch
  stamp=$(cat "$root"/scripts/npm/package-lock.json "$root"/scripts/npm/.npmrc | sha256sum | cut -c1-16)-$(uname -m)
  if [ "$(cat "$npm_home/.stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$npm_home" && mkdir -p "$npm_home" || return
    cp "$root"/scripts/npm/package.json "$root"/scripts/npm/package-lock.json "$root"/scripts/npm/.npmrc "$npm_home/" || return
    (cd "$npm_home" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) || return
    # Older npm installs this package but does not link its program.
    case $(uname -m) in aarch64) arch=arm64 ;; *) arch=x64 ;; esac
    ln -sf "../node-linux-$arch/bin/node" "$npm_home/node_modules/.bin/node" || return
    echo "$stamp" >"$npm_home/.stamp"
  fi
  PATH=$npm_home/node_modules/.bin:$PATH
  node --version | grep -q '^v22\.' && return
  echo "error: the cached Node is not version 22: $(node --version)" >&2
  echo "hint: remove $npm_home and run again; prebuilt Node exists here for Linux on x64 and arm64" >&2
  return 1
}

# clock prints whole seconds since an arbitrary moment.
clock() { echo "$SECONDS"; }

failed=()

# step NAME COMMAND... runs the command with its output in a log, prints its time, and on failure its whole output.
# With "loud" before NAME the output is printed as it comes too.
step() {
  local loud=
  [ "$1" = loud ] && loud=1 && shift
  local name=$1 began log status
  shift
  log=$logs/${name//[^a-zA-Z0-9]/-}.log
  began=$(clock)
  printf '==> %s\n' "$name"
  if [ -n "$loud" ]; then
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
  else
    "$@" >"$log" 2>&1
    status=$?
    [ "$status" = 0 ] || cat "$log"
  fi
  if [ "$status" = 0 ]; then
    printf '    ok (%s s)\n' "$(($(clock) - began))"
  else
    printf '    FAILED: %s (%s s)\n' "$name" "$(($(clock) - began))"
    failed+=("$name")
  fi
  return "$status"
}

# prepare makes everything ready that the tests need, and is not counted as a test.
prepare() {
  cd "$root" || return
  mkdir -p "$logs" || return
  # A checkout owned by another user makes git refuse, and with it the stamping of builds.
  export GOFLAGS="${GOFLAGS:+$GOFLAGS }-buildvcs=false"
  export SALLYPORT_TEST_FULL=1 SALLYPORT_TEST_CACHE=$cache
  have_go && step "install missing packages" need_packages && step "outside programs" need_npm
}
