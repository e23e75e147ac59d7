#!/usr/bin/env bash
# THE test command: everything, with the race detector, nothing skipped. Runs on a Debian with Go and git, as root or
# not, and installs what is missing. Lines with large counts run a tenth here and in full in scripts/accept.sh.
#
#   scripts/test.sh            all steps
#   FUZZ_SECONDS=60 scripts/test.sh    longer fuzzing (seconds for all targets together; default 90)
set -uo pipefail
# shellcheck source=scripts/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

tool() { go tool -modfile=tools/go.mod "$@"; }

gofiles() { find . -name '*.go' -not -path './.git/*' -not -path './.cache/*' -not -path './out/*'; }

check_format() {
  local bad
  bad=$(gofiles | xargs gofmt -l) || return
  bad+=$(gofiles | xargs go tool -modfile=tools/go.mod gofumpt -l) || return
  [ -z "$bad" ] && return
  echo "not formatted (gofmt -w, go tool -modfile=tools/go.mod gofumpt -w):"
  echo "$bad"
  return 1
}

# other_system checks that the program compiles for a system the tests do not run on.
other_system() {
  GOOS=$1 GOARCH=amd64 CGO_ENABLED=0 go build ./... && GOOS=$1 GOARCH=amd64 CGO_ENABLED=0 go vet ./...
}

static_build() { CGO_ENABLED=0 go build -trimpath -o "$cache/bin/sallyport" ./cmd/sallyport && "$cache/bin/sallyport" version; }

# race_tests shows one line per package that passes and everything of one that does not. Verbose output goes to the
# log, so that tests can be counted and a skipped one found: none may skip here.
race_tests() {
  local log=$logs/tests-verbose.log status
  go test -race -v -count=1 -timeout=15m ./... 2>&1 | tee "$log" | awk '
    { part = part $0 "\n" }
    /^ *--- SKIP/ { skips = skips $0 "\n" }
    /^(ok|\?)[ ]*\t/ || /^\t.*coverage: / { printf "%s", $0 "\n"; part = "" }
    /^FAIL\t/ { printf "%s", part; part = "" }
    END { printf "%s", part; printf "%s", skips }'
  status=${PIPESTATUS[0]}
  local passed skipped
  passed=$(grep -c '^ *--- PASS' "$log")
  skipped=$(grep -c '^ *--- SKIP' "$log")
  echo "tests passed: $passed, failed: $(grep -c '^ *--- FAIL' "$log"), skipped: $skipped"
  [ "$skipped" = 0 ] || { echo "no test may skip here"; return 1; }
  return "$status"
}

# late reports whether a fuzzing failure says nothing but that the time was up.
late() {
  printf '%s\n' "$1" | grep -qE '^    context deadline exceeded$' &&
    ! printf '%s\n' "$1" | grep -qE 'Failing input|panic|\.go:[0-9]+:'
}

# fuzz_all gives every fuzz target a few seconds: at most five, fewer when there are many of them.
fuzz_all() {
  local targets count seconds status=0 line name dir
  targets=$(grep -rnE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*\(' . | grep -v '^\./\.cache/' | sed -E 's|^(.*)/[^/]*:[0-9]+:func (Fuzz[A-Za-z0-9_]*).*|\1 \2|' | sort -u)
  count=$(printf '%s' "$targets" | grep -c .)
  [ "$count" = 0 ] && echo "no fuzz targets" && return
  seconds=$((${FUZZ_SECONDS:-90} / count))
  [ "$seconds" -gt 5 ] && [ -z "${FUZZ_SECONDS:-}" ] && seconds=5
  [ "$seconds" -lt 1 ] && seconds=1
  while read -r dir name; do
    if ! line=$(go test -run='^$' -fuzz="^$name\$" -fuzztime="${seconds}s" "$dir" 2>&1); then
      # Go's fuzzer sometimes reports its own end of time as a failure (golang/go#75804): no input was found then.
      if late "$line"; then line+=$'\n'"fuzz: elapsed: ended late, no failing input"; else status=1; printf '%s\n' "$line"; fi
    fi
    printf '%s %s: %s\n' "$dir" "$name" "$(printf '%s\n' "$line" | grep -E '^fuzz: elapsed' | tail -n 1)"
  done <<<"$targets"
  return "$status"
}

demo_once() { "$cache/bin/sallyport" demo --once; }

main() {
  local began
  began=$(clock)
  if ! prepare; then
    failed+=("prepare")
  else
    step "gofmt and gofumpt" check_format
    step "vet" go vet ./...
    step "staticcheck" tool staticcheck ./...
    step loud "house" go test -count=1 ./internal/house/
    step loud "build without cgo" static_build
    step "windows: build and vet" other_system windows
    step "darwin: build and vet" other_system darwin
    step loud "tests with the race detector" race_tests
    step loud "fuzzing" fuzz_all
    step loud "demo --once" demo_once
  fi
  echo
  if [ ${#failed[@]} = 0 ]; then
    echo "PASS: every step ($(($(clock) - began)) s)"
    return 0
  fi
  printf 'FAIL: %s (%s s)\n' "$(printf '%s; ' "${failed[@]}" | sed 's/; $//')" "$(($(clock) - began))"
  return 1
}

main
