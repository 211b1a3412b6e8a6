#!/usr/bin/env bash
# cargo deny check, with cargo-deny installed first if it is missing.
#
# Licences, bans and sources need no network. Advisories need the RustSec database: where it cannot
# be fetched, that is said plainly and the rest still counts. DENY_ADVISORIES=required makes it an
# error (for a release).
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}

if ! "$cargo" deny --version >/dev/null 2>&1; then
    echo "deny: installing cargo-deny (once, takes minutes)"
    "$cargo" install --locked cargo-deny
fi
"$cargo" deny --locked check licenses bans sources
if "$cargo" deny --locked fetch db; then
    "$cargo" deny --locked check --disable-fetch advisories
elif [ "${DENY_ADVISORIES:-}" = required ]; then
    echo "deny: the advisory database cannot be fetched" >&2
    exit 1
else
    echo "deny: NOT CHECKED: advisories (their database cannot be fetched)"
fi
