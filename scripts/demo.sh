#!/usr/bin/env bash
# Shows the tool at work on this machine: one gossipper answers calls on a loopback port, another
# places them and reports. Ends with the exit code of the caller.
#
# DEMO_CALLS, DEMO_RATE (per second) and DEMO_HOLD_MS change the load; GOSSIPPER names a binary to
# use instead of building one.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
calls=${DEMO_CALLS:-20000}
rate=${DEMO_RATE:-2000}
hold_ms=${DEMO_HOLD_MS:-200}

gossipper=${GOSSIPPER:-}
if [ -z "$gossipper" ]; then
    "$cargo" build --locked --release --bin gossipper
    target_dir=$("$cargo" metadata --locked --no-deps --format-version 1 \
        | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    gossipper=$target_dir/release/gossipper
fi

# Whether the UDP port is bound on this machine, by anyone.
is_bound() {
    grep -qi "^ *[0-9]*: [0-9A-F]*:$(printf '%04X' "$1") " /proc/net/udp /proc/net/udp6 2>/dev/null
}

# Below the usual range of ports that the kernel hands out by itself.
free_port() {
    local port
    for _ in $(seq 100); do
        port=$((20000 + RANDOM % 10000))
        is_bound "$port" || { echo "$port"; return; }
    done
    echo "demo: found no free port" >&2
    return 1
}

port=$(free_port)
dir=$(mktemp -d "${TMPDIR:-/tmp}/gossipper-demo.XXXXXX")
uas_log=$dir/uas.log
uas_pid=

# Asks the answering side to finish; it ends its calls and writes its report before it exits.
stop_uas() {
    [ -n "$uas_pid" ] || return 0
    kill -INT "$uas_pid" 2>/dev/null || true
    for _ in $(seq 150); do
        kill -0 "$uas_pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$uas_pid" 2>/dev/null || true
    wait "$uas_pid" 2>/dev/null || true
    uas_pid=
}
trap stop_uas EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Job control for one command: without it a background process starts with SIGINT ignored, and with
# it a Ctrl-C on the terminal reaches the caller only, so that the answering side outlives it.
set -m
"$gossipper" -sn uas -i 127.0.0.1 -p "$port" -nostdin -workers 1 \
    -summary_json "$dir/uas.json" </dev/null >"$uas_log" 2>&1 &
uas_pid=$!
set +m

for _ in $(seq 100); do
    is_bound "$port" && break
    kill -0 "$uas_pid" 2>/dev/null || break
    sleep 0.05
done
if ! is_bound "$port"; then
    echo "demo: the answering side did not start:" >&2
    cat "$uas_log" >&2
    exit 1
fi

echo "Answering on 127.0.0.1:$port. Placing $calls calls at $rate per second, held for $hold_ms ms."
echo
status=0
"$gossipper" -sn uac -i 127.0.0.1 -rsa "127.0.0.1:$port" -m "$calls" -r "$rate" -d "$hold_ms" \
    -workers 1 -summary_json "$dir/uac.json" || status=$?

echo "Stopping the answering side, which remembers each call for 4 s to repeat its last answer."
stop_uas
echo
echo "The answering side:"
# Its report, without what it printed on the way; everything if there is none.
if grep -q '^Calls ' "$uas_log"; then
    sed -n '/^Calls /,$p' "$uas_log"
else
    cat "$uas_log"
fi
echo
echo "Summaries: $dir/uac.json $dir/uas.json"
echo "The caller's exit code: $status"
exit "$status"
