//! Streams of RTP without SIP: when they begin, what they send, and how they end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use gossipper::dataplane::WorkerRequest;
use gossipper::engine::{Clips, Gate};
use gossipper::media::MediaConfig;
use gossipper::media::library::{Library, Settings};
use gossipper::stats::{Counters, FailureCause, HeardVerdict};

use crate::harness::rig::Rig;
use crate::harness::scenarios::spelled_out;
use crate::harness::side::{SideOptions, rate};

/// The port of the peer that streams go to.
const PORT: u16 = 6000;

/// Calls that send a tone to the peer and do `then`.
fn options(streams: u64, then: &str) -> SideOptions {
    let program = spelled_out(
        "rtp",
        &format!(
            r#"<nop><action>
                 <exec rtp_connect="[remote_ip]:[remote_port]" format="8,PCMA/8000,20"/>
                 <exec rtp_stream="tone,-1,8,PCMA/8000,20"/>
               </action></nop>
               {then}"#
        ),
    );
    let settings = Settings::new(1 << 20);
    let mut read = |_: &str, _: usize| Ok(None);
    let library = Library::prepare(&program.sources, &settings, &mut read).unwrap();
    let mut options = SideOptions::new(program).with(|engine| {
        (engine.calls_total, engine.concurrent_max) = (Some(streams), Some(streams));
        engine.arrivals = rate(streams as f64);
        let remote = engine.environment.remote.as_mut().unwrap();
        remote.set_port(PORT);
        engine.environment.next_hop = Some(*remote);
    });
    options.clips = Clips::new([library.clips]);
    options.media = Some(MediaConfig::new(options.address.ip()));
    options
}

fn ended(counters: &Counters) -> (u64, u64) {
    (counters.calls_succeeded, counters.calls_failed)
}

/// The times of packets in milliseconds, by the source of their stream.
fn times(rig: &mut Rig) -> BTreeMap<SocketAddr, Vec<u64>> {
    let mut times: BTreeMap<SocketAddr, Vec<u64>> = BTreeMap::new();
    for got in std::mem::take(&mut rig.inbox) {
        times.entry(got.source).or_default().push(got.at_ms);
    }
    times
}

#[test]
fn streams_begin_spread_over_a_second_and_over_the_packet_interval() {
    const STREAMS: u64 = 20;
    let mut rig = Rig::with(options(STREAMS, r#"<pause milliseconds="1000"/>"#));
    rig.open(PORT);
    rig.run(3000);
    let streams = times(&mut rig);
    assert_eq!(streams.len() as u64, STREAMS);
    for (source, times) in &streams {
        assert!((49..=51).contains(&times.len()), "{source}: {times:?}");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 20), "{source}: {times:?}");
    }
    let first = streams.values().map(|times| times[0]);
    let (earliest, latest) = (first.clone().min().unwrap(), first.clone().max().unwrap());
    assert!(earliest < 200 && latest > 800, "{earliest} {latest}");
    let phases: BTreeSet<u64> = first.map(|ms| ms % 20).collect();
    assert_eq!(phases.len() as u64, STREAMS);
    let counters = rig.end();
    assert_eq!(ended(&counters), (STREAMS, 0));
    let sent: usize = streams.values().map(Vec::len).sum();
    assert_eq!(counters.media.rtp_packets_sent, sent as u64);
    // The peer gave no sign of life.
    assert_eq!(counters.media.heard.count(HeardVerdict::None), STREAMS);
}

#[test]
fn streams_without_end_are_complete_once_the_run_is_stopped() {
    let then = r#"<label id="on"/><pause milliseconds="5000" next="on"/>"#;
    let mut rig = Rig::with(options(3, then));
    rig.open(PORT);
    rig.run(20_000);
    assert_eq!(ended(&rig.counters()), (0, 0));
    rig.request(WorkerRequest::StopNewCalls);
    rig.run(10);
    assert_eq!(ended(&rig.counters()), (3, 0));
    times(&mut rig);
    rig.silence(100);
    rig.end();
}

#[test]
fn what_the_target_sends_back_is_received_and_measured() {
    let mut rig = Rig::with(options(1, r#"<pause milliseconds="2000"/>"#));
    let socket = rig.open(PORT);
    rig.run(100);
    let (&source, _) = times(&mut rig).first_key_value().expect("a stream");
    let at = rig.sockets.iter().position(|&open| open == socket).unwrap();
    for sequence in 0..20_u8 {
        let mut packet = vec![0x80, 8, 0, sequence];
        // One is lost.
        if sequence == 10 {
            continue;
        }
        packet.extend((u32::from(sequence) * 160).to_be_bytes());
        packet.extend(*b"peer");
        packet.extend([0x15; 160]);
        rig.send_from(at, source, &packet);
        rig.run(20);
    }
    rig.run(3000);
    let media = rig.end().media;
    assert_eq!((media.rtp_packets_received, media.rtp_lost), (19, 1));
    assert_eq!((media.strays.total(), media.rtp_wrong_payload_type), (0, 0));
    // It says nothing about what it received.
    assert_eq!(media.heard.count(HeardVerdict::Unknown), 1);
}

/// A gate that lets nothing pass.
#[derive(Debug)]
struct Closed;

impl Gate for Closed {
    fn lets_pass(&self, _: SocketAddr, _: u64) -> bool {
        false
    }
}

#[test]
fn a_target_that_the_list_does_not_allow_gets_nothing() {
    let mut options = options(1, r#"<pause milliseconds="100"/>"#);
    options.media.as_mut().unwrap().gate = Some(Arc::new(Closed));
    let mut rig = Rig::with(options);
    rig.open(PORT);
    rig.silence(1000);
    assert_eq!(rig.failures(), [(FailureCause::BlockedTarget, 1)]);
    rig.end();
}
