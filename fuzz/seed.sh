#!/bin/sh
# Fills seeds/<target>/ from the RFC 4475 corpus and from the scenarios. The seeds are not committed:
# what they are made of is.
# Usage: fuzz/seed.sh, then for example: cargo +nightly fuzz run sip_message fuzz/seeds/sip_message
# scenario_xml finds more with -- -dict=fuzz/scenario_xml.dict
set -eu
cd "$(dirname "$0")"
mkdir -p seeds/engine_datagrams seeds/sip_message seeds/sip_stream seeds/sdp seeds/sip_structured seeds/scenario_xml \
    seeds/regex
for message in ../tests/data/rfc4475/*.dat; do
    name=$(basename "$message" .dat)
    cp "$message" "seeds/sip_message/$name"
    # The first five bytes say when, where and how; here: at once, to the answerer, as it is.
    { printf '\000\001\000\000\000'; cat "$message"; } > "seeds/engine_datagrams/$name"
    # The first byte of a stream is the length of its pieces.
    { printf '\007'; cat "$message"; } > "seeds/sip_stream/$name"
    # What follows the first empty line.
    sed '1,/^\r*$/d' "$message" > "seeds/sdp/$name"
    [ -s "seeds/sdp/$name" ] || rm "seeds/sdp/$name"
    # Any bytes are choices.
    head -c 400 "$message" > "seeds/sip_structured/$name"
done
# Flags, an expression, a text to search.
printf '(a|ab)(c|bcd)(d*)\nxabcd' > seeds/regex/longest
printf 'sips?:([^@;>]*)@([0-9.]+)(:[0-9]{1,5})?\nContact: <SIP:a@10.0.0.1:5060>' > seeds/regex/uri
printf '((a*)(b|c)){2,}\\1$\naabcbc' > seeds/regex/reference
printf '^[]x[:digit:]-]+|\\<[^a-z]\n]x3-' > seeds/regex/bracket
cp ../src/scenario/builtin/*.xml ../tests/scenarios/*.xml seeds/scenario_xml/
