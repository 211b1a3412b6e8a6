#!/usr/bin/env bash
# Builds a package and checks it.
#
#   scripts/package.sh deb|rpm [VERSION]
#
# The package lands in target/packages. GOSSIPPER_BINARY names a program to package instead of
# building a release; VERSION replaces that of Cargo.toml (for tests of upgrades).
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
kind=${1:-}
own_version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
version=${2:-$own_version}
case $kind in
    deb | rpm) ;;
    *)
        echo "usage: scripts/package.sh deb|rpm [VERSION]" >&2
        exit 2
        ;;
esac

binary=${GOSSIPPER_BINARY:-}
if [ -z "$binary" ]; then
    "$cargo" build --locked --release --bin gossipper
    target_dir=$("$cargo" metadata --locked --no-deps --format-version 1 \
        | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    binary=$target_dir/release/gossipper
fi
binary=$(realpath "$binary")
scripts/check-portable.sh "$binary"

out=$PWD/target/packages
work=$out/build-$kind-$version
tree=$work/gossipper-$version
rm -rf "$work"
mkdir -p "$tree"
# What git knows or would add; from an unpacked archive, everything but what was built.
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files -z --cached --others --exclude-standard \
        | while IFS= read -r -d '' path; do [ ! -e "$path" ] || printf '%s\0' "$path"; done \
        | tar --null -T - -cf - | tar -xf - -C "$tree"
else
    tar --exclude=./target --exclude=./fuzz/target -cf - . | tar -xf - -C "$tree"
fi
scripts/third-party.py >"$tree/THIRD-PARTY.txt"
# A test of upgrades wants a version whose default configuration differs.
if [ -n "${PACKAGE_TEST_CHANGE:-}" ]; then
    sed -i '0,/{/s/{/{ "_comment_test": "default of a later version",/' "$tree"/etc/*.json
fi

build_deb() {
    cd "$tree"
    if [ "$version" != "$own_version" ]; then
        {
            printf 'gossipper (%s) unstable; urgency=medium\n\n  * Test build.\n\n' "$version"
            printf ' -- Gossipper developers <gossipper@gossipper.example>  %s\n\n' "$(date -R)"
            cat debian/changelog
        } >"$work/changelog"
        mv "$work/changelog" debian/changelog
    fi
    GOSSIPPER_BINARY=$binary dpkg-buildpackage --build=binary --unsigned-changes --unsigned-source \
        >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; exit 1; }
    mv "$work"/gossipper_"$version"_*.deb "$out/"
    package=$(ls -t "$out"/gossipper_"$version"_*.deb | head -n 1)
    if [ -n "${PACKAGE_TEST_CHANGE:-}" ]; then
        echo "package: lintian has seen the version before"
    elif command -v lintian >/dev/null; then
        # As root it needs to be told that this is meant.
        lintian --allow-root --fail-on error,warning "$package"
        echo "package: lintian has nothing to say beyond the documented overrides"
    else
        echo "package: NOT CHECKED: lintian is not installed"
    fi
}

build_rpm() {
    local top=$work/rpmbuild
    mkdir -p "$top"/{SOURCES,BUILD,BUILDROOT,RPMS,SPECS}
    tar -czf "$top/SOURCES/gossipper-$version.tar.gz" -C "$work" "gossipper-$version"
    # Without the database of an rpm system, --nodeps: what building needs is checked by running it.
    rpmbuild -bb --nodeps \
        --define "_topdir $top" \
        --define "_dbpath $work/rpmdb" \
        --define "gossipper_version $version" \
        --define "gossipper_binary $binary" \
        rpm/gossipper.spec >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; exit 1; }
    mv "$top"/RPMS/*/gossipper-"$version"-*.rpm "$out/"
    package=$(ls -t "$out"/gossipper-"$version"-*.rpm | head -n 1)
}

build_$kind
rm -rf "$work"
echo "package: $package"
