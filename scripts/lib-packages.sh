# Read by the scripts that try packages: checks that are counted, and a base system. `work` is the
# folder for what they keep, `root` the root directory that is tried.

failures=0
# check DESCRIPTION COMMAND...
check() {
    local what=$1
    shift
    if "$@"; then
        echo "ok    $what"
    else
        echo "FAIL  $what ($*)"
        failures=$((failures + 1))
    fi
}
refuse() { ! "$@"; }

# base_system NAME PACKAGES: unpacks a Debian with these packages into $root. It is made once, and
# kept in $work/NAME.tar for the next time.
base_system() {
    local kept=$work/$1.tar fresh=$work/root-$1 mirror suite
    if [ ! -s "$kept" ]; then
        # The mirror that this machine uses.
        mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null \
            | grep -Eo 'https?://[^ ]*debian/?( |$)' | head -n 1 | tr -d ' ' || true)
        suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
        rm -rf --one-file-system "$fresh"
        debootstrap --variant=minbase --include="$2" "$suite" "$fresh" \
            "${mirror:-http://deb.debian.org/debian}" >"$work/debootstrap.log" 2>&1 \
            || { tail -n 20 "$work/debootstrap.log" >&2; exit 1; }
        tar -C "$fresh" --one-file-system -cf "$kept.new" .
        mv "$kept.new" "$kept"
        rm -rf --one-file-system "$fresh"
    fi
    mkdir -p "$root"
    tar -C "$root" -xf "$kept"
}
