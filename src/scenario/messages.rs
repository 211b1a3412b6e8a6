//! `<send>` and `<recv>`: messages to send and messages to wait for.

use super::attributes::Attributes;
use super::error::Fault;
use super::keyword::{self, is_token};
use super::names::Table;
use super::program::{DefaultMessages, Expect, NamedTransaction, Optional, Outgoing, Recv, Send};
use super::template::{Part, Template};
use super::transactions::NamedTransactions;
use super::xml::{Attribute, Element};
use crate::sip::{Method, MethodId};

/// Compiles a `<send>`; `transactions` are the client transactions so far.
pub(super) fn send(
    element: &Element,
    attributes: &Attributes<'_>,
    table: &mut Table<'_>,
    transactions: &mut Vec<String>,
    named_transactions: &mut NamedTransactions,
) -> Result<Send, Fault> {
    let timeout_ms = attributes.milliseconds("timeout");
    let retrans_ms = attributes.milliseconds("retrans");
    let retrans_ms = retrans_ms.filter(|&retrans_ms| retrans_ms > 0);
    if element.text.trim_ascii().is_empty() {
        return Err(Fault::new(element.position, "<send> without a message")
            .hint("the message is written inside <![CDATA[ ... ]]>"));
    }
    let errors_before = attributes.errors();
    let template = keyword::message(&element.text, table)?;
    let (message, method) = match outgoing(&template) {
        Ok(kind) => kind,
        // A keyword that could not be compiled is missing in the first line.
        Err(_) if attributes.errors() > errors_before => return Err(Fault::told()),
        Err(fault) => return Err(fault.at(element.text_position())),
    };
    let transaction = match message {
        Outgoing::Request(_) if method != "ACK" => {
            let same = |name: &&String| name.split('#').next() == Some(&method);
            let name = match transactions.iter().filter(same).count() {
                0 => method,
                earlier => format!("{method}#{}", earlier + 1),
            };
            transactions.push(name);
            Some(transactions.len() as u16 - 1)
        }
        _ => None,
    };
    let named = named(attributes, message, named_transactions)?;
    Ok(Send { template, message, retrans_ms, timeout_ms, transaction, named })
}

fn named(
    attributes: &Attributes<'_>,
    message: Outgoing,
    transactions: &mut NamedTransactions,
) -> Result<Option<NamedTransaction>, Fault> {
    let (start, ack) = (attributes.get("start_txn"), attributes.get("ack_txn"));
    let Some(given) = start.or(ack) else { return Ok(None) };
    let Outgoing::Request(bit) = message else {
        return Err(Fault::new(given.position, format!("{}= on a response", given.name))
            .hint("transactions are those of requests that the scenario sends"));
    };
    match (start, ack) {
        (Some(start), both) => {
            if both.is_some() {
                let message = "start_txn= and ack_txn= together";
                attributes.warn("ack_txn", message, "SIPp takes start_txn=");
            }
            Ok(Some(NamedTransaction::Start(transactions.start(start, bit)?)))
        }
        (None, Some(ack)) => Ok(Some(NamedTransaction::Ack(transactions.ack(ack, bit)?))),
        (None, None) => Ok(None),
    }
}

/// The kind of message that the template makes, and the first token of its first line. That line
/// must be known at load, since transactions, retransmission and CSeq depend on it.
fn outgoing(template: &Template) -> Result<(Outgoing, String), StartLineFault> {
    let literal = match template.parts.first() {
        Some(&Part::Literal { start, end }) => &template.pool[start as usize..end as usize],
        _ => &[],
    };
    let line = literal.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let space = memchr::memchr(b' ', line).ok_or(StartLineFault::Neither)?;
    let token = std::str::from_utf8(&line[..space]).map_err(|_| StartLineFault::Neither)?;
    if token.eq_ignore_ascii_case("SIP/2.0") {
        let rest = line[space..].trim_ascii_start();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let code = std::str::from_utf8(&rest[..digits]).ok().and_then(|code| code.parse().ok());
        return match code {
            Some(code @ 100..=699) => Ok((Outgoing::Response(code), token.to_owned())),
            _ => Err(StartLineFault::Code),
        };
    }
    if !is_token(token) || line[space..].trim_ascii().is_empty() && template.parts.len() == 1 {
        return Err(StartLineFault::Neither);
    }
    Ok((Outgoing::Request(Method::from_bytes(token.as_bytes()).bit()), token.to_owned()))
}

enum StartLineFault {
    /// The line begins neither a request nor a response.
    Neither,
    /// The line is that of a response without a code of its own.
    Code,
}

impl StartLineFault {
    fn at(self, position: super::Position) -> Fault {
        match self {
            Self::Neither => Fault::new(
                position,
                "the message begins neither with a method nor with \"SIP/2.0 code\"",
            )
            .hint("the first line is written out, as: INVITE sip:[service]@[remote_ip] SIP/2.0"),
            Self::Code => Fault::new(position, "\"SIP/2.0\" without a status code")
                .hint("the code is written out, from 100 to 699, as: SIP/2.0 200 OK"),
        }
    }
}

/// Compiles a `<recv>`.
pub(super) fn recv(
    attributes: &Attributes<'_>,
    transactions: &mut NamedTransactions,
) -> Result<Recv, Fault> {
    let named = match attributes.get("response_txn") {
        Some(name) if attributes.get("response").is_none() => {
            return Err(Fault::new(name.position, "response_txn= needs response="));
        }
        Some(name) => Some(transactions.response(name)?),
        None => None,
    };
    let ignore_sdp = attributes.boolean("ignoresdp").unwrap_or(false);
    let keeps_challenge = attributes.boolean("auth").unwrap_or(false);
    let optional = match attributes.text("optional").map(|text| text.trim()) {
        None | Some("false" | "no" | "0") => Optional::Mandatory,
        Some("true" | "yes" | "1") => Optional::Local,
        Some("global") => Optional::Global,
        Some(other) => {
            let message = format!("optional=\"{other}\" is not understood");
            return Err(Fault::new(attributes.place("optional"), message)
                .hint("one of true, false, global"));
        }
    };
    let advance_state = attributes.boolean("advance_state").unwrap_or(true);
    if !advance_state && optional == Optional::Mandatory {
        return Err(Fault::new(
            attributes.place("advance_state"),
            "advance_state=\"false\" needs optional=\"true\" or \"global\"",
        ));
    }
    let timeout_ms = attributes.milliseconds("timeout");
    let record_route_set = attributes.boolean("rrs").unwrap_or(false);
    let expect = expect(attributes)?;
    Ok(Recv {
        expect,
        optional,
        timeout_ms,
        named,
        ignore_sdp,
        record_route_set,
        keeps_challenge,
        advance_state,
    })
}

fn expect(attributes: &Attributes<'_>) -> Result<Expect, Fault> {
    let is_pattern = attributes.lenient("regexp_match", false).unwrap_or(false);
    let pattern = |attribute: &Attribute| attribute.regex();
    let (request, response) = (attributes.get("request"), attributes.get("response"));
    if request.is_some() && response.is_some() {
        let hint = "SIPp takes request=; several <recv optional=\"true\"> may follow each other";
        attributes.warn("response", "request= and response= together", hint);
    }
    match (request, response) {
        (Some(method), _) if is_pattern => Ok(Expect::RequestPattern(pattern(method)?)),
        (None, Some(code)) if is_pattern => Ok(Expect::ResponsePattern(pattern(code)?)),
        (Some(method), _) => {
            let name = method.value.trim();
            if name.is_empty() {
                return Err(Fault::new(method.position, "request=\"\" is not a method")
                    .hint("one method, as INVITE; a pattern needs regexp_match=\"true\""));
            }
            if !is_token(name) {
                let message = format!("request=\"{name}\" is not a method");
                let hint = "it never comes; a pattern needs regexp_match=\"true\"";
                attributes.warn("request", message, hint);
            }
            let upper = name.to_ascii_uppercase();
            if upper != name && Method::from_bytes(upper.as_bytes()).id() != MethodId::Other {
                let message = format!("request=\"{name}\" never comes");
                let hint = format!("methods have one spelling (RFC 3261 7.1): write \"{upper}\"");
                attributes.warn("request", message, &hint);
            }
            Ok(Expect::Request(name.into()))
        }
        (None, Some(code)) => {
            let message = || format!("response=\"{}\" is not a status code", code.value);
            let hint = "one code from 100 to 699; a pattern needs regexp_match=\"true\"";
            match code.value.trim().parse::<u16>() {
                Ok(number @ 100..=699) => Ok(Expect::Response(number)),
                Ok(number @ 1..) => {
                    attributes.warn("response", message(), "it never comes");
                    Ok(Expect::Response(number))
                }
                _ => Err(Fault::new(code.position, message()).hint(hint)),
            }
        }
        (None, None) => Err(attributes.missing(&["request", "response"])),
    }
}

/// Compiles a `<DefaultMessage>`.
pub(super) fn default_message(
    element: &Element,
    attributes: &Attributes<'_>,
    table: &mut Table<'_>,
    messages: &mut DefaultMessages,
) -> Result<(), Fault> {
    const IDS: [&str; 6] = ["3pcc_abort", "ack", "ack2", "bye", "cancel", "200"];
    let id = attributes.required("id")?;
    let (place, starts) = match id.value.trim() {
        "3pcc_abort" => (&mut messages.abort_3pcc, None),
        "ack" => (&mut messages.ack, Some("ACK")),
        "ack2" => (&mut messages.ack2, Some("ACK")),
        "bye" => (&mut messages.bye, Some("BYE")),
        "cancel" => (&mut messages.cancel, Some("CANCEL")),
        "200" => (&mut messages.ok, Some("SIP/2.0")),
        other => {
            let message = format!("there is no default message \"{other}\"");
            return Err(Fault::new(id.position, message)
                .hint(format!("one of {}", IDS.join(", ")))
                .suggest(other, IDS.into_iter()));
        }
    };
    if place.is_some() {
        let message = format!("default message \"{}\" twice", id.value);
        attributes.warn("id", message, "SIPp takes the last one");
    }
    if element.text.trim_ascii().is_empty() {
        return Err(Fault::new(element.position, "<DefaultMessage> without a message")
            .hint("the message is written inside <![CDATA[ ... ]]>"));
    }
    let template = keyword::message(&element.text, table)?;
    if let Some(word) = starts {
        let (_, method) = outgoing(&template).map_err(|fault| fault.at(element.text_position()))?;
        if method != word {
            let message = format!("default message \"{}\" begins with {method}", id.value);
            return Err(Fault::new(element.text_position(), message)
                .hint(format!("it replaces a message that begins with {word}")));
        }
    }
    *place = Some(template);
    Ok(())
}
