#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS (60 if not set): not a campaign, but enough to notice a
# target that no longer builds or falls over at once. Findings stay in fuzz/artifacts/.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
seconds=${FUZZ_SECONDS:-60}

if ! rustc +nightly --version >/dev/null 2>&1; then
    echo "fuzz: no nightly toolchain; rustup toolchain install nightly --profile minimal" >&2
    exit 1
fi
if ! "$cargo" fuzz --version >/dev/null 2>&1; then
    echo "fuzz: installing cargo-fuzz (once)"
    "$cargo" install --locked cargo-fuzz
fi
[ ! -x fuzz/seed.sh ] || fuzz/seed.sh

targets=$("$cargo" +nightly fuzz list)
[ -n "$targets" ] || { echo "fuzz: there are no targets in fuzz/" >&2; exit 1; }
"$cargo" +nightly fuzz build
failed=()
for target in $targets; do
    echo "fuzz: $target for $seconds s"
    # The first directory takes what the fuzzer discovers, the others are only read.
    corpora=("fuzz/corpus/$target")
    mkdir -p "${corpora[0]}"
    [ ! -d "fuzz/seeds/$target" ] || corpora+=("fuzz/seeds/$target")
    "$cargo" +nightly fuzz run "$target" "${corpora[@]}" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        || failed+=("$target")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "fuzz: FAILED: ${failed[*]}" >&2
    exit 1
fi
echo "fuzz: all targets passed"
