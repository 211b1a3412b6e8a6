#!/usr/bin/env bash
# Tries the packaged services under a real systemd: it boots as process 1 of namespaces of its own,
# in a root directory made for it, with the Debian package installed.
#
# Needs root, a Debian mirror and a kernel with cgroup2. PACKAGES_BUILT=1 takes the package that is
# in target/packages, GOSSIPPER_BINARY names a program to package instead of building a release.
# What was done and found is in target/packages/service.log, too.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
work=$PWD/target/packages
home=/usr/local/gossipper

if [ "$(id -u)" -ne 0 ]; then
    echo "test-service: needs root, for namespaces" >&2
    exit 1
fi
scripts/deps.sh test-packages
mkdir -p "$work"
[ -n "${PACKAGES_BUILT:-}" ] || scripts/package.sh deb
package=$work/gossipper_${version}_$(dpkg --print-architecture).deb
root=$work/root-service
exec > >(tee "$work/service.log") 2>&1

. scripts/lib-packages.sh

# The base system with the package installed, in $root.
new_root() {
    rm -rf --one-file-system "$root"
    base_system base-service systemd,dbus,iproute2,curl,python3-minimal
    cp "$package" "$root/gossipper.deb"
    chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
        dpkg -i /gossipper.deb >"$work/install.log" 2>&1 || { cat "$work/install.log" >&2; exit 1; }
    # Files of the journal would be asked for over and over; memory will do.
    rm -rf "$root/var/log/journal"
}

# Boots $root; $boot is systemd's pid as this system sees it.
boot() {
    unshare --pid --fork --kill-child --mount --net --uts --ipc --cgroup --propagation private \
        bash -ec '
            root=$1
            mount --bind "$root" "$root"
            mount -t proc proc "$root/proc"
            mount -t sysfs sysfs "$root/sys"
            mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
            mount -t tmpfs tmpfs "$root/run"
            mount -t tmpfs tmpfs "$root/tmp"
            mount --rbind /dev "$root/dev"
            hostname gossipper-test
            # The network that systemd would find on a host.
            ip link set lo up
            ip address add 198.18.0.1/32 dev lo
            cd "$root"
            mkdir -p oldroot
            pivot_root . oldroot
            umount -l /oldroot
            exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system \
                --unit=multi-user.target --log-target=journal --show-status=0
        ' boot "$root" </dev/null >"$work/boot.log" 2>&1 &
    supervisor=$!
    for _ in $(seq 100); do
        sleep 0.2
        boot=$(pgrep -P "$supervisor" -x systemd || true)
        [ -n "$boot" ] || continue
        # Degraded: units that have no place in a container may fail.
        case $(inside systemctl is-system-running 2>/dev/null) in
            running | degraded) return 0 ;;
        esac
    done
    echo "systemd does not come up" >&2
    cat "$work/boot.log" >&2
    exit 1
}
inside() { nsenter -t "$boot" --all --wd=/ -- "$@"; }
end() {
    # It takes no other signal, and the system's first process ends with it.
    if [ -n "${supervisor:-}" ]; then
        kill -KILL "$supervisor" 2>/dev/null || true
        # Not for all: tee waits for the end of this script.
        wait "$supervisor" 2>/dev/null || true
    fi
    rm -rf --one-file-system "$root"
}
trap end EXIT
# A trap of EXIT alone leaves the system running when somebody stops the script.
trap 'exit 143' TERM INT

state() { inside systemctl show -P "$2" "gossipper-$1"; }
# eventually COMMAND...: within 20 s
eventually() {
    for _ in $(seq 100); do
        if "$@"; then return 0; fi
        sleep 0.2
    done
    return 1
}
is() { [ "$(state "$1" "$2")" = "$3" ]; }
journal() { inside journalctl -u "gossipper-$1" --no-pager -o cat; }
said() { journal "$1" | grep -q -- "$2"; }
times() { [ "$(journal "$1" | grep -c -- "$2")" = "$3" ]; }
metric() { inside curl -s -H "Authorization: Bearer $token" http://127.0.0.1:8080/metrics | grep -E "^$1 " | cut -d' ' -f2; }
config=$home/etc
edit() { sed -i "$2" "$root$config/gossipper-$1.json"; }

echo "== $(inside_version=$(dpkg --version | head -n 1); uname -sr), $package"
new_root
boot
echo "== $(inside systemctl --version | head -n 1)"

echo "== server"
check "starts and says that it is ready" inside systemctl start gossipper-server
check "is active" is server ActiveState active
check "runs with io_uring in its sandbox" refuse said server 'plain system calls'
check "the journal has the place of the password once" times server initial-admin-password 1
exposure=$(inside systemd-analyze security --no-pager gossipper-server | tail -n 1)
echo "      $exposure"
check "exposure is 1.4" grep -q ' 1\.4 ' <<<"$exposure"
password=$(tail -n 1 "$root$home/data/initial-admin-password")
token=$(inside curl -s http://127.0.0.1:8080/api/v1/auth/login -H 'Content-Type: application/json' \
    -d "{\"username\": \"admin\", \"password\": \"$password\"}" | sed 's/.*"token":"\([^"]*\)".*/\1/')
reloaded() { [ "$(metric gossipper_config_last_reload_successful)" = "$1" ]; }
check "reloads" inside systemctl reload gossipper-server
check "the metric says so" reloaded 1
edit server 's/"max_concurrent"/"max_concurrentt"/'
check "a reload of a broken file fails" refuse inside systemctl reload gossipper-server
check "the metric of ConfigReloadFailed says so" eventually reloaded 0
check "the service goes on" is server ActiveState active
check "its status says so" said server 'max_concurrentt'
check "and says it once" times server 'max_concurrentt' 1
edit server 's/"max_concurrentt"/"max_concurrent"/'
check "the next reload is good again" inside systemctl reload gossipper-server
check "and the metric" eventually reloaded 1

echo "== watchdog, crash, restarts by hand"
pid=$(state server MainPID)
inside sh -c "kill -KILL $pid"
restarted() { [ "$(state server MainPID)" != "$pid" ] && is server ActiveState active; }
check "comes back after kill -9" eventually restarted
for _ in 1 2 3 4 5 6; do inside systemctl restart gossipper-server; done
check "is up after six restarts by hand" is server ActiveState active
pid=$(state server MainPID)
inside sh -c "kill -STOP $pid"
check "a daemon that hangs is started again by the watchdog" eventually restarted
check "stops" inside systemctl stop gossipper-server
check "a stopped service is inactive" is server ActiveState inactive

echo "== a configuration that cannot be used"
before=$(journal server | grep -c max_concurrentt)
edit server 's/"max_concurrent"/"max_concurrentt"/'
check "does not start" refuse inside systemctl start gossipper-server
check "ends with 78" is server ExecMainStatus 78
sleep 7
check "is not tried again" is server NRestarts 0
check "says why once" times server 'max_concurrentt' $((before + 1))
edit server 's/"max_concurrentt"/"max_concurrent"/'
check "starts when it is mended" inside systemctl start gossipper-server
inside systemctl stop gossipper-server

echo "== client"
# Nobody is there: every call fails.
edit client 's/192\.0\.2\.10:5060/198.18.0.1:5999/; s/"rate": 1,/"rate": 50,/'
check "starts" inside systemctl start gossipper-client
sleep 3
check "stops" inside systemctl stop gossipper-client
check "is inactive, though calls failed" is client ActiveState inactive
check "leaves its summary below data" [ -s "$root$home/data/client-summary.json" ]
check "the summary counts the failed calls" grep -q '"failed_calls": *[1-9]' "$root$home/data/client-summary.json"
# systemd itself has the last words.
last=$(journal client | grep -v gossipper-client.service | tail -n 1)
echo "      $last"
check "the last line of the journal has the figures" \
    grep -Eq '^engine client: ended: [0-9]+ calls, 0 successful, [0-9]+ failed' <<<"$last"

echo "== perf drop-in"
install -D -m 0644 "$root/usr/share/gossipper/systemd/perf.conf" \
    "$root/etc/systemd/system/gossipper-server.service.d/perf.conf"
inside systemctl daemon-reload
check "starts with the drop-in" inside systemctl start gossipper-server
exposure=$(inside systemd-analyze security --no-pager gossipper-server | tail -n 1)
echo "      $exposure"
check "exposure is 1.9" grep -q ' 1\.9 ' <<<"$exposure"

echo "== purge"
check "purges while it runs" inside dpkg -P gossipper
check "nothing of it runs" refuse pgrep -P "$boot" -x gossipper
check "nothing of it is left" [ ! -e "$root$home" ]

echo "== $failures failed"
[ $failures -eq 0 ]
