#!/bin/sh
# Fills seeds/<target>/: from the packed corpora of earlier campaigns (seeds/<target>.tar.gz, which are
# committed), and from the RFC 4475 corpus, the scenarios and the sample configurations.
# Usage: fuzz/seed.sh, then for example: cargo +nightly fuzz run -s none sip_message fuzz/seeds/sip_message
set -eu
cd "$(dirname "$0")"
for target in fuzz_targets/*.rs; do
    target=$(basename "$target" .rs)
    mkdir -p "seeds/$target"
    [ ! -e "seeds/$target.tar.gz" ] || tar -C "seeds/$target" -xzf "seeds/$target.tar.gz"
done
for message in ../tests/data/rfc4475/*.dat; do
    name=$(basename "$message" .dat)
    cp "$message" "seeds/sip_message/$name"
    # The first seven bytes say when, where and how; here: at once, to the answerer, as it is.
    { printf '\100\000\000\000\000\000\000'; cat "$message"; } > "seeds/engine_datagrams/$name"
    # The first byte of a stream is the length of its pieces, behind a byte for the kind of connection.
    { printf '\007'; cat "$message"; } > "seeds/sip_stream/$name"
    { printf '\000\007'; cat "$message"; } > "seeds/stream_session/$name"
    # What follows the first empty line.
    sed '1,/^\r*$/d' "$message" > "seeds/sdp/$name"
    [ -s "seeds/sdp/$name" ] || rm "seeds/sdp/$name"
    # The values of the first lines with an address or a Via.
    sed -n 's/^[A-Za-z-]*[ \t]*: *\(.*[<@/].*\)\r$/\1/p' "$message" | head -n 3 \
        | tr '\n' ',' > "seeds/sip_header/$name"
    # Any bytes are choices.
    head -c 400 "$message" > "seeds/sip_structured/$name"
    head -c 600 "$message" > "seeds/media_ops/$name"
done
# Flags, an expression, a text to search.
printf '(a|ab)(c|bcd)(d*)\nxabcd' > seeds/regex/longest
printf 'sips?:([^@;>]*)@([0-9.]+)(:[0-9]{1,5})?\nContact: <SIP:a@10.0.0.1:5060>' > seeds/regex/uri
printf '((a*)(b|c)){2,}\\1$\naabcbc' > seeds/regex/reference
printf '^[]x[:digit:]-]+|\\<[^a-z]\n]x3-' > seeds/regex/bracket
cp ../src/scenario/builtin/*.xml ../tests/scenarios/*.xml seeds/scenario_xml/
# The indexed column, a first line, rows.
printf '\000SEQUENTIAL\nal;secret;[call_id]\nbob;x\n' > seeds/injection/plain
printf '\001USER,PRINTF=100,PRINTFOFFSET=5,PRINTFMULTIPLE=2\n# note\nu%%05d;p%%-3d;%%.2d\n' > seeds/injection/printf
printf '\002RANDOM\r\na;b;c\r\n\r\nd;e\r\n' > seeds/injection/rest
# A challenge, a user, a body.
printf 'Digest realm="a \\"b\\"", nonce="n", qop="auth,auth-int", algorithm=SHA-256, opaque="o", stale=true\000me\000v=0' \
    > seeds/digest/sha
printf 'Digest realm=r,nonce=n,algorithm=MD5-sess' > seeds/digest/session
printf 'Digest username="user",realm="r",nonce="n",uri="sip:a",response="00",qop=auth,nc=00000001,cnonce="c"' \
    > seeds/digest/credentials
# What steers a run.
for line in 'cset rate 10' 'cset limit 5' 'ctrace messages on' 'cdump tasks' q 'creset stats' '10.0.0.0/8' \
    '[2001:db8::]/32' 10000-20000 'Call-ID: 1@a
From: instance;tag=1
' 2026-11-30T12:00:00Z; do
    printf '%s' "$line" > "seeds/outside_lines/$(printf '%s' "$line" | tr -c 'a-zA-Z0-9' _)"
done
# A kind of stream; before each datagram its length, the time since the one before, and its sound.
{
    printf '\000'
    for number in 1 2 3 4 6 5 5 7; do
        printf '\020\001\061\000\200\000\000%s\000\000\000\240\000\000\000\007abcd' "$number"
    done
    printf '\020\001\061\003\200\145\000\070\000\000\005\000\000\000\000\007\005\212\003\040'
    printf '\024\001\061\000\240\200\000\071\000\000\005\240\000\000\000\007abcdefg\001'
    for number in 1 2; do
        printf '\030\001\061\000\221\000\100%s\000\000\000\240\000\000\000\011' "$number"
        printf '\000\000\000\007\276\336\000\001\020\377\000\000'
    done
} > seeds/rtp/stream
# SR with a block, SDES, XR with VoIP metrics, BYE with a reason; feedback alone.
{
    printf '\201\310\000\014\000\000\000\007\341\043\105\147\211\253\315\357\000\000\000\240'
    printf '\000\000\000\062\000\000\037\100\001\002\003\004\031\377\377\376\000\001\377\377'
    printf '\000\000\004\322\147\211\253\000\000\000\001\000'
    printf '\201\312\000\003\000\000\000\007\001\003a@b\000\000\000'
    printf '\200\317\000\012\000\000\000\007\007\000\000\010\000\000\000\011abcdefghijklmnopqrstuvwxyz00'
    printf '\201\313\000\002\000\000\000\007\003end'
} > seeds/rtcp/compound
printf '\201\316\000\002\000\000\000\007\000\000\000\010' > seeds/rtcp/feedback
# A target, header lines, a body.
printf '/api/v1/stats?engine=a&last=5&full=1\nHost: lab7:8080\nForwarded: for="[2001:db8::1]:5";by=x\nOrigin: http://lab7:8080\n\n' \
    > seeds/api_request/query
printf '/api/v1/control\nHost: localhost\nX-Forwarded-For: 10.1.1.1, 192.0.2.7\nContent-Type: application/json; a=b\n\n{"rate": 10.5, "paused": false, "engine_id": "a"}' \
    > seeds/api_request/control
printf '/api/v1/login\n\n{"username": "a", "password": "b"}' > seeds/api_request/login
cp ../etc/*.json seeds/server_config/
# Frames of a client behind its handshake, and the handshake itself.
printf '\005\012\202\205\001\002\003\004\011\011\011\011\011\211\200\001\001\001\001\210\200\001\001\001\001' \
    > seeds/stream_session/frames
printf '\001\020GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n' \
    > seeds/stream_session/upgrade
printf '\007\377\202\030OPTIONS sip:a SIP/2.0\r\n\r\n\211\000' > seeds/stream_session/server
# Captures: microseconds on raw IP, nanoseconds on Ethernet with a VLAN, pcapng of a cooked link.
printf '\324\303\262\241\002\000\004\000\000\000\000\000\000\000\000\000\000\000\001\000e\000\000\000\000\000\000\000\000\000\000\000*\000\000\000*\000\000\000E\000\000*\000\000\000\000@\021\000\000\177\000\000\001\177\000\000\002\027p\027r\000\026\000\000\200\000\000\001\000\000\000\240\000\000\000\007\020\021\000\000\000\000 N\000\000*\000\000\000*\000\000\000E\000\000*\000\000\000\000@\021\000\000\177\000\000\001\177\000\000\002\027p\027r\000\026\000\000\200\000\000\002\000\000\001@\000\000\000\007\020\021' \
    > seeds/capture/pcap
printf '\241\262<M\000\002\000\004\000\000\000\000\000\000\000\000\000\001\000\000\000\000\000\001\000\000\000\000\000\000\000\000\000\000\000<\000\000\000<\000\000\000\000\000\000\000\000\000\000\000\000\201\000\000\005\010\000E\000\000*\000\000\000\000@\021\000\000\177\000\000\001\177\000\000\002\027p\027r\000\026\000\000\200\000\000\001\000\000\000\240\000\000\000\007\020\021\000\000\000\000\0011-\000\000\000\000<\000\000\000<\000\000\000\000\000\000\000\000\000\000\000\000\201\000\000\005\010\000E\000\000*\000\000\000\000@\021\000\000\177\000\000\001\177\000\000\002\027p\027r\000\026\000\000\200\000\000\002\000\000\001@\000\000\000\007\020\021' \
    > seeds/capture/nanoseconds
printf '\012\015\015\012\034\000\000\000M<+\032\001\000\000\000\377\377\377\377\377\377\377\377\034\000\000\000\001\000\000\000 \000\000\000q\000\000\000\000\000\000\000\011\000\001\000\011\000\000\000\000\000\000\000 \000\000\000\006\000\000\000\\\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000:\000\000\000:\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\010\000E\000\000*\000\000\000\000@\021\000\000\177\000\000\001\177\000\000\002\027p\027r\000\026\000\000\200\000\000\001\000\000\000\240\000\000\000\007\020\021\000\000\\\000\000\000\006\000\000\000\\\000\000\000\000\000\000\000\000\000\000\000\000-1\001:\000\000\000:\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\010\000E\000\000*\000\000\000\000@\021\000\000\177\000\000\001\177\000\000\002\027p\027r\000\026\000\000\200\000\000\002\000\000\001@\000\000\000\007\020\021\000\000\\\000\000\000' \
    > seeds/capture/pcapng
# Audio: stereo to be resampled, and mu-law.
printf 'RIFF\000\000\000\000WAVEfmt \020\000\000\000\001\000\002\000D\254\000\000\020\261\002\000\004\000\020\000LIST\003\000\000\000abc\000data@\000\000\000\000\001\002\003\004\005\006\007\010\011\012\013\014\015\016\017\020\021\022\023\024\025\026\027\030\031\032\033\034\035\036\037 !"#$%%&\047()*+,-./0123456789:;<=>?' \
    > seeds/wav/stereo
printf 'RIFF\000\000\000\000WAVEfmt \020\000\000\000\007\000\001\000@\037\000\000@\037\000\000\001\000\010\000LIST\003\000\000\000abc\000data(\000\000\000\000\004\010\014\020\024\030\034 $(,048<@DHLPTX\\`dhlptx|\200\204\210\214\220\224\230\234' \
    > seeds/wav/mu_law
# A value of the attribute, and two descriptions.
printf '1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e|2^20|1:4 UNENCRYPTED_SRTP' \
    > seeds/crypto/line
printf 'v=0\nm=audio 6 RTP/SAVP 0\na=crypto:1 F8 x\na=crypto:2 AEAD_AES_128_GCM inline:%038d==\n\000v=0\nm=audio 8 RTP/SAVP 0\na=crypto:2 AEAD_AES_128_GCM inline:%038d\n' \
    0 1 > seeds/crypto/pair
# A setup, operations: time, noise of the peer, its next datagram as it is, or changed.
printf '\002\000\001\002\000\002\000\000\001\002\000\002\000\000\001\002\000' > seeds/handshake/client
printf '\000\002\000\002\000\000\012\002\000\003\000\100\001\002\000\001\003\026\376\375' > seeds/handshake/server
printf '\003\000\001\002\000\002\000\000\001\002\000\003\000\030\200\002\000\000\005\002\000\002\000' > seeds/handshake/ice
# A suite, an identifier, operations: send, deliver, again, changed, made up.
printf '\000\000\000\000\001\000\000\177\377\040\002\000\000\000\002\000\001\000\002\000\000\000\003\000\001\022\005\000\000\000' > seeds/srtp/counter
printf '\004\002\001\000\001\000\002\000\000\000\004\000\001\000\000\377\377\007\002\000\001\000' > seeds/srtp/gcm
printf '\201\000\000\000\001\000\003\000\000\100\002\000\000\000\005\000\000\000' > seeds/srtp/untagged
# A binding response; operations on an allocation: a challenge; an address, a peer, its channel, data.
printf '\001\001\000\014\041\022\244\102\267\347\247\001\274\064\326\206\372\207\337\256\000\040\000\010\000\001\241\107\341\022\246\103' \
    > seeds/stun/binding
printf '\000\000\201\030\000\011\000\004\000\000\004\001\000\024\000\001r\000\000\000\000\025\000\001n\000\000\000' \
    > seeds/stun/challenge
printf '\000\000\004\014\000\026\000\010\000\001\241\107\341\022\246\103\001\001\004\000\002\001\003\005\100\000\000\001x\000\000' \
    > seeds/stun/relayed
