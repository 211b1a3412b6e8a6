#!/usr/bin/env bash
# Installs Debian packages that are missing, and only those: with everything in place it calls no
# package manager and needs no network.
#
#   scripts/deps.sh                  what the tests need
#   scripts/deps.sh packages         what building the packages needs
#   scripts/deps.sh test-packages    that, and what trying them needs
set -euo pipefail

# Command that is run, and the package that brings it.
tests=(
    "sipp sip-tester"   # the real peer in the interop tests
    "tshark tshark"     # reads captures of our media
    "turnserver coturn" # a relay for our media
    "kamailio kamailio" # registrar and proxy in the interop tests
    "baresip baresip-core" # a telephone in the interop tests
    "rtpengine rtpengine-daemon" # a relay of media in the interop tests
    "openssl openssl"   # certificates, and a peer for TLS
    "ip iproute2"       # network namespaces in the end-to-end tests
    "python3 python3"   # the fake peers and report checks among the tests
    "promtool prometheus" # metrics, rules and dashboards are tried against it
    "chromium chromium" # the status page is tried in it
    "cc gcc"            # build scripts and the linker
    "systemd-analyze systemd" # checks of the units
    "rpmspec rpm"       # checks of the spec file
    "mandoc mandoc"     # checks of the manual page
    "zsh zsh"           # checks of completions
    "fish fish"
)
packages=(
    "cc gcc"
    "python3 python3"   # the list of third parties
    "dpkg-buildpackage dpkg-dev"
    "dh debhelper"
    "rpmbuild rpm"
    "lintian lintian"   # looks at the package that was built
    "file file"         # rpmbuild looks at what it packages
    "objdump binutils"  # which glibc the program needs
)
case ${1:-tests} in
    tests) needed=("${tests[@]}") ;;
    packages) needed=("${packages[@]}") ;;
    # The system that packages are installed into.
    test-packages) needed=("${packages[@]}" "debootstrap debootstrap") ;;
    *)
        echo "usage: scripts/deps.sh [tests|packages|test-packages]" >&2
        exit 2
        ;;
esac

missing=()
for entry in "${needed[@]}"; do
    read -r command package <<<"$entry"
    # sbin may be absent from the path of a user.
    PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null || missing+=("$package")
done
if [ "${1:-tests}" = tests ]; then
    # Packages that bring no command, known by a file.
    modules=/usr/lib/$(uname -m)-linux-gnu/kamailio/modules
    [ -e "$modules/tls.so" ] || missing+=(kamailio-tls-modules)
    [ -e "$modules/websocket.so" ] || missing+=(kamailio-websocket-modules)
fi
if [ ${#missing[@]} -eq 0 ]; then
    echo "deps: everything that is needed is installed"
    exit 0
fi
echo "deps: missing ${missing[*]}"

if ! command -v apt-get >/dev/null; then
    echo "deps: there is no apt-get here; install what corresponds to: ${missing[*]}" >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "deps: neither root nor sudo; run as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    # Asks for a password on a terminal, fails with a message without one.
    as_root=(sudo)
    [ -t 0 ] || as_root=(sudo -n)
fi

apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q \
        -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null
}
# The package lists of a fresh machine may be old or absent; one that has them needs no update.
if ! apt install --no-install-recommends "${missing[@]}"; then
    apt update
    apt install --no-install-recommends "${missing[@]}"
fi
