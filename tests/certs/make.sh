#!/bin/sh
# Makes the certificates beside this script anew: two authorities, a server, a client, a revoked
# server and the list that revokes it, one that has expired, one that is not yet valid, and one from
# an intermediate authority. They prove nothing to anybody; their keys are public.
set -eu
cd "$(dirname "$0")"
days=36500
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }
authority() {
    key "$1-key.pem"
    openssl req -x509 -new -key "$1-key.pem" -days $days -subj "/CN=$1 of Gossipper's tests" -out "$1.pem"
}
signed() { # name, usage, authority
    key "$1-key.pem"
    openssl req -new -key "$1-key.pem" -subj "/CN=$1.test" -out "$1.csr"
    printf 'basicConstraints=CA:FALSE\nextendedKeyUsage=%s\nsubjectAltName=DNS:%s.test,DNS:localhost\n' \
        "$2" "$1" >ext.cnf
    openssl x509 -req -in "$1.csr" -CA "$3.pem" -CAkey "$3-key.pem" -CAcreateserial \
        -days $days -extfile ext.cnf -out "$1.pem" 2>/dev/null
    rm "$1.csr" ext.cnf
}
authority ca
authority stranger
signed server serverAuth,clientAuth ca
signed client clientAuth ca
signed revoked serverAuth,clientAuth ca
printf '[ca]\ndefault_ca=it\n[it]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\n[x]\nauthorityKeyIdentifier=keyid\n' >crl.cnf
: >index.txt
echo 01 >number
openssl ca -config crl.cnf -keyfile ca-key.pem -cert ca.pem -revoke revoked.pem 2>/dev/null
openssl ca -config crl.cnf -keyfile ca-key.pem -cert ca.pem -gencrl -crlexts x -crldays $days -out crl.pem 2>/dev/null

# Certificates with dates of their own, and one below an intermediate authority.
printf '[ca]\ndefault_ca=it\n[it]\ndatabase=index.txt\nrand_serial=yes\ndefault_md=sha256\npolicy=any\nnew_certs_dir=.\n[any]\ncommonName=supplied\n' >dated.cnf
dated() { # name, from, to, authority, extensions
    key "$1-key.pem"
    openssl req -new -key "$1-key.pem" -subj "/CN=$1.test" -out "$1.csr"
    printf "$5" >ext.cnf
    openssl ca -batch -notext -config dated.cnf -cert "$4.pem" -keyfile "$4-key.pem" -in "$1.csr" \
        -startdate "$2" -enddate "$3" -extfile ext.cnf -out "$1.pem" 2>/dev/null
    rm "$1.csr" ext.cnf
}
names() { printf 'basicConstraints=CA:FALSE\nsubjectAltName=DNS:%s.test,DNS:localhost,IP:192.0.2.1,IP:2001:db8::1\n' "$1"; }
: >index.txt
dated expired 20200101000000Z 20210203040506Z ca "$(names expired)"
dated future 21000101000000Z 21010101000000Z ca "$(names future)"
dated between 20200101000000Z 21200101000000Z ca 'basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n'
dated below 20200101000000Z 21200101000000Z between "$(names below)"
rm -f crl.cnf dated.cnf index.txt* number* ca.srl ./[0-9A-F]*[0-9A-F].pem between-key.pem
