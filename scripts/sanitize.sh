#!/usr/bin/env bash
# Runs the tests of uring/ under AddressSanitizer (uring/sanitize.sh). Needs a nightly toolchain
# beside the stable one.
#
# --if-possible: without a nightly toolchain, say so and succeed. `make test` uses it, so that a
# machine with stable Rust only can run the rest. What follows goes to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! rustc +nightly --version >/dev/null 2>&1; then
    message="no nightly toolchain; rustup toolchain install nightly --profile minimal"
    if [ "${1:-}" = --if-possible ]; then
        echo "sanitize: NOT RUN: $message"
        exit 0
    fi
    echo "sanitize: $message" >&2
    exit 1
fi
[ "${1:-}" != --if-possible ] || shift
exec uring/sanitize.sh "$@"
