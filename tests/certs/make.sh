#!/bin/sh
# Makes the certificates beside this script anew: two authorities, a server, a client, a revoked
# server and the list that revokes it. They prove nothing to anybody; their keys are public.
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
rm -f crl.cnf index.txt* number* ca.srl
