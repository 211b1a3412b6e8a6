#!/usr/bin/env bash
# All checks that a change must pass, but for the formatting. End-to-end tests mostly wait when they
# run, so what only compiles (clippy, the documentation, the sanitizer's build) has that time: it runs
# beside them, with a priority below theirs.
#
# Every step says at its end what it took, by the clock and of the processors.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}

# step NAME COMMAND [ARGUMENT...]
step() {
    local TIMEFORMAT="== $1: %0R s; of the processors %0U s, and %0S s in the kernel"
    shift
    time "$@"
}

# Runs a command when no test wants the processor.
idle() {
    local chrt=(chrt --idle 0)
    "${chrt[@]}" true 2>/dev/null || chrt=(nice -n 19)
    "${chrt[@]}" "$@"
}

build() {
    "$cargo" test --locked --workspace --no-run &&
        "$cargo" test --locked --package gossipper-uring --all-features --no-run
}

beside() {
    step "clippy" idle make clippy &&
        step "documentation" idle make doc &&
        step "build for the sanitizer" idle scripts/sanitize.sh --if-possible --no-run &&
        step "fuzz targets" idle env RUSTFLAGS="--cfg fuzzing" "$cargo" check --locked --manifest-path fuzz/Cargo.toml
}

log=$(mktemp)
# Each lane is a group of processes, so that nothing of it outlives this script.
set -m
end() {
    local lane
    for lane in $(jobs -p); do kill -- "-$lane" 2>/dev/null || true; done
    rm -f "$log"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step "build of the tests" build
step "tests but for the end-to-end ones" make most
step "end-to-end tests" make e2e </dev/null &
# Their cargo takes the lock of the build folder, and gives it back before the first test.
sleep 5
beside </dev/null >"$log" 2>&1 &
# The first one that fails ends both.
status=0
{ wait -n && wait -n; } || status=$?
cat "$log"
[ "$status" = 0 ] || exit "$status"
step "sanitizer" scripts/sanitize.sh --if-possible
step "schemathesis" scripts/schemathesis.sh --if-possible
