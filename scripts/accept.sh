#!/usr/bin/env bash
# Acceptance with full counts: one line for each acceptance line of every finished issue, such as
#
#   accept 2.1 the demonstration shows every layer ... ok (12 s)
#
#   scripts/accept.sh            every line
#   scripts/accept.sh 2.5 2.7    the lines whose number starts with one of these
#
# The whole output of a line is in .cache/logs. Exits 1 when a line fails.
set -uo pipefail
# shellcheck source=scripts/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

# The table: number, kind, what to run, words. Kinds: test (a Go test by its name), bench (every benchmark), script.
lines() {
  cat <<'TABLE'
2.1|test|TestAcceptDemo|the demonstration shows every layer
2.2|script|scripts/test.sh|the test command passes
2.3|test|TestAcceptConformance|published conformance through the gateway equals the direct run
2.4|test|TestAcceptInspector|real servers and a real client behind wrap
2.5|test|TestAcceptKeepAlive|keep-alive calls through SSE, none lost
2.6a|test|TestAcceptCountsAgree|client, upstream and log counts agree
2.6b|test|TestAcceptCanary|no secret comes out anywhere
2.7a|test|TestAcceptRevokeUnderLoad|a revoked key ends at once
2.7b|test|TestAcceptKill9|no answered call without a record after kill -9
2.8|test|TestEquivalence|gateway and library decide and record alike
2.9|bench|.|benchmarks of each layer and of the whole path
TABLE
}

# run_test runs one Go test where it is declared. A test that does not exist, does not run or is skipped has failed.
run_test() {
  local dir out status
  dir=$(grep -rlE --include='*_test.go' "^func $1\(" . | grep -v '^\./\.cache/' | head -n 1)
  [ -n "$dir" ] || { echo "no test is called $1"; return 1; }
  out=$(go test -count=1 -v -timeout=60m -run "^$1\$" "$(dirname "$dir")" 2>&1)
  status=$?
  printf '%s\n' "$out"
  [ "$status" = 0 ] && grep -q "^--- PASS: $1 " <<<"$out" && ! grep -q '^ *--- SKIP' <<<"$out"
}

run_bench() {
  local dirs
  dirs=$(grep -rlE --include='*_test.go' '^func Benchmark[A-Z]' . | grep -v '^\./\.cache/' | xargs -r -n 1 dirname | sort -u)
  [ -n "$dirs" ] || { echo "there are no benchmarks"; return 1; }
  # shellcheck disable=SC2086 # One argument for each folder.
  go test -run '^$' -bench "$1" -benchmem -timeout=30m $dirs
}

wanted() {
  local number=$1 prefix
  shift
  [ $# = 0 ] && return
  for prefix in "$@"; do [[ $number == "$prefix"* ]] && return; done
  return 1
}

main() {
  local number kind what words began log failures=0 ran=0
  prepare || return 1
  export SALLYPORT_TEST_COUNTS=full
  while IFS='|' read -r number kind what words <&3; do
    wanted "$number" "$@" || continue
    printf 'accept %s %s ... ' "$number" "$words"
    began=$(clock) log=$logs/accept-$number.log
    case $kind in
      test) run_test "$what" >"$log" 2>&1 ;;
      bench) run_bench "$what" >"$log" 2>&1 ;;
      script) env -u SALLYPORT_TEST_COUNTS bash "$what" >"$log" 2>&1 ;;
    esac
    if [ $? = 0 ]; then
      printf 'ok (%s s)\n' "$(($(clock) - began))"
    else
      printf 'FAILED (%s s), see %s\n' "$(($(clock) - began))" "$log"
      tail -n 30 "$log" | sed 's/^/    /'
      failures=$((failures + 1))
    fi
    ran=$((ran + 1))
  done 3< <(lines)
  echo
  echo "$((ran - failures)) of $ran acceptance lines hold"
  [ "$ran" -gt 0 ] && [ "$failures" = 0 ]
}

main "$@"
