#!/bin/sh
# Runs the driver tests under AddressSanitizer: this crate holds all `unsafe` of the product, and hands
# memory to the kernel. Needs a nightly toolchain; extra arguments go to `cargo test`.
set -eu
cd "$(dirname "$0")/.."
target=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR="${SANITIZE_TARGET_DIR:-${CARGO_TARGET_DIR:-target}/sanitize}"
export RUSTFLAGS="-Zsanitizer=address${RUSTFLAGS:+ $RUSTFLAGS}"
# A driver that cannot get its memory back from the kernel leaks it on purpose.
export ASAN_OPTIONS="detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
exec cargo +nightly test --locked -p gossipper-uring --target "$target" --lib --tests "$@"
