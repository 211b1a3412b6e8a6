#!/usr/bin/env bash
# Asks the daemon's API for everything that its OpenAPI document allows, and for what it forbids, and
# compares the answers with that document (Schemathesis, from PyPI). Bounded: some 700 requests.
#
#   scripts/schemathesis.sh                 fails if Schemathesis cannot be installed
#   scripts/schemathesis.sh --if-possible   says so instead, where PyPI is out of reach
#
# GOSSIPPER_BINARY names another program than a debug build.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}

target_dir=$("$cargo" metadata --locked --no-deps --format-version 1 \
    | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
venv=$target_dir/schemathesis
if ! cmp -s scripts/schemathesis.txt "$venv/installed.txt"; then
    rm -rf "$venv"
    if ! { python3 -m venv "$venv" && "$venv/bin/pip" -q --disable-pip-version-check install \
        --timeout 15 --retries 1 -r scripts/schemathesis.txt; } >"$target_dir/schemathesis.log" 2>&1; then
        tail -n 3 "$target_dir/schemathesis.log" >&2
        if [ "${1:-}" = --if-possible ]; then
            echo "schemathesis: NOT RUN: it cannot be installed from PyPI here" >&2
            exit 0
        fi
        echo "schemathesis: it cannot be installed from PyPI (needs python3-venv and the network)" >&2
        exit 1
    fi
    cp scripts/schemathesis.txt "$venv/installed.txt"
fi

binary=${GOSSIPPER_BINARY:-}
if [ -z "$binary" ]; then
    "$cargo" build --locked --bin gossipper
    binary=$target_dir/debug/gossipper
fi
binary=$(realpath "$binary")

folder=$(mktemp -d)
daemon=
# The daemon ends with the script, and is looked at: it must have outlived all that it was asked.
end() {
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" || true
    fi
    rm -rf "$folder"
}
trap end EXIT

sip=$(python3 -c '
import socket
held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
held.bind(("127.0.0.1", 0))
print(held.getsockname()[1])')
cat >"$folder/gossipper.json" <<JSON
{
    "api_addr": "127.0.0.1:0",
    "server": {
        "id": "management", "role": "management", "scenario_name": "uas",
        "transport": "u1", "local_ip": "127.0.0.1", "local_port": $sip
    },
    "clients": [{
        "id": "load", "role": "load", "scenario_name": "uac", "transport": "u1", "local_ip": "127.0.0.1",
        "local_port": 0, "remote_addr": "127.0.0.1:$sip", "rate": 10, "max_concurrent": 100,
        "total_calls": 0
    }]
}
JSON
(cd "$folder" && exec "$binary" server -config gossipper.json 2>"$folder/daemon.log") &
daemon=$!
address=
for _ in $(seq 100); do
    address=$(sed -n 's/.*status page on \(http:\/\/[0-9.:]*\)\/.*/\1/p' "$folder/daemon.log" | head -n 1)
    [ -z "$address" ] || break
    sleep 0.1
done
if [ -z "$address" ]; then
    cat "$folder/daemon.log" >&2
    echo "schemathesis: the daemon did not start" >&2
    exit 1
fi

# Random but the same each time. Its own warnings are about examples that the document does not give.
(cd "$folder" && timeout 240 "$venv/bin/schemathesis" run "$address/api/v1/openapi.json" \
    --max-examples 20 --generation-deterministic --request-timeout 10 --warnings off \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance)
if ! kill -0 "$daemon" 2>/dev/null; then
    cat "$folder/daemon.log" >&2
    echo "schemathesis: the daemon did not outlive it" >&2
    exit 1
fi
