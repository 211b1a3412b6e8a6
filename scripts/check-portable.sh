#!/usr/bin/env bash
# Says what a program needs of the system that it runs on, and fails if that is more than the oldest
# distribution that packages are for has: glibc 2.34 (EL 9; Debian 12 has 2.36).
#
#   scripts/check-portable.sh BINARY
set -euo pipefail
binary=$1
newest_allowed=2.34
# Part of every installation of the distributions in question.
libraries_allowed="libc.so.6 libm.so.6 libgcc_s.so.1 ld-linux-x86-64.so.2 ld-linux-aarch64.so.1"

libraries=$(objdump -p "$binary" | awk '$1 == "NEEDED" { print $2 }')
if [ -z "$libraries" ]; then
    echo "portable: $binary is linked statically and needs no library"
    exit 0
fi
status=0
for library in $libraries; do
    case " $libraries_allowed " in
        *" $library "*) ;;
        *)
            echo "portable: $binary needs $library, which the packages do not ask for" >&2
            status=1
            ;;
    esac
done
versions=$(objdump -T "$binary" | grep -o 'GLIBC_[0-9.]*' | sort -uV)
newest=$(echo "$versions" | tail -n 1)
echo "portable: $binary needs ${libraries//$'\n'/ } with $(echo "$versions" | tr '\n' ' ')"
if [ "$(printf '%s\n' "${newest#GLIBC_}" "$newest_allowed" | sort -V | tail -n 1)" != "$newest_allowed" ]; then
    echo "portable: $newest is newer than GLIBC_$newest_allowed (EL 9):" >&2
    objdump -T "$binary" | grep -F "($newest)" >&2 || objdump -T "$binary" | grep -F "$newest" >&2
    status=1
fi
[ $status -ne 0 ] || echo "portable: good for glibc $newest_allowed and newer (EL 9, Debian 12)"
exit $status
