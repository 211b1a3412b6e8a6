#!/usr/bin/env bash
# Puts everything that a package contains below a directory: the layout of both packages, in one
# place. Owners are left to the packages.
#
#   scripts/install.sh BINARY DESTDIR
#
# UNIT_DIR and ZSH_DIR say where a distribution wants units and zsh completions.
set -euo pipefail
if [ $# -ne 2 ]; then
    echo "usage: scripts/install.sh BINARY DESTDIR" >&2
    exit 2
fi
binary=$(realpath "$1")
mkdir -p "$2"
dest=$(realpath "$2")
cd "$(dirname "$0")/.."
unit_dir=${UNIT_DIR:-/usr/lib/systemd/system}
zsh_dir=${ZSH_DIR:-/usr/share/zsh/site-functions}

# file MODE SOURCE TARGET
file() { install -D -m "$1" "$2" "$dest$3"; }
# files TARGET_DIRECTORY SOURCE...: those that exist
files() {
    local to=$1 from
    shift
    for from in "$@"; do
        [ -f "$from" ] && file 0644 "$from" "$to/${from##*/}"
    done
    return 0
}
# generated WHAT TARGET: made by the program itself from its option table
generated() {
    mkdir -p "$(dirname "$dest$2")"
    "$binary" generate "$1" >"$dest$2"
    chmod 0644 "$dest$2"
}

home=/usr/local/gossipper
file 0755 "$binary" $home/bin/gossipper
files $home/etc etc/*.json
install -d -m 0755 "$dest$home/dist"

for unit in systemd/*.service; do
    file 0644 "$unit" "$unit_dir/${unit##*/}"
done
file 0644 systemd/gossipper.sysusers /usr/lib/sysusers.d/gossipper.conf
file 0644 systemd/gossipper.tmpfiles /usr/lib/tmpfiles.d/gossipper.conf
file 0644 systemd/90-gossipper.preset /usr/lib/systemd/system-preset/90-gossipper.preset

share=/usr/share/gossipper
file 0644 systemd/perf.conf $share/systemd/perf.conf
files $share/sysctl etc/sysctl/*.conf
# Below the folders of their kind, whatever is in them.
for folder in grafana prometheus; do
    [ -d "etc/$folder" ] || continue
    find "etc/$folder" -type f -printf '%P\n' | while read -r path; do
        file 0644 "etc/$folder/$path" "$share/$folder/$path"
    done
done

generated man /usr/share/man/man1/gossipper.1
gzip -9nf "$dest/usr/share/man/man1/gossipper.1"
generated bash /usr/share/bash-completion/completions/gossipper
generated zsh "$zsh_dir/_gossipper"
generated fish /usr/share/fish/vendor_completions.d/gossipper.fish

doc=/usr/share/doc/gossipper
# THIRD-PARTY.txt is made by scripts/package.sh.
files $doc README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE-MIT LICENSE-APACHE THIRD-PARTY.txt
files $doc/docs docs/*.md docs/*.json
