//! The compatibility table of the documentation, made from the flag table.

use super::flags::{FlagSpec, GROUPS, Origin, Status};

const INTRODUCTION: &str = "\
# SIPp options in Gossipper

<!-- Made from the flag table in src/cli/flags; a test compares. To write it anew:
     UPDATE_GOLDEN=1 cargo test --test golden -->

Gossipper reads SIPp's options under their names, with one dash or two. An option that this version
does not support is an error, never ignored.

Where the two differ:

- `gossipper sipp`, and a link to the program named `sipp`, have SIPp's defaults, screens and exit
  codes. `gossipper` without a command has its own:
  - A client without `-m` makes one call and stops; `-m 0` goes on until stopped. A server goes on
    until stopped. As `sipp`, both go on.
  - Only the call pool bounds the number of open calls when `-l` is not given. As `sipp`, SIPp's rule
    applies: 3 x rate x duration.
  - One line of status, which the keys `1` to `9` exchange for SIPp's screens, and a table at the end.
    As `sipp`, the screens, of which the first two are printed at the end.
  - The first SIGINT or SIGTERM, `q` and `-timeout` give open calls five seconds before they are
    ended. As `sipp`, SIGINT and SIGTERM stop at once. `q` and `-timeout` wait for open calls,
    however long these take; `-drain` bounds the wait, and `-timeout_error` ends it.
  - An ICMP error fails its call at once, and a run gives the dialogs of its last failed calls four
    seconds to end. As `sipp`, the error is counted and retransmission goes on (`-icmp_fails_calls`),
    so that two scripts may start in either order, and a run ends with its last call.
  - The control socket is closed unless `-cp` or `-ci` is given. As `sipp`, it is open.
  - Help, version and `-sd` exit with 0. As `sipp`, with 99.
- Sockets have buffers of 16 MiB unless `-buff_size` gives their size. SIPp's 64 KiB lose bursts.
- Screens show times in UTC. Where SIPp shows what its scheduler does, ours show what withheld calls
  and whether the generator keeps up.
- `-option=value` is taken as well, for options with one value; `-switch=false` leaves a switch off.
- All spellings with two dashes work, also `--sf`, `--sn` and `--sd`.
- Options are read from left to right in one pass; where one is repeated, the last one counts, except
  for `-key` and `-set`, which add up.
- `-i` and `-mi` take addresses, not names. `-h stat` prints the same help as `-h`.
- What SIPp lets pass without effect, such as `-r` with `-users`, is let pass with a notice.
- `-sf` together with `-sn` is an error, and so are ranges that are empty and limits that contradict.
- A REGISTER or OPTIONS of a call that fails makes no dialog, and gets no BYE. SIPp sends one.
- A request that `-aa` answers, and that no call of the scenario begins with, is no call: it is answered alone and
  uses up no `-m`. In SIPp it begins a call that waits for what does not come.
- A request that comes again gets the answer again that it got, whoever gave it, for 32 seconds after a later
  one was answered; SIPp repeats only its last message. A BYE, INFO, MESSAGE, NOTIFY or OPTIONS whose 200 ended
  the call gets that again too, as long as `-deadcall_wait` remembers the call.
";

/// The text of `docs/sipp-compatibility.md`.
pub fn compatibility_markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    section(&mut text, "Options of SIPp", Origin::Sipp);
    language(&mut text);
    section(&mut text, "Options that SIPp does not have", Origin::Gossipper);
    text
}

const LANGUAGE: &str = "
## Scenario language

Every scenario that SIPp 3.6.1 runs is meant to run, media aside. Where SIPp reads something in a way of its
own, so does Gossipper, and says so with file, line and column when the run starts; `gossipper check FILE` lists
all of that, and all errors, without a run. Errors are what SIPp refuses too, or what cannot mean anything:
unknown steps, actions and keywords, messages without a method or a status code, a scenario, tag, comment or
CDATA section that is never closed (SIPp passes over some of these in silence). What SIPp does with the rest:

| In the file | Taken as |
|---|---|
| an attribute twice; a second `<action>` | the first one |
| an unknown attribute; commas, words and quotes between attributes | not there |
| an attribute without a blank before its name, as in `a=\"1\"b=\"2\"` | not there |
| `\\\"` inside a value | a quote |
| text, unknown elements and actions outside of `<action>`, within a step; text between steps and behind the root | not there |
| `value=\"\"` of numbers | 0 |
| `true` and `false` as numbers; whole numbers as `0x10` | as in C |
| `yes` and `no`, and `TRUE` in any case, also where SIPp refuses them | true and false |
| `<send>` with text that is in no CDATA section | the message; SIPp refuses the file |
| `response=\"18[03]\" regexp_match=\"true\"` | a pattern for codes; SIPp 3.6.1 refuses it |
| `timeout=` and `retrans=` below 0 | not there |
| `header=` that is no header name, as `branch=` or `m=audio` | a text that is searched for in the whole message; what follows it in its line is taken, and nothing if it is not found (entities in it stay as written) |
| `header=` or `variable=` without the `search_in=` that they belong to | not there |
| more names in `assign_to` than the expression has groups | the others keep what they have |
| a pause with several lengths | its distribution, else its variable |
| `test=` or `chance=` without `next=`, `condexec_inverse=` without `condexec=` | not there |
| `request=` and `response=` together | `request=` |
| a keyword in `file=` of `<lookup>`, `<insert>` and `<replace>` | the file of that name when the action runs |
| one name for several transactions | the one that was started last |
| `[authentication]` in the text of an action | the answer to the last challenge, as the last request before would give it; SIPp crashes |
| `[cseq+1+1]`, `[local_ip+1]`, `[field]` | `[cseq+1]`, `[local_ip]`, `[field0]` |
| a name of the scenario of more than 128 bytes | its first 128 |
| an unknown `int_cmd=` | `stop_call` |

A scenario has at most 4096 steps and 65,536 actions, and all of its texts at most 32 MiB when files and `-key` texts
are put in; a file has at most 16 MiB, 131,072 elements and 524,288 attributes. Of warnings the first 1000 are told.

A `<jump>` to its own step, or steps that jump in a circle and never wait, are errors: SIPp stops or hangs there.

Regular expressions are POSIX extended ones over bytes, as in SIPp: of the matches that begin leftmost
the longest is taken. What POSIX leaves open is as in the GNU C library: `\\1` to `\\9` refer back, and
`\\w \\W \\s \\S \\b \\B \\< \\>` mean what they do there; another letter behind a backslash is that
letter. They differ from that library in this:

- Groups hold what POSIX says: the longest text from left to right, and in repetitions what the last
  round matched. The library sometimes gives a group less, or what it held in an earlier round.
- An anchor inside a repeated group is an anchor; the library sometimes loses it.
- Equivalence classes `[=x=]` and collating symbols `[.x.]` are errors.
- Letters beyond ASCII are bytes: `[é]` matches each of the two. Upper and lower case are those of ASCII.
- An expression that compiles to more than 60,000 states is an error. A match that takes too long (some
  ten milliseconds) is given up, and the call fails with `scenario_error`.

An IPv6 address has brackets, as in a URI; behind `IN IP6 ` or `IN IP[local_ip_type] ` in a body, where SDP has
an address (RFC 4566 section 9), `[local_ip]`, `[server_ip]` and `[remote_ip]` have none, where SIPp's do.
`::ffff:192.0.2.1` is 192.0.2.1, also in messages.

`[timestamp]` and `[date]` are in UTC. `[sipp_version]` is the version of Gossipper. `ack_txn` gives the
ACK of a refused INVITE the branch of that INVITE, and the ACK of a 2xx one of its own. `response_txn`
takes a response by the branch of its topmost Via and its method, whatever its CSeq number.

`[routes]` and `[next_url]` are those of the dialog, once a step with `rrs` has been passed: of the response or
request that made it (an answer counts more than ringing), by its tag, and the Contact of later INVITE, UPDATE,
SUBSCRIBE, NOTIFY and REFER replaces the target. SIPp keeps what the first step with `rrs` said. Without `rrs` there are no
`[routes]`, and `[next_url]`, which SIPp leaves empty, is the peer's Contact; where nobody gave one, it is the address of the
call's last request.

A line of a message is left out if there is nothing in it but empty values (`[$variable]`, `[fieldN]`, `[last_Header]`,
`[routes]`, `[next_url]`, `[peer_tag_param]`) and white space; `[len]` counts what is left. Values that are empty beside other text leave that
text as it is: `X: a [last_None:] b` becomes `X: a  b`, which is what SIPp sends (its documentation says that the rest of
the line goes). At the end of a head such a line leaves the empty line behind it in place; SIPp takes that away too.
A variable that is 0 is empty. `[last_Header:value]`, `[last_Header:uri]` and `[last_Header:param.name]` are those of SIPp 3.7.

In a field of an injection file `[authentication ...]` is evaluated, with its own arguments, as in SIPp; other
keywords stay text, which is said once for each file. Of a response whose challenges have several realms each gets its credentials; SIPp
answers one. The bytes of a scenario file are sent as they are, whatever encoding it declares.

A check that fails (`check_it`, `check_it_inverse`) ends the actions of its step, and the scenario goes
on. As in SIPp, the call fails of it at its end, of the last one if there are several, unless it ends of
something else; and a check that fails where nothing is received (`<send>`, `<nop>`, `<pause>`) is a warning
only. The actions of a `<send>` look at the message that it sent; `[last_...]` in their texts is what was
received last. To an `<ereg>` that does not insist on it, a header that is absent is empty text.

A request with an empty Request-URI, as SIPp sends it where its `[next_url]` is empty, is taken by its method,
with a warning.

`<closecon/>` is for calls with a connection of their own (`-t tn ln cln wn wsn`): it is closed with the last
call on it, and the next message of the call opens a new one. A call that the peer began waits for the peer to
come back on another connection, since only the peer can open one, and fails by `tcp_closed` if it has to speak
before that; with `-reconnect_close false` it does so too when the peer closes the connection. Over UDP with a socket per call (`-t un`) the next message leaves from another socket. Where all
calls share one socket or connection it stays open, and the action has no effect; SIPp closes it, and ends
with a failed assertion when the call sends its next message.
";

fn language(text: &mut String) {
    text.push_str(LANGUAGE);
    for section in crate::scenario::language() {
        text.push_str(&format!("\n### {}\n\n| Name | Status |\n|---|---|\n", section.title));
        for entry in section.entries {
            let status = match entry.missing {
                Some(missing) => format!("not yet: {missing}"),
                None => "supported".to_owned(),
            };
            text.push_str(&format!(
                "| `{}` | {} |\n",
                entry.name.replace('|', "\\|"),
                cell(&status)
            ));
        }
    }
}

fn section(text: &mut String, title: &str, origin: Origin) {
    text.push_str(&format!("\n## {title}\n"));
    for group in GROUPS {
        let rows: Vec<_> = group.flags.iter().filter(|flag| flag.origin == origin).collect();
        if rows.is_empty() {
            continue;
        }
        text.push_str(&format!("\n### {}\n\n", group.title));
        text.push_str("| Option | Status | Default | Meaning |\n|---|---|---|---|\n");
        for flag in rows {
            text.push_str(&row(flag));
        }
    }
}

fn row(flag: &'static FlagSpec) -> String {
    let (status, meaning) = match flag.status {
        Status::Supported(_) | Status::Immediate(_) => {
            ("supported".to_owned(), flag.help.to_owned())
        }
        Status::Alias(target) if flag.is_available() => {
            ("supported".to_owned(), format!("Same as -{target}"))
        }
        Status::Alias(target) => ("not yet".to_owned(), format!("Same as -{target}")),
        Status::Later(missing) => (format!("not yet: {missing}"), flag.help.to_owned()),
        Status::Refused(why) => (format!("refused: {why}"), flag.help.to_owned()),
    };
    let usage = cell(&flag.usage());
    format!("| `{usage}` | {} | {} | {} |\n", cell(&status), cell(flag.default), cell(&meaning))
}

/// Escapes characters that would end a table cell or start an HTML element.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
