#!/usr/bin/env bash
# Shows the daemon at work on this machine: one process that answers calls on a loopback port and
# places them there, with its status page, watched over its API. Beside it, two processes make calls
# with audio in both directions. Ends by itself, with a summary and with exit code 0 if no call
# failed and all audio was heard.
#
# DEMO_SECONDS, DEMO_RATE (calls per second at the end) and DEMO_AUDIO_CALLS change the load;
# GOSSIPPER names a binary to use instead of building one.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
seconds=${DEMO_SECONDS:-20}
rate=${DEMO_RATE:-500}
audio_calls=${DEMO_AUDIO_CALLS:-60}

gossipper=${GOSSIPPER:-}
if [ -z "$gossipper" ]; then
    # Built for this in half the time of a release (Cargo.toml), and without events to collectors.
    "$cargo" build --locked --profile demo --no-default-features --bin gossipper
    target_dir=$("$cargo" metadata --locked --no-deps --format-version 1 \
        | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    gossipper=$target_dir/demo/gossipper
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
audio_port=$(free_port)
dir=$(mktemp -d "${TMPDIR:-/tmp}/gossipper-demo.XXXXXX")
cat >"$dir/demo.json" <<JSON
{
  "api_addr": "127.0.0.1:0",
  "server": {
    "id": "management", "role": "management", "scenario_name": "uas",
    "transport": "u1", "local_ip": "127.0.0.1", "local_port": $port
  },
  "clients": [{
    "id": "load", "role": "load", "scenario_name": "uac", "transport": "u1",
    "local_ip": "127.0.0.1", "local_port": 0, "remote_addr": "127.0.0.1:$port",
    "rate": $((rate / 5 + 1)), "total_calls": 0, "summary_json": "$dir/load.json"
  }]
}
JSON

pid=
audio=()
stop() {
    [ -n "$pid" ] || return 0
    kill -TERM "$pid" 2>/dev/null || true
    for _ in $(seq 400); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    pid=
}
end() {
    stop
    local process
    for process in "${audio[@]}"; do kill -TERM "$process" 2>/dev/null || true; done
    wait
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$gossipper" server -config "$dir/demo.json" </dev/null >"$dir/daemon.log" 2>&1 &
pid=$!

address=
for _ in $(seq 100); do
    address=$(sed -n 's,.*status page on http://\([^/]*\)/.*,\1,p' "$dir/daemon.log")
    [ -z "$address" ] || break
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
done
if [ -z "$address" ]; then
    echo "demo: the daemon did not start:" >&2
    cat "$dir/daemon.log" >&2
    exit 1
fi

# Asks the API without any program but this one: ask METHOD PATH [BODY]
ask() {
    local body=${3:-}
    exec 3<>"/dev/tcp/${address%:*}/${address##*:}"
    printf '%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' \
        "$1" "$2" "$address" "${#body}" "$body" >&3
    sed '1,/^\r$/d' <&3
    exec 3>&-
}

# A number of the engine that places calls, which comes second.
figure() {
    sed "s/.*\"id\":\"load\"//; s/.*\"$1\":\([0-9.]*\).*/\1/" <<<"$stats"
}

# Ten calls with audio a second, each for 11 s: the tone of either side is to be heard by the other.
"$gossipper" -sn uas_media -i 127.0.0.1 -p "$audio_port" -m "$audio_calls" </dev/null >"$dir/phones.log" 2>&1 &
audio+=($!)
until is_bound "$audio_port" || ! kill -0 "${audio[0]}" 2>/dev/null; do sleep 0.1; done
"$gossipper" -sn uac_media -i 127.0.0.1 -r 10 -m "$audio_calls" -summary_json "$dir/audio.json" \
    "127.0.0.1:$audio_port" </dev/null >"$dir/audio.log" 2>&1 &
audio+=($!)

echo "Status page: http://$address/"
echo "Answering and placing calls on 127.0.0.1:$port for $seconds s, at $((rate / 5 + 1)) calls/s and then at $rate."
echo "Beside them, $audio_calls calls with audio in both directions on 127.0.0.1:$audio_port."
echo
printf '%6s %10s %10s %8s %8s\n' second started succeeded failed open
for second in $(seq "$seconds"); do
    sleep 1
    if [ "$second" -eq $((seconds / 4 + 1)) ]; then
        ask POST /api/v1/control "{\"id\": \"load\", \"rate\": $rate}" >/dev/null
        echo "       POST /api/v1/control {\"id\": \"load\", \"rate\": $rate}"
    fi
    stats=$(ask GET /api/v1/stats)
    printf '%6d %10s %10s %8s %8s\n' "$second" "$(figure total_calls)" "$(figure success_calls)" \
        "$(figure failed_calls)" "$(figure active_calls)"
done

echo
echo "Stopping: open calls are ended, reports are written."
stop
value() {
    sed -n "s/^  \"$1\": \([0-9.]*\),*$/\1/p" "$dir/load.json"
}
echo "Calls: $(value total_calls) started, $(value success_calls) succeeded, $(value failed_calls) failed," \
    "$(value retransmits) retransmissions."
echo "Summary: $dir/load.json"
# The caller with audio ends by itself, with exit code 0 if its calls succeeded and were heard.
heard=0
wait "${audio[1]}" || heard=$?
echo
echo "Calls with audio:"
sed -n '/^Media$/,/^$/p' "$dir/audio.log" | sed '1d;/^$/d'
echo "Summary: $dir/audio.json"
if [ "$heard" != 0 ]; then
    echo "demo: the calls with audio ended with exit code $heard:" >&2
    tail -n 5 "$dir/audio.log" >&2
fi
[ "$(value failed_calls)" = 0 ] && [ "$heard" = 0 ]
