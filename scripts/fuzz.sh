#!/usr/bin/env bash
# Fuzzes all targets and says what came of it. Findings and logs stay in fuzz/artifacts/, what was
# discovered in fuzz/corpus/, the report in fuzz/reports/.
# Usage: scripts/fuzz.sh campaign   all targets for HOURS (1) together, JOBS (1) at once, by their
#                                   weights in fuzz/targets.txt; then corpora are minimised
#        scripts/fuzz.sh smoke      each target for FUZZ_SECONDS (60)
#        scripts/fuzz.sh replay     what is in the corpora and seeds, once, under AddressSanitizer
#        scripts/fuzz.sh pack       the minimised corpora into fuzz/seeds/, to be committed
# FUZZ_TARGETS: only these. FUZZ_SANITIZER: as for cargo fuzz, none if not set: our code has no
# `unsafe` outside of uring/, which has tests of its own under AddressSanitizer, and an execution costs
# less without. What was discovered can be replayed with it.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
mode=${1:-campaign}
hours=${HOURS:-1}
jobs=${JOBS:-1}
# Findings of one target after which the rest of its time is given up.
findings_max=10
# Bytes of a packed corpus at most.
packed_max=150000

fail() {
    echo "fuzz: $*" >&2
    exit 1
}

prepare() {
    rustc +nightly --version >/dev/null 2>&1 \
        || fail "no nightly toolchain; rustup toolchain install nightly --profile minimal"
    if ! "$cargo" fuzz --version >/dev/null 2>&1; then
        echo "fuzz: installing cargo-fuzz (once)"
        "$cargo" install --locked cargo-fuzz
    fi
    fuzz/seed.sh
    host=$(rustc +nightly -vV | sed -n 's/^host: //p')
    all=$("$cargo" +nightly fuzz list)
    [ -n "$all" ] || fail "there are no targets in fuzz/"
    targets=${FUZZ_TARGETS:-$all}
    for target in $all; do
        [ -n "$(setting "$target" 2)" ] || fail "fuzz/targets.txt has no row for $target"
    done
}

# A column of a target's row.
setting() {
    awk -v target="$1" -v column="$2" '$1 == target { print $column }' fuzz/targets.txt
}

# Comparisons are not traced: that takes up to two thirds of the time, and the words that it would find
# are in the dictionaries and the kept corpora.
build() {
    "$cargo" +nightly fuzz build --sanitizer "$1" --no-trace-compares
}

# The program of a target, and what every run of it is given.
program() {
    local target=$1 words
    command=("fuzz/target/$host/release/$target" -timeout=10 -rss_limit_mb=2048
        -max_len="$(setting "$target" 3)" -print_final_stats=1 -verbosity=1
        -artifact_prefix="fuzz/artifacts/$target/")
    words=$(setting "$target" 4)
    [ "$words" = - ] || command+=(-dict="fuzz/$words.dict")
    mkdir -p "fuzz/artifacts/$target" "fuzz/corpus/$target"
    # The first directory takes what the fuzzer discovers, the others are only read.
    corpora=("fuzz/corpus/$target")
    [ ! -d "fuzz/seeds/$target" ] || corpora+=("fuzz/seeds/$target")
}

# Runs a target for so many seconds; after a finding, for the rest of them.
run() {
    local target=$1 seconds=$2 log=$3/$1.log begin end left findings=0 status
    program "$target"
    : > "$log"
    begin=$(date +%s)
    end=$((begin + seconds))
    while left=$((end - $(date +%s))) && [ "$left" -gt 0 ]; do
        status=0
        "${command[@]}" "${corpora[@]}" -max_total_time="$left" >> "$log" 2>&1 || status=$?
        [ "$status" -ne 0 ] || break
        findings=$((findings + 1))
        echo "fuzz: FINDING in $target, see $log" >&2
        [ "$findings" -lt "$findings_max" ] || break
    done
    echo "findings: $findings in $(($(date +%s) - begin)) s" >> "$log"
    row "$target" "$log"
}

# A row of the report, from the log of a target.
row() {
    awk -v target="$1" '
        /^stat::number_of_executed_units:/ { executions += $2 }
        / cov: / {
            for (at = 1; at < NF; at++) {
                if ($at == "cov:") edges = $(at + 1)
                if ($at == "ft:") features = $(at + 1)
                if ($at == "corp:") corpus = $(at + 1)
            }
        }
        /^findings:/ { findings = $2; seconds = $4 }
        END {
            rate = seconds > 0 ? executions / seconds : 0
            printf "%-17s %13d %9d %8d %9d  %-14s %8d\n", target, executions, rate, edges, features,
                corpus, findings
        }' "$2"
}

# The rows of a report, with a head and a sum.
report() {
    printf '%-17s %13s %9s %8s %9s  %-14s %8s\n' target executions per_s edges features corpus findings
    sort "$1"
    awk '{ executions += $2; findings += $NF }
        END { printf "%-17s %13d %43s %10d\n", "all", executions, "", findings }' "$1"
}

# Keeps of a corpus what covers as much as all of it.
minimise() {
    local target=$1 log=$2/$1.merge.log new=fuzz/corpus/.$1.new
    program "$target"
    rm -rf "$new"
    mkdir -p "$new"
    if "${command[@]}" -merge=1 "$new" "fuzz/corpus/$target" > "$log" 2>&1; then
        rm -rf "fuzz/corpus/$target"
        mv "$new" "fuzz/corpus/$target"
    else
        rm -rf "$new"
        echo "fuzz: the corpus of $target stays as it is: $log" >&2
    fi
}

# All targets, JOBS at once, each for `seconds_of` it; with `minimised`, their corpora after that.
campaign() {
    local stamp folder rows target
    stamp=$(date -u +%Y%m%dT%H%M%SZ)
    folder=fuzz/artifacts/logs/$stamp
    mkdir -p "$folder" fuzz/reports
    rows=$folder/rows
    : > "$rows"
    for target in $targets; do
        while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
        echo "fuzz: $target for $(seconds_of "$target") s" >&2
        run "$target" "$(seconds_of "$target")" "$folder" >> "$rows" &
    done
    wait
    if [ "$1" = minimised ]; then
        echo "fuzz: minimising the corpora"
        for target in $targets; do
            while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
            minimise "$target" "$folder" &
        done
        wait
    fi
    report "$rows" | tee "fuzz/reports/$stamp.txt"
    echo "fuzz: fuzz/reports/$stamp.txt"
    awk '$1 == "all" { exit $NF > 0 }' "fuzz/reports/$stamp.txt" \
        || fail "FAILED: there are findings in fuzz/artifacts/"
}

# Packs a minimised corpus, the short inputs of a large one.
pack() {
    local target=$1 list archive=fuzz/seeds/$1.tar.gz count
    [ -d "fuzz/corpus/$target" ] || return 0
    list=$(mktemp)
    find "fuzz/corpus/$target" -type f -printf '%s %f\n' | sort -n | awk '{ print $2 }' > "$list"
    count=$(wc -l < "$list")
    while :; do
        head -n "$count" "$list" | sort | tar -C "fuzz/corpus/$target" --mtime=@0 --owner=0 --group=0 \
            --numeric-owner --mode=644 --format=ustar -cf - -T - | gzip -9n > "$archive"
        [ "$(stat -c %s "$archive")" -gt "$packed_max" ] || break
        count=$((count * 9 / 10))
    done
    echo "fuzz: $archive: $count of $(wc -l < "$list") inputs, $(stat -c %s "$archive") bytes"
    rm "$list"
}

case $mode in
campaign)
    prepare
    build "${FUZZ_SANITIZER:-none}"
    total=0
    for target in $targets; do total=$((total + $(setting "$target" 2))); done
    seconds_of() {
        awk -v hours="$hours" -v jobs="$jobs" -v total="$total" -v weight="$(setting "$1" 2)" \
            'BEGIN { printf "%d", hours * 3600 * jobs * weight / total }'
    }
    campaign minimised
    ;;
smoke)
    prepare
    build "${FUZZ_SANITIZER:-none}"
    seconds_of() { echo "${FUZZ_SECONDS:-60}"; }
    campaign kept
    echo "fuzz: all targets passed"
    ;;
replay)
    prepare
    build address
    for target in $targets; do
        program "$target"
        echo "fuzz: $target, $(find "${corpora[@]}" -type f | wc -l) inputs"
        "${command[@]}" "${corpora[@]}" -runs=0 > "fuzz/artifacts/$target.replay.log" 2>&1 \
            || fail "FAILED: $target, see fuzz/artifacts/$target.replay.log"
    done
    ;;
pack)
    prepare
    for target in $targets; do pack "$target"; done
    ;;
*) fail "campaign, smoke, replay or pack, not $mode" ;;
esac
