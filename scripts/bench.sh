#!/usr/bin/env bash
# Measures this machine and keeps the raw results in benches/results/<date>/ (benches/README.md).
#
#   scripts/bench.sh            everything, below 45 minutes
#   scripts/bench.sh profile    where our caller's CPU time goes at half of its clean rate (perf)
#
# BENCH_QUICK=1       below 3 minutes, to see that the rig works; the figures mean nothing
# BENCH_PARTS="..."   some of: limit micro rate cpu memory start lateness mechanisms transports
#                     tracing media daemon
# BENCH_CPUS=0,1      cores of the answering and the calling side (default: the first two)
# BENCH_OUT=DIR       another directory for the results
#
# Exits with 0 if everything was measured, whatever came out; the table says which bars are met.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
mode=${1:-bench}
quick=${BENCH_QUICK:-}
parts=${BENCH_PARTS:-limit micro rate cpu memory start lateness mechanisms transports tracing media daemon}

case $mode in
    bench | profile) ;;
    *)
        echo "usage: scripts/bench.sh [profile]" >&2
        exit 2
        ;;
esac
if [ "$mode" = profile ]; then
    parts=
    if ! PATH="$PATH:/usr/sbin:/sbin" command -v perf >/dev/null; then
        echo "bench: profiling needs perf; on Debian: apt-get install linux-perf" >&2
        exit 1
    fi
fi
measures() { [[ " $parts " = *" $1 "* ]]; }

scripts/deps.sh

# A quiet machine first: no compiler may run beside the measurements.
"$cargo" build --locked --release --bin gossipper
if measures limit; then "$cargo" bench --locked -p gossipper-uring --bench limit --no-run; fi
if measures media; then "$cargo" bench --locked -p gossipper-uring --bench rtp_limit --no-run; fi
if measures micro; then "$cargo" bench --locked --bench parse --bench engine --bench media --no-run; fi
target_dir=$("$cargo" metadata --locked --no-deps --format-version 1 \
    | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')

# Results of an earlier run of the day are kept; quick ones are not worth it.
out=${BENCH_OUT:-}
if [ -z "$out" ]; then
    day=benches/results/$(date -u +%F)
    if [ -n "$quick" ]; then
        out=$day-quick
        if [ "$mode" = bench ]; then rm -rf "$out"; fi
    elif [ "$mode" = profile ]; then
        out=$day
    else
        out=$day
        number=2
        while [ -e "$out/summary.md" ]; do
            out=$day-$number
            number=$((number + 1))
        done
    fi
fi
mkdir -p "$out"

# As a function, so that an interrupt ends what runs and then the script.
rig() { PYTHONPATH=benches PYTHONDONTWRITEBYTECODE=1 python3 -m rig "$@"; }

rig_options=(--gossipper "$target_dir/release/gossipper" --out "$out" --earlier benches/results)
if [ -n "$quick" ]; then rig_options+=(--quick); fi
if [ "$mode" = profile ]; then
    rig "${rig_options[@]}" --profile
    exit
fi

PYTHONPATH=benches PYTHONDONTWRITEBYTECODE=1 python3 -m rig.quiet

if measures limit; then
    echo "limit: the bare drivers, half a minute"
    # A failure shows in the table as not measured.
    "$cargo" bench --locked -p gossipper-uring --bench limit >"$out/limit.csv" || true
fi
if measures media; then
    echo "media: the kernel alone, some seconds"
    "$cargo" bench --locked -p gossipper-uring --bench rtp_limit >"$out/rtp_limit.csv" || true
fi
if measures micro; then
    echo "micro: parser, engine and media without a kernel, three minutes"
    criterion=(--quiet --warm-up-time 0.5 --measurement-time 1)
    if [ -n "$quick" ]; then
        criterion=(--quiet --warm-up-time 0.05 --measurement-time 0.1 --sample-size 10)
    fi
    "$cargo" bench --locked --bench parse --bench engine --bench media -- --noplot --discard-baseline "${criterion[@]}" \
        >"$out/micro.txt" 2> >(grep -v '^Benchmarking ' >&2) || true
fi
status=0
rig "${rig_options[@]}" --parts "$parts" || status=$?
echo
echo "Results: $out"
exit "$status"
