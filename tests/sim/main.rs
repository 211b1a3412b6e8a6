//! Whole workers on a simulated network and a virtual clock: an hour of calls in seconds, the same
//! at every repetition. Everything happens in one thread, and no test needs another's absence.
//!
//! A rule of a call belongs here, if a peer that is scripted message by message can show it. What
//! needs a socket, a file, a terminal or SIPp belongs to `e2e`.

#[allow(unreachable_pub, reason = "fuzz/ makes a library of the same files")]
mod harness;

// Caller and answerer, both ours, drawn from seeds: what holds for every run.
mod calls;

// One side against a script: exact messages, exact virtual times, exact counts.
mod commands; // third-party call control: commands between two instances
mod dialogs; // tags, targets and routes of a call's requests; forked answers
mod failures; // what a report says of calls that fail
mod language; // the scenario language where it needs several steps, on files of tests/scenarios
mod matching; // how a received message meets a step, and where steps lead
mod repetitions; // requests that come again get their answer again
mod rules; // every other rule of a call: retransmissions, timers, limits, pacing
mod steps; // what is counted at each step

// Things that change in the middle of a run, and connections.
mod control; // changes by an operator; what is different under the name `sipp`
mod media; // streams of RTP: what is reported is what the network did
mod media_calls; // descriptions, ports and actions of calls with media
mod media_checks; // checks of what came back
mod media_dtls; // streams whose keys come by a handshake
mod media_relay; // streams through a TURN server
mod media_srtp; // streams whose keys are in the descriptions
mod media_truth; // loss, jitter and MOS beside a model that keeps all packets
mod medium; // UDP sockets beside SIP, whatever carries it; also on the drivers of the product
mod rtp_only; // streams without SIP
mod streams; // segments, resets, refusals and reconnection of TCP
mod swap; // programs that are exchanged while calls go on
