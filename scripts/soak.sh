#!/usr/bin/env bash
# A churn of everything against the daemon, built for release: calls over UDP, TCP and TLS, clients
# that come and go, scenarios that are swapped, listeners that are switched, scrapes, WebSocket
# clients, traces that rotate. Fails unless descriptors and threads come back to where they were, no
# call stays open, and the counters add up; and if memory grows, from the first minute on.
#
#   scripts/soak.sh [MINUTES]     10 if not given
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:-${MINUTES:-10}}
case $minutes in
    '' | *[!0-9]* | 0)
        echo "soak: MINUTES is a whole number from 1 on, not '$minutes'" >&2
        exit 2
        ;;
esac
scripts/deps.sh
export GOSSIPPER_SOAK_SECONDS=$((minutes * 60))
exec "${CARGO:-cargo}" test --locked --release --test e2e soak:: -- --nocapture
