#!/bin/sh
# Installs what the end-to-end tests need beside the Rust toolchain, where it is missing:
# SIPp as the peer, iproute2 for network namespaces. Safe to run again. Debian and Ubuntu.
set -eu

packages=""
command -v sipp >/dev/null 2>&1 || packages="$packages sip-tester"
command -v ip >/dev/null 2>&1 || packages="$packages iproute2"
if [ -z "$packages" ]; then
    exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
    echo "install-test-tools: missing:$packages; install them with this system's package manager" >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    as_root="sudo -n"
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update
# shellcheck disable=SC2086 # a list of words
$as_root apt-get install -y --no-install-recommends $packages
