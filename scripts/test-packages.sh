#!/usr/bin/env bash
# Installs the packages as a person would, into root directories made for it, and looks at what they
# did: files, owners, services, configuration that was edited, upgrade, removal, purge.
#
# Needs root (chroot) and a Debian mirror. GOSSIPPER_BINARY names a program to package instead of
# building a release; PACKAGES_BUILT=1 takes the packages that the last time left. The base system is
# kept in target/packages/base.tar for the next time.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
next=$version.1
work=$PWD/target/packages
home=/usr/local/gossipper
units="gossipper-server gossipper-client gossipper-hybrid"

if [ "$(id -u)" -ne 0 ]; then
    echo "test-packages: needs root, for chroot" >&2
    exit 1
fi
scripts/deps.sh test-packages
mkdir -p "$work"

: >"$work/log"
. scripts/lib-packages.sh
logged() { "$@" >>"$work/log" 2>&1; }
in_root() { chroot "$root" /usr/bin/env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }
# has PATH OWNER:GROUP MODE, by the names that are known in $root
has() {
    local found
    found=$(in_root stat -c '%U:%G %a' "$1" 2>&1 || true)
    [ "$found" = "$2 $3" ] || { echo "found: $found"; return 1; }
}
contains() { grep -q -- "$1" "$2"; }

# A systemd that writes down what it is asked to do, and says of the server that it runs.
fake_systemctl() {
    # Also tells maintainer scripts that systemd is the init system.
    mkdir -p "$root/run/systemd/system"
    in_root dpkg-divert --quiet --local --rename --divert /usr/bin/systemctl.real --add /usr/bin/systemctl
    cat >"$root/usr/bin/systemctl" <<'STUB'
#!/bin/sh
echo "$*" >>/var/log/systemctl.calls
case "$*" in
    *is-active*gossipper-server*) exit 0 ;;
    *is-active*) exit 3 ;;
esac
exit 0
STUB
    chmod 0755 "$root/usr/bin/systemctl"
}
calls() { cat "$root/var/log/systemctl.calls" 2>/dev/null || true; }
forget_calls() { rm -f "$root/var/log/systemctl.calls"; }
called() { calls | grep -q -- "$1"; }

new_root() {
    root=$work/root-$1
    clear_root
    base_system base systemd,man-db,bash-completion
    mount --bind /proc "$root/proc"
    # Services must not be started by the base system's own packages either.
    forget_calls
}
clear_root() {
    if mountpoint -q "${root:-/nonexistent}/proc" 2>/dev/null; then umount "$root/proc"; fi
    [ -z "${root:-}" ] || rm -rf --one-file-system "$root"
}
trap clear_root EXIT

files_are_right() {
    check "the program" has $home/bin/gossipper root:root 755
    check "its link" [ "$(readlink "$root/usr/local/bin/gossipper")" = ../gossipper/bin/gossipper ]
    check "it runs" in_root gossipper version
    check "directory for the user interface" has $home/dist root:root 755
    check "data directory" has $home/data gossipper:gossipper 750
    check "log directory" has $home/logs gossipper:gossipper 750
    for kind in server client hybrid; do
        check "configuration of the $kind" has $home/etc/gossipper-$kind.json root:gossipper 640
        check "the $kind accepts its configuration" \
            in_root setpriv --reuid=gossipper --regid=gossipper --clear-groups \
            gossipper config check -config $home/etc/gossipper-$kind.json
    done
    check "the user cannot log in" contains '^gossipper:.*:/usr/local/gossipper/data:/usr/sbin/nologin$' "$root/etc/passwd"
    for unit in $units; do
        check "unit $unit" in_root sh -c "ls /usr/lib/systemd/system/$unit.service /lib/systemd/system/$unit.service 2>/dev/null | grep -q ."
        check "unit $unit is right where it is" in_root systemd-analyze verify "$unit.service"
        check "unit $unit is not enabled" refuse [ -e "$root/etc/systemd/system/multi-user.target.wants/$unit.service" ]
    done
    check "manual page" in_root sh -c 'man -P cat gossipper | grep -q "^NAME"'
    check "completions of bash" in_root bash -n /usr/share/bash-completion/completions/gossipper
    check "dashboards" in_root sh -c 'ls /usr/share/gossipper/grafana/*.json | grep -q .'
    check "rules" in_root sh -c 'ls /usr/share/gossipper/prometheus/*.yml | grep -q .'
    check "kernel settings, which are not in force" refuse [ -e "$root/etc/sysctl.d/90-gossipper.conf" ]
    check "sample drop-in" [ -e "$root/usr/share/gossipper/systemd/perf.conf" ]
    check "doctor" in_root sh -c 'gossipper doctor --json | grep -q gossipper_doctor_v1'
}

edit() { sed -i '0,/{/s/{/{ "_comment_mine": "edited by a person",/' "$root$home/etc/gossipper-server.json"; }
is_edited() { contains 'edited by a person' "$root$home/etc/gossipper-server.json"; }

build_packages() {
    if [ -z "${GOSSIPPER_BINARY:-}" ]; then
        "${CARGO:-cargo}" build --locked --release --bin gossipper
        target_dir=$("${CARGO:-cargo}" metadata --locked --no-deps --format-version 1 \
            | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
        export GOSSIPPER_BINARY=$target_dir/release/gossipper
    fi
    for kind in deb rpm; do
        scripts/package.sh $kind
        # The higher version has another default configuration, so that an edited one is in its way.
        PACKAGE_TEST_CHANGE=1 scripts/package.sh $kind "$next"
    done
}
echo "== packages"
if [ -n "${PACKAGES_BUILT:-}" ]; then
    echo "those that are in target/packages, whatever they were built from"
else
    build_packages
fi
arch=$(dpkg --print-architecture)
old_deb=gossipper_${version}_$arch.deb new_deb=gossipper_${next}_$arch.deb
old_rpm=$(cd "$work" && ls gossipper-"$version"-1.*.rpm) new_rpm=$(cd "$work" && ls gossipper-"$next"-1.*.rpm)

echo "== Debian package"
new_root deb
fake_systemctl
cp "$work/$old_deb" "$work/$new_deb" "$root/"
check "installs" logged in_root apt-get install -y -q "/$old_deb"
files_are_right
check "nothing was started" refuse called 'start .*gossipper'
check "nothing was enabled" refuse called 'enable .*gossipper'
check "dpkg sees its files as they were" [ -z "$(in_root dpkg --verify gossipper)" ]
check "installing again changes nothing" logged in_root dpkg -i "/$old_deb"
check "configuration is still the service's" has $home/etc/gossipper-server.json root:gossipper 640
edit
echo kept >"$root$home/data/result"
forget_calls
check "upgrades" logged in_root dpkg -i --force-confold "/$new_deb"
check "an edited configuration stays" is_edited
check "and its owner" has $home/etc/gossipper-server.json root:gossipper 640
check "the new one is beside it" [ -e "$root$home/etc/gossipper-server.json.dpkg-dist" ]
check "one that was not edited is replaced" contains 'default of a later version' "$root$home/etc/gossipper-client.json"
check "services that run are restarted" called 'restart.*gossipper-server'
check "services are not started" refuse called '^start .*gossipper'
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 0755 "$root/usr/sbin/policy-rc.d"
forget_calls
check "installs again under a policy" logged in_root dpkg -i --force-confold "/$new_deb"
check "policy-rc.d keeps services from being restarted" refuse called 'restart.*gossipper'
rm "$root/usr/sbin/policy-rc.d"
forget_calls
check "is removed" logged in_root dpkg -r gossipper
check "services are stopped" called '^stop .*gossipper-server\|stop gossipper-server'
check "data stay" contains kept "$root$home/data/result"
check "configuration stays" is_edited
check "the link goes" refuse [ -L "$root/usr/local/bin/gossipper" ]
check "the program goes" refuse [ -e "$root$home/bin/gossipper" ]
check "is purged" logged in_root dpkg -P gossipper
check "data go" refuse [ -e "$root$home" ]
check "what is not ours in /usr/local stays" [ -d "$root/usr/local/bin" ]
check "no unit is left" refuse in_root sh -c 'ls -R /lib/systemd /etc/systemd | grep -q gossipper'
clear_root

echo "== RPM package"
new_root rpm
fake_systemctl
rpm_() { logged rpm --root "$root" --nodeps "$@"; }
check "installs" rpm_ -i "$work/$old_rpm"
files_are_right
check "nothing was started" refuse called 'start gossipper'
check "the preset decides" called 'preset gossipper-server.service'
check "rpm sees its files as they were" rpm_ -V gossipper
edit
echo kept >"$root$home/data/result"
forget_calls
check "upgrades" rpm_ -U "$work/$new_rpm"
check "an edited configuration stays" is_edited
check "the new one is beside it" [ -e "$root$home/etc/gossipper-server.json.rpmnew" ]
check "one that was not edited is replaced" contains 'default of a later version' "$root$home/etc/gossipper-client.json"
check "services that run are restarted" called 'try-restart gossipper-server.service'
check "services are neither stopped nor disabled" refuse called 'disable'
check "is erased" rpm_ -e gossipper
check "data stay" contains kept "$root$home/data/result"
check "edited configuration is saved" contains 'edited by a person' "$root$home/etc/gossipper-server.json.rpmsave"
check "the program goes" refuse [ -e "$root$home/bin/gossipper" ]
check "services were disabled" called 'disable gossipper-server.service'
clear_root

echo "== $failures failed"
if [ $failures -ne 0 ]; then
    echo "what the package managers said is in $work/log" >&2
    exit 1
fi
