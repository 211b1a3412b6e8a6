//! The compatibility table of the documentation, made from the flag table.

use crate::options::{FlagSpec, GROUPS, Origin, Status};

const INTRODUCTION: &str = "\
# SIPp options in Gossipper

<!-- Made from the table of options in src/options; a test compares. To write it anew:
     UPDATE_GOLDEN=1 cargo test --locked --test golden -->

Gossipper reads SIPp's options under their names, with one dash or two. An option that this version
does not support is an error, never ignored.

Where the two differ:

- `gossipper sipp`, and a link to the program named `sipp`, have SIPp's defaults, screens and exit
  codes. `gossipper` without a command has its own:
  - A client without `-m` makes one call and stops; `-m 0` goes on until stopped. A server goes on
    until stopped. As `sipp`, both go on.
  - Without `-l`, only the call pool limits the number of open calls. As `sipp`, SIPp's rule applies:
    3 x rate x duration.
  - A terminal shows one line of status; the keys `1` to `9` show SIPp's screens instead. The report at
    the end is a table. As `sipp`, the terminal shows the screens, and the first two are printed at the
    end.
  - The first SIGINT or SIGTERM, `q` and `-timeout` give open calls five seconds before they are
    ended. As `sipp`, SIGINT and SIGTERM stop at once. `q` and `-timeout` wait for open calls,
    however long these take; `-drain` bounds the wait, and `-timeout_error` ends it.
  - An ICMP error fails its call at once. As `sipp`, the error is counted and retransmission goes on
    (`-icmp_fails_calls`), so two scripts may start in either order.
  - A run gives the dialogs of its last failed calls four seconds to end. As `sipp`, it ends with its
    last call.
  - The control socket is closed unless `-cp` or `-ci` is given. As `sipp`, it is open.
  - Help, version and `-sd` exit with 0. As `sipp`, with 99.
- Sockets have buffers of 16 MiB unless `-buff_size` gives their size. SIPp's 64 KiB lose bursts.
- Screens show times in UTC. In the place of SIPp's figures about its scheduler, they show the causes of
  withheld calls and the verdict on the generator.
- `-option=value` works too, for options with one value; `-switch=false` leaves a switch off.
- All spellings with two dashes work, also `--sf`, `--sn` and `--sd`.
- Options are read from left to right in one pass. If an option is repeated, the last one counts; only
  `-key` and `-set` add up.
- `-i` and `-mi` take addresses, not names. `-h stat` prints the same help as `-h`.
- If SIPp accepts an option without effect, such as `-r` with `-users`, Gossipper accepts it with a notice.
- `-sf` together with `-sn` is an error. Empty ranges and contradicting limits are errors, too.
- A REGISTER or OPTIONS makes no dialog. If its call fails, no BYE is sent; SIPp sends one.
- `-aa` may answer a request with which no call of the scenario begins. Such a request does not become a call and
  does not count for `-m`. In SIPp it begins a call, which waits forever.
- A repeated request gets the answer that it got before. This lasts until 32 seconds after a later request was
  answered; SIPp repeats only its last message. If the 200 to a BYE, INFO, MESSAGE, NOTIFY or OPTIONS ended the
  call, it is repeated as long as `-deadcall_wait` remembers the call.
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

Every scenario that SIPp 3.6.1 runs should run here, except for media. Gossipper reads doubtful text as SIPp reads
it. The run prints a warning with file, line and column when it starts. `gossipper check FILE` lists all warnings
and errors without a run. An error is text that SIPp refuses too, or that has no meaning: unknown steps, actions and
keywords, messages without a method or a status code, and a scenario, tag, comment or CDATA section that is never
closed. SIPp ignores some of these errors silently. Other doubtful text is read like this:

| In the file | Read as |
|---|---|
| an attribute twice; a second `<action>` | the first one |
| an unknown attribute; commas, words and quotes between attributes | ignored |
| an attribute without a blank before its name, as in `a=\"1\"b=\"2\"` | ignored |
| `\\\"` inside a value | a quote |
| text, unknown elements and actions outside of `<action>`, within a step; text between steps and after the root | ignored |
| `value=\"\"` of numbers | 0 |
| `true` and `false` as numbers; whole numbers as `0x10` | as in C |
| `yes` and `no`, and `TRUE` in any case, also where SIPp refuses them | true and false |
| `<send>` with text outside a CDATA section | the message; SIPp refuses the file |
| `response=\"18[03]\" regexp_match=\"true\"` | a pattern for codes; SIPp 3.6.1 refuses it |
| `timeout=` and `retrans=` below 0 | ignored |
| `header=` that is not a header name, such as `branch=` or `m=audio` | a text to search for in the whole message; the value is the rest of its line, or empty if the text is not found (entities in the text stay as written) |
| `header=` or `variable=` without the matching `search_in=` | ignored |
| more names in `assign_to` than the expression has groups | the others keep their values |
| a pause with several lengths | its distribution, else its variable |
| `test=` or `chance=` without `next=`, `condexec_inverse=` without `condexec=` | ignored |
| `request=` and `response=` together | `request=` |
| a keyword in `file=` of `<lookup>`, `<insert>` and `<replace>` | the file of that name when the action runs |
| one name for several transactions | the one that was started last |
| `[authentication]` in the text of an action | the answer to the last challenge, computed for the last request; SIPp crashes |
| `[cseq+1+1]`, `[local_ip+1]`, `[field]` | `[cseq+1]`, `[local_ip]`, `[field0]` |
| a name of the scenario of more than 128 bytes | its first 128 bytes |
| an unknown `int_cmd=` | `stop_call` |

A scenario may have 4096 steps and 65,536 actions. Its texts may have 32 MiB in all, including inserted files and
`-key` texts. A file may have 16 MiB, 131,072 elements and 524,288 attributes. Only the first 1000 warnings are
printed.

A `<jump>` to its own step, or steps that jump in a circle and never wait, are errors: SIPp stops or hangs there.

Regular expressions are POSIX extended ones over bytes, as in SIPp: of the matches that begin leftmost, the longest
is taken. Where POSIX leaves a choice, the GNU C library is followed: `\\1` to `\\9` refer back, and
`\\w \\W \\s \\S \\b \\B \\< \\>` have the same meaning as there. Any other letter after a backslash is that
letter itself. These are the differences from that library:

- Groups contain the text that POSIX prescribes: the longest text from left to right, and in repetitions the
  text of the last round. In the library a group sometimes has less text, or that of an earlier round.
- An anchor inside a repeated group is an anchor; the library sometimes loses it.
- Equivalence classes `[=x=]` and collating symbols `[.x.]` are errors.
- Letters beyond ASCII are bytes: `[é]` matches each of its two bytes. Upper and lower case exist for ASCII only.
- An expression that compiles to more than 60,000 states is an error. If a match takes too long (some ten
  milliseconds), it is abandoned, and the call fails with `scenario_error`.

An IPv6 address has brackets, as in a URI. SDP has addresses without brackets (RFC 4566 section 9): after
`IN IP6 ` or `IN IP[local_ip_type] ` in a body, `[local_ip]`, `[server_ip]` and `[remote_ip]` have none. SIPp's have
them there, too. `::ffff:192.0.2.1` is 192.0.2.1, also in messages.

`[timestamp]` and `[date]` are in UTC. `[sipp_version]` is the version of Gossipper. `ack_txn` gives the ACK of a
refused INVITE the branch of that INVITE; the ACK of a 2xx gets a new branch. `response_txn` accepts a response by
the branch of its topmost Via and its method; the CSeq number does not matter.

After a step with `rrs`, `[routes]` and `[next_url]` are those of the dialog. They come from the response or request
that created the dialog, which is found by its tag; an answer replaces those of a provisional response. The Contact
of a later INVITE, UPDATE, SUBSCRIBE, NOTIFY or REFER replaces the target. SIPp keeps the values of the first step
with `rrs`. Without `rrs`, `[routes]` is empty, and `[next_url]` is the peer's Contact; SIPp leaves it empty. If the
peer sent no Contact, `[next_url]` is the address of the call's last request.

A line of a message is left out if it has only white space and empty values (`[$variable]`, `[fieldN]`,
`[last_Header]`, `[routes]`, `[next_url]`, `[peer_tag_param]`). `[len]` counts the remaining text. An empty value
beside other text does not change that text: `X: a [last_None:] b` becomes `X: a  b`. SIPp sends the same, though its
documentation says that the rest of the line is dropped. If such a line is the last of a head, the empty line after
it stays; SIPp removes that one, too. A variable that is 0 is empty. `[last_Header:value]`, `[last_Header:uri]` and
`[last_Header:param.name]` are those of SIPp 3.7.

In a field of an injection file `[authentication ...]` is evaluated, with its own arguments, as in SIPp. Other
keywords stay text, and one warning for each file says so. If a response has challenges of several realms, each
realm gets its credentials; SIPp answers one. The bytes of a scenario file are sent as they are; its declared
encoding does not matter.

A check that fails (`check_it`, `check_it_inverse`) ends the actions of its step, and the scenario goes on. As in
SIPp, the call then fails at its end; its cause is the last failed check, unless another failure ended the call. A
failed check in a step that receives nothing (`<send>`, `<nop>`, `<pause>`) is only a warning. The actions of a
`<send>` search the message that it sent; `[last_...]` in their texts is from the last received message. For an
`<ereg>` without a check, an absent header is empty text.

A request with an empty Request-URI is recognised by its method, with a warning. SIPp sends such requests if its
`[next_url]` is empty.

`<closecon/>` is for calls with their own connection (`-t tn ln cln wn wsn`). The connection is closed as soon as
no other call uses it, and the next message of the call opens a new one. Only the peer can open a connection for a call that
the peer began. Such a call waits for the peer, and fails with `tcp_closed` if it has to send before that. With
`-reconnect_close false` the same applies when the peer closes the connection. Over UDP with a socket per call
(`-t un`) the next message leaves from another socket. If all calls share one socket or connection, it stays open, and
the action has no effect. SIPp closes it, and ends with a failed assertion at the next message of the call.
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
