//! The record of the wire, and rules that it must obey in every run.
//!
//! The checks know RFC 3261 and the wire, and nothing of the engine's state.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::rc::Rc;

use gossipper::sip::{HeaderIndex, Kind, MethodId};
use gossipper_uring::sim::Tap;

use super::MS;

/// One datagram that entered the network.
#[derive(Clone, Debug)]
pub struct Sent {
    pub at_ns: u64,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub payload: Rc<[u8]>,
}

/// Changes that spoil the record. A check must notice each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Every third repetition seems to be sent 1 ms later than it was.
    LateRepetition,
    /// BYEs seem not to be sent.
    NoBye,
    /// A caller's ACK seems to come before its INVITE.
    AckFirst,
    /// A call's messages carry the Via of another call.
    StrangeBranch,
}

/// All datagrams so far; clones share it.
#[derive(Clone, Default)]
pub struct Log {
    entries: Rc<RefCell<Vec<Sent>>>,
}

/// The faults that the network may have, as far as the checks have to know them.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Sends may fail for want of room, so that repetitions may be missing on the wire.
    pub gaps: bool,
    /// Nothing is lost, repeated or late: no side has a reason to repeat a message.
    pub perfect: bool,
    /// Workers may be stalled: repetitions may be late.
    pub stalls: bool,
    /// The run ends every call itself, so each dialog must be ended.
    pub ends_dialogs: bool,
}

const T1_MS: u64 = 500;
const T2_MS: u64 = 4000;
/// Latest time after which a timer fires: the wheel's tick, 2^17 ns, and some.
const TICK_NS: u64 = 140_000;

impl Log {
    pub fn tap(&self) -> Tap {
        let entries = Rc::clone(&self.entries);
        Box::new(move |at_ns, source, destination, payload: &[u8]| {
            entries.borrow_mut().push(Sent { at_ns, source, destination, payload: payload.into() });
        })
    }

    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    pub fn entries(&self) -> Vec<Sent> {
        self.entries.borrow().clone()
    }

    /// A hash of all times, addresses and bytes.
    pub fn hash(&self) -> u64 {
        let mut hasher = foldhash::fast::FixedState::with_seed(0).build_hasher();
        for sent in self.entries.borrow().iter() {
            hasher.write_u64(sent.at_ns);
            hasher.write(format!("{}>{}", sent.source, sent.destination).as_bytes());
            hasher.write(&sent.payload);
        }
        hasher.finish()
    }

    /// The last datagrams, a line each.
    pub fn tail(&self, count: usize) -> String {
        let entries = self.entries.borrow();
        let mut out = String::new();
        for sent in &entries[entries.len().saturating_sub(count)..] {
            let _ = writeln!(out, "{}", sent.line());
        }
        out
    }

    /// Spoils the record; returns `false` if there was nothing to spoil.
    pub fn mutate(&self, mutant: Mutant) -> bool {
        let mut entries = self.entries.borrow_mut();
        let before = entries.len();
        match mutant {
            Mutant::LateRepetition => {
                let mut seen = HashMap::new();
                let mut spoiled = 0;
                for sent in entries.iter_mut() {
                    let count = seen.entry((sent.source, Rc::clone(&sent.payload))).or_insert(0);
                    *count += 1;
                    if *count > 1 && sent.is_request() && !sent.payload.starts_with(b"ACK") {
                        spoiled += 1;
                        sent.at_ns += if spoiled % 3 == 0 { MS } else { 0 };
                    }
                }
                spoiled >= 3
            }
            Mutant::NoBye => {
                entries.retain(|sent| !sent.payload.starts_with(b"BYE "));
                entries.len() != before
            }
            Mutant::AckFirst => {
                let ack = entries.iter().position(|sent| sent.payload.starts_with(b"ACK "));
                let Some(ack) = ack else { return false };
                let ack = entries.remove(ack);
                entries.insert(0, ack);
                true
            }
            Mutant::StrangeBranch => {
                let mut last: Option<Vec<u8>> = None;
                for sent in entries.iter_mut().filter(|sent| sent.payload.starts_with(b"INVITE")) {
                    let text = String::from_utf8_lossy(&sent.payload).into_owned();
                    let via = text.lines().find(|line| line.starts_with("Via:")).map(str::to_owned);
                    let Some(via) = via else { return false };
                    if let Some(other) = &last {
                        let other = String::from_utf8_lossy(other).into_owned();
                        sent.payload = text.replace(&via, &other).into_bytes().into();
                        return true;
                    }
                    last = Some(via.into_bytes());
                }
                false
            }
        }
    }

    /// Checks everything that was on the wire.
    pub fn check(&self, rules: Rules) -> Result<(), String> {
        let entries = self.entries.borrow();
        let mut index = HeaderIndex::new();
        let mut calls: BTreeMap<Vec<u8>, Vec<Note>> = BTreeMap::new();
        let mut branches: HashMap<Vec<u8>, (Vec<u8>, Vec<u8>)> = HashMap::new();
        for (number, sent) in entries.iter().enumerate() {
            let wrong = |what: &str| Err(format!("{what}:\n{}", sent.text()));
            let message = match index.parse(&sent.payload) {
                Ok(message) => message,
                Err(error) => return wrong(&format!("we sent what we cannot read ({error})")),
            };
            if let Err(error) = message.check() {
                return wrong(&format!("we sent an invalid message ({error})"));
            }
            let Ok(cseq) = message.cseq() else { return wrong("no CSeq") };
            let branch = match message.top_via() {
                Ok(via) => via.branch.unwrap_or_default().to_vec(),
                Err(error) => return wrong(&format!("no Via ({error})")),
            };
            if let Kind::Request { method, .. } = message.kind()
                && !matches!(method.id(), MethodId::Ack | MethodId::Cancel)
            {
                let call_id = message.call_id().unwrap_or_default().to_vec();
                let own = (call_id, cseq.number.to_string().into_bytes());
                let known = branches.entry(branch.clone()).or_insert_with(|| own.clone());
                if *known != own {
                    return wrong("two transactions have one branch");
                }
            }
            let (name, code) = match message.kind() {
                Kind::Request { method, .. } => (method.as_bytes().to_vec(), 0),
                Kind::Response { code, .. } => (cseq.method.as_bytes().to_vec(), code),
            };
            let call_id = message.call_id().unwrap_or_default().to_vec();
            let cseq = cseq.number;
            let note = Note { number, at_ns: sent.at_ns, name, code, cseq, branch };
            calls.entry(call_id).or_default().push(note);
        }
        for (call_id, notes) in &calls {
            check_call(&entries, notes, rules).map_err(|what| {
                let mut story = String::new();
                for note in notes {
                    let _ = writeln!(story, "{}", entries[note.number].line());
                }
                format!("call {}: {what}\n{story}", String::from_utf8_lossy(call_id))
            })?;
        }
        Ok(())
    }
}

/// The parts of a datagram that the checks look at.
struct Note {
    number: usize,
    at_ns: u64,
    /// The method of the request, or of the request that is answered.
    name: Vec<u8>,
    /// 0 for requests.
    code: u16,
    cseq: u32,
    branch: Vec<u8>,
}

impl Note {
    fn is(&self, name: &str) -> bool {
        self.code == 0 && self.name == name.as_bytes()
    }

    fn answers(&self, name: &str, codes: std::ops::Range<u16>) -> bool {
        self.name == name.as_bytes() && codes.contains(&self.code)
    }
}

fn check_call(entries: &[Sent], notes: &[Note], rules: Rules) -> Result<(), String> {
    check_order(entries, notes)?;
    // Repetitions: the same bytes from the same sender.
    let mut sendings: BTreeMap<(SocketAddr, &[u8]), Vec<&Note>> = BTreeMap::new();
    for note in notes {
        let sent = &entries[note.number];
        sendings.entry((sent.source, &sent.payload[..])).or_default().push(note);
    }
    for sending in sendings.values() {
        if rules.perfect && sending.len() > 1 {
            return Err(format!("{:?} repeated without need", entries[sending[0].number].line()));
        }
        if sending[0].code == 0 && !sending[0].is("ACK") {
            // A repeated response brings the request that answered it again, at any time.
            let is_prompted = notes.iter().any(|note| {
                note.code != 0
                    && note.number < sending[0].number
                    && entries[note.number].source != entries[sending[0].number].source
            });
            check_times(sending, rules, is_prompted)?;
        }
    }
    let acknowledges = |ack: &Note| {
        // The ACK of a refusal has the branch of its INVITE (RFC 3261 section 17.1.1.3).
        let invite =
            |note: &&Note| note.is("INVITE") && note.cseq == ack.cseq && note.branch != ack.branch;
        let answer = |note: &&Note| note.answers("INVITE", 200..300) && note.cseq == ack.cseq;
        notes.iter().any(|note| answer(&note)) && notes.iter().any(|note| invite(&note))
    };
    let confirmed = notes.iter().any(|note| note.is("ACK") && acknowledges(note));
    let ended = notes.iter().any(|note| note.is("BYE"));
    if rules.ends_dialogs && confirmed && !ended {
        return Err("a dialog was made and never ended with BYE".to_owned());
    }
    Ok(())
}

/// Checks that first transmissions of one sender leave in the order of the call: numbers rise, the
/// INVITE comes before its ACK, and ringing comes before the answer.
fn check_order(entries: &[Sent], notes: &[Note]) -> Result<(), String> {
    let mut highest: BTreeMap<SocketAddr, u32> = BTreeMap::new();
    let mut known: Vec<(SocketAddr, &[u8])> = Vec::new();
    let mut answered: Vec<(SocketAddr, u32)> = Vec::new();
    for note in notes {
        let sent = &entries[note.number];
        let this = (sent.source, &sent.payload[..]);
        if known.contains(&this) {
            continue;
        }
        known.push(this);
        if note.code == 0 {
            let highest = highest.entry(sent.source).or_default();
            let late = note.cseq < *highest && !note.is("ACK") && !note.is("CANCEL");
            let early = note.is("ACK") && note.cseq > *highest;
            if late || early {
                return Err(format!("out of order: {}", sent.line()));
            }
            *highest = (*highest).max(note.cseq);
        } else if note.answers("INVITE", 200..500) {
            // Not 503: a side without room may have some when the INVITE is repeated.
            answered.push((sent.source, note.cseq));
        } else if note.answers("INVITE", 100..200) && answered.contains(&(sent.source, note.cseq)) {
            return Err(format!("ringing after the answer: {}", sent.line()));
        }
    }
    Ok(())
}

/// Checks that repetitions follow T1 and T2 (RFC 3261 section 17), and end at the limit.
/// Repetitions with another possible cause may come between, and do not move the others.
fn check_times(sending: &[&Note], rules: Rules, is_prompted: bool) -> Result<(), String> {
    let is_invite = sending[0].is("INVITE");
    let most = if is_invite { 6 } else { 10 };
    if sending.len() > most {
        return Err(format!("sent {} times", sending.len()));
    }
    if rules.stalls {
        return Ok(());
    }
    let schedule = |cap: u64| {
        let gap = move |count: u32| (T1_MS << count).min(cap);
        (0..=most as u32).scan(0, move |at, count| {
            let now = *at;
            *at += gap(count);
            Some(now)
        })
    };
    let cap = if is_invite { u64::MAX } else { T2_MS };
    let planned: Vec<u64> = schedule(cap).collect();
    let (mut before, mut index) = (sending[0], 0);
    for next in &sending[1..] {
        let gap_ns = next.at_ns - before.at_ns;
        let expected_ns = (planned[index + 1] - planned[index]) * MS;
        let is = |planned_ns: u64, ticks: u64| {
            (planned_ns..=planned_ns + ticks * TICK_NS).contains(&gap_ns)
        };
        // A provisional response to anything but INVITE moves the interval to T2.
        let on_time = is(expected_ns, 1) || (!is_invite && is(T2_MS * MS, 1));
        let with_gaps = || {
            let mut gaps = planned.iter().flat_map(|from| planned.iter().map(move |to| (from, to)));
            gaps.any(|(from, to)| to > from && is((to - from) * MS, most as u64))
                || (1..most as u64).any(|count| is(count * T2_MS * MS, most as u64))
        };
        let in_gaps = || rules.gaps && with_gaps();
        if on_time || in_gaps() {
            (before, index) = (next, index + 1);
        } else if !is_prompted || gap_ns > expected_ns {
            return Err(format!(
                "{} repeated after {} ms instead of {} ms",
                String::from_utf8_lossy(&next.name),
                gap_ns as f64 / MS as f64,
                expected_ns / MS
            ));
        }
    }
    Ok(())
}

impl Sent {
    fn is_request(&self) -> bool {
        !self.payload.starts_with(b"SIP/2.0 ")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// A line with time, sender, receiver and the first line of the message.
    pub fn line(&self) -> String {
        let text = self.text();
        let header = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.to_owned()
        };
        format!(
            "{:>12.3} ms {} -> {} {} | {} | {}",
            (self.at_ns as f64 - 1e9) / 1e6,
            self.source,
            self.destination,
            text.lines().next().unwrap_or_default(),
            header("CSeq:"),
            header("Call-ID:"),
        )
    }
}
