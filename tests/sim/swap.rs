//! Programs that are exchanged during calls: open calls keep theirs, new calls follow the new ones,
//! and the figures of the run add up at every moment.

use gossipper::dataplane::WorkerRequest;
use gossipper::engine::{Arrivals, SwapRefused};
use gossipper::scenario::Program;
use gossipper::stats::{FailureCause, Snapshot};
use gossipper_uring::SimConfig;

use crate::harness::rig::{Rig, answer, header, request, to_tag};
use crate::harness::scenarios::{builtin, file, inline};
use crate::harness::side::{SideOptions, rate};
use crate::harness::{MS, SECOND, World};

/// Calls of one request that last until the test answers it.
fn asking(method: &str) -> Program {
    inline(method, &format!("<send>@{method}@</send><recv response=\"200\" rtd=\"{method}\"/>"))
}

fn client(program: Program, per_second: f64) -> SideOptions {
    SideOptions::new(program).with(|engine| {
        engine.arrivals = rate(per_second);
        engine.calls_total = None;
        engine.pool_calls = 512;
    })
}

fn rig(program: Program, per_second: f64) -> Rig {
    let mut rig = Rig::with(client(program, per_second));
    let start_ns = rig.world.start_ns;
    rig.world.sides[0].aggregate(start_ns);
    rig
}

fn snapshot(rig: &Rig) -> Snapshot {
    rig.world.sides[0].aggregate.as_ref().expect("it aggregates").snapshot()
}

/// The requests that have come since the last look.
fn requests(rig: &mut Rig, ms: u64) -> Vec<String> {
    rig.run(ms);
    rig.inbox.drain(..).map(|got| got.text).collect()
}

fn count(texts: &[String], method: &str) -> usize {
    texts.iter().filter(|text| text.starts_with(method)).count()
}

#[test]
fn open_calls_keep_their_scenario_and_new_ones_take_the_new_one() {
    let mut rig = rig(asking("OPTIONS"), 10.0);
    let old = requests(&mut rig, 3_500);
    assert_eq!(count(&old, "OPTIONS"), old.len());
    rig.world.sides[0].swap(asking("MESSAGE")).unwrap();
    let mixed = requests(&mut rig, 2_000);
    // From the next whole second on, and never again the old one.
    let first = mixed.iter().position(|text| text.starts_with("MESSAGE")).expect("a new call");
    assert!((4..=6).contains(&first), "{first}");
    assert_eq!(count(&mixed[first..], "MESSAGE"), mixed.len() - first);
    for call in old.iter().chain(&mixed) {
        rig.send(&answer(call, 200, "t"));
    }
    let newest = requests(&mut rig, 3_000);
    for call in &newest {
        rig.send(&answer(call, 200, "t"));
    }
    rig.request(WorkerRequest::StopNewCalls);
    rig.run(3_000);
    assert!(rig.world.is_finished(0));
    rig.world.sides[0].check_end(false).unwrap();
    let counters = rig.counters();
    let calls = (old.len() + mixed.len() + newest.len()) as u64;
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (calls, 0), "{counters:?}");
    let now = snapshot(&rig);
    assert_eq!((now.calls.started, now.calls.succeeded, now.calls.active), (calls, calls, 0));
    assert_eq!(now.call_length.count, calls);
    assert_eq!(now.layout.transactions, ["OPTIONS", "MESSAGE"]);
    let old_calls = (old.len() + first) as u64;
    let service: Vec<u64> = now.transactions.iter().map(|both| both.service.count).collect();
    assert_eq!(service, [old_calls, calls - old_calls]);
    let durations: Vec<u64> = now.rtds.iter().map(|rtd| rtd.count).collect();
    assert_eq!(durations, service);
    // The steps of both programs, the new one first; no call follows either any more.
    let names: Vec<&str> = now.layout.programs.iter().map(|own| own.name.as_str()).collect();
    assert_eq!(names, ["MESSAGE", "OPTIONS"]);
    for (program, calls) in [(0, calls - old_calls), (1, old_calls)] {
        let messages: Vec<u64> = now.steps_of(program).iter().map(|step| step.messages).collect();
        assert_eq!(messages, [calls, calls]);
    }
    assert_eq!(now.program_calls, [0, 0]);
    // Every second is in the history, and together they are the run.
    let history = rig.world.sides[0].aggregate.as_ref().unwrap().history();
    let started: u64 = history.rows().iter().map(|row| row.calls_started).sum();
    assert_eq!(started, calls);
}

#[test]
fn a_name_that_both_have_goes_on() {
    let mut rig = rig(asking("OPTIONS"), 10.0);
    let first = requests(&mut rig, 1_500);
    rig.world.sides[0].swap(asking("OPTIONS")).unwrap();
    let second = requests(&mut rig, 2_000);
    for call in first.iter().chain(&second) {
        rig.send(&answer(call, 200, "t"));
    }
    rig.request(WorkerRequest::StopNewCalls);
    rig.run(2_000);
    let now = snapshot(&rig);
    assert_eq!(now.layout.transactions, ["OPTIONS"]);
    assert_eq!(now.transactions[0].service.count, (first.len() + second.len()) as u64);
}

/// The exchange brings empty reports along, which are used for some seconds.
#[test]
fn two_exchanges_within_seconds_leave_no_report_of_the_one_between() {
    let mut rig = rig(asking("OPTIONS"), 10.0);
    rig.run(1_500);
    for method in ["MESSAGE", "INFO", "NOTIFY"] {
        rig.world.sides[0].swap(asking(method)).unwrap();
        rig.run(2_100);
    }
    for _ in 0..8 {
        rig.run(1_000);
        let aggregate = rig.world.sides[0].aggregate.as_ref().expect("it aggregates");
        assert!(!aggregate.is_changing_layout());
    }
}

#[test]
fn a_scenario_without_calls_is_forgotten_and_its_totals_stay() {
    let mut rig = rig(asking("OPTIONS"), 10.0);
    let mut calls = requests(&mut rig, 1_500);
    rig.world.sides[0].swap(asking("MESSAGE")).unwrap();
    calls.extend(requests(&mut rig, 1_000));
    for call in &calls {
        rig.send(&answer(call, 200, "t"));
    }
    let open = requests(&mut rig, 2_000);
    rig.world.sides[0].swap(asking("INFO")).unwrap();
    rig.run(2_000);
    let now = snapshot(&rig);
    let names: Vec<&str> = now.layout.programs.iter().map(|own| own.name.as_str()).collect();
    assert_eq!(names, ["INFO", "MESSAGE"]);
    assert_eq!(now.layout.transactions, ["OPTIONS", "MESSAGE", "INFO"]);
    assert!(now.transactions[0].service.count >= 15);
    assert!(now.program_calls[1] >= open.len() as u64, "{:?}", now.program_calls);
    assert_eq!(now.calls.started, now.calls.succeeded + now.calls.failed + now.calls.active);
}

#[test]
fn so_many_generations_live_and_no_more() {
    let mut rig = rig(asking("OPTIONS"), 10.0);
    let mut open = requests(&mut rig, 1_500);
    for _ in 0..8 {
        rig.world.sides[0].swap(asking("OPTIONS")).unwrap();
        assert_eq!(rig.world.sides[0].swap(asking("OPTIONS")), Err(SwapRefused::UnderWay));
        open.extend(requests(&mut rig, 2_000));
    }
    let refused = rig.world.sides[0].swap(asking("OPTIONS"));
    assert_eq!(refused, Err(SwapRefused::TooManyGenerations));
    // The calls of all programs still know the message that they wait for.
    for call in &open {
        rig.send(&answer(call, 200, "t"));
    }
    rig.run(2_000);
    assert_eq!(rig.counters().calls_failed, 0);
    assert!(rig.counters().calls_succeeded >= open.len() as u64);
    rig.world.sides[0].swap(asking("OPTIONS")).unwrap();
}

#[test]
fn a_scenario_with_more_of_everything_finds_room() {
    let program = |name: &str, body: &str| {
        file(&format!("<scenario name=\"{name}\"><Global variables=\"all\"/>{body}</scenario>"))
    };
    let body = |actions: &str, say: &str| {
        format!(
            "<nop><action>{actions}</action></nop><send start_rtd=\"a\"><![CDATA[
OPTIONS sip:[service]@[remote_ip] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:a@[local_ip]>;tag=[call_number]
To: <sip:[service]@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 OPTIONS
Subject: {say}
Content-Length: 0
]]></send><recv response=\"200\" rtd=\"a\"/>"
        )
    };
    let small = "<add assign_to=\"all\" value=\"1\"/><assignstr assign_to=\"one\" value=\"old\"/>";
    let large = format!(
        "{small}<assignstr assign_to=\"two\" value=\"new\"/><assign assign_to=\"three\" value=\"3\"/>"
    );
    let small = program("small", &body(small, "[$one] [$all]"));
    let large = program("large", &body(&large, "[$one] [$two] [$three] [$all]"));
    let mut rig = rig(small, 10.0);
    let old = requests(&mut rig, 1_500);
    rig.world.sides[0].swap(large).unwrap();
    let new = requests(&mut rig, 2_000);
    let last = new.last().unwrap();
    let all = old.len() + new.len();
    // Shared values keep counting.
    assert!(last.contains(&format!("Subject: old new 3.000000 {all}.000000")), "{last}");
    for call in old.iter().chain(&new) {
        rig.send(&answer(call, 200, "t"));
    }
    rig.request(WorkerRequest::StopNewCalls);
    rig.run(2_000);
    rig.world.sides[0].check_end(false).unwrap();
    assert_eq!(rig.counters().calls_succeeded, all as u64);
}

#[test]
fn a_new_scenario_is_initialised_once() {
    let counting = |init: &str| {
        file(&format!(
            "<scenario name=\"c\"><Global variables=\"all\"/>{init}
            <nop><action><add assign_to=\"all\" value=\"1\"/></action></nop><send><![CDATA[
OPTIONS sip:[service]@[remote_ip] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:a@[local_ip]>;tag=[call_number]
To: <sip:[service]@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 OPTIONS
Subject: [$all]
Content-Length: 0
]]></send><recv response=\"200\"/></scenario>"
        ))
    };
    let init =
        "<init><nop><action><assign assign_to=\"all\" value=\"1000\"/></action></nop></init>";
    let mut rig = rig(counting(""), 10.0);
    let old = requests(&mut rig, 1_500);
    let last = old.last().unwrap();
    assert_eq!(header(last, "Subject"), format!("{}.000000", old.len()));
    rig.world.sides[0].swap(counting(init)).unwrap();
    let new = requests(&mut rig, 2_000);
    let first = new.iter().find(|text| header(text, "Subject") == "1001.000000");
    assert!(first.is_some(), "{new:?}");
    // The same program again: nothing begins anew.
    let programs = rig.world.sides[0].programs();
    rig.world.sides[0].swap_to(programs).unwrap();
    let again = requests(&mut rig, 2_000);
    assert!(again.iter().all(|text| header(text, "Subject") != "1001.000000"), "{again:?}");
}

#[test]
fn a_server_answers_new_calls_with_the_new_scenario() {
    let mut rig = Rig::new(builtin("uas"));
    let start_ns = rig.world.start_ns;
    rig.world.sides[0].aggregate(start_ns);
    rig.send(&request("INVITE", "old", 1, ""));
    rig.expect("SIP/2.0 180");
    let tag = to_tag(&rig.expect("SIP/2.0 200").text).to_owned();
    rig.send(&request("ACK", "old", 1, &tag));
    let busy = inline("busy", r#"<recv request="INVITE"/><send>@486@</send><recv request="ACK"/>"#);
    rig.world.sides[0].swap(busy).unwrap();
    rig.run(2_000);
    rig.send(&request("INVITE", "new", 1, ""));
    let refusal = rig.expect("SIP/2.0 486").text;
    rig.send(&request("ACK", "new", 1, to_tag(&refusal)));
    rig.send(&request("BYE", "old", 2, &tag));
    rig.expect("SIP/2.0 200");
    rig.run(6_000);
    let counters = rig.counters();
    assert_eq!((counters.calls_succeeded, counters.calls_failed), (2, 0), "{counters:?}");
}

#[test]
fn failed_calls_of_an_old_scenario_end_their_dialogs() {
    let calling = |name: &str| {
        inline(
            name,
            r#"<send>@INVITE@</send><recv response="180" optional="true"/>
               <recv response="200" timeout="3000"/><send>@ACK@</send>"#,
        )
    };
    let mut rig = rig(calling("before"), 1.0);
    let invite = rig.expect("INVITE").text;
    rig.send(&answer(&invite, 180, "t"));
    rig.world.sides[0].swap(asking("OPTIONS")).unwrap();
    rig.run(2_900);
    let texts: Vec<String> = rig.inbox.drain(..).map(|got| got.text).collect();
    assert!(count(&texts, "OPTIONS") >= 1, "{texts:?}");
    rig.run(300);
    let texts: Vec<String> = rig.inbox.drain(..).map(|got| got.text).collect();
    assert_eq!(count(&texts, "CANCEL"), 1, "{texts:?}");
    assert!(rig.counters().failures.count(FailureCause::RecvTimeout) >= 1);
}

/// A swap needs the memory that was reserved: rows of calls and users for the widest program.
#[test]
fn rows_are_as_wide_as_the_footprint_says() {
    let wide = |name: &str, values: usize| {
        let names: Vec<String> = (0..values).map(|index| format!("{name}{index}")).collect();
        let shared: Vec<String> = names.iter().map(|own| format!("u{own}")).collect();
        let assigned = names.iter().map(|own| format!("<assign assign_to=\"{own}\" value=\"1\"/>"));
        let assigned: String = assigned.collect();
        inline(
            name,
            &format!(
                "<Reference variables=\"{0}\"/><User variables=\"{1}\"/><Reference variables=\"{1}\"/>
                <nop><action>{assigned}</action></nop>
                <send start_txn=\"own\" start_rtd=\"own\">@OPTIONS@</send>
                <recv response=\"200\" response_txn=\"own\" rtd=\"own\"/>",
                names.join(","),
                shared.join(",")
            ),
        )
    };
    let mut rig = Rig::with(client(wide("a", 2), 1.0).with(|engine| {
        engine.arrivals = Arrivals::Users(3);
    }));
    let start_ns = rig.world.start_ns;
    rig.world.sides[0].aggregate(start_ns);
    for (program, values, users_values) in
        [(None, 2, 2), (Some(wide("b", 40)), 40, 42), (Some(wide("c", 1)), 40, 43)]
    {
        if let Some(program) = program {
            rig.world.sides[0].swap(program).unwrap();
        }
        for call in requests(&mut rig, 2_100) {
            rig.send(&answer(&call, 200, "t"));
        }
        let (calls, users) = rig.world.sides[0].row_bytes();
        let footprint = rig.world.sides[0].generations.footprint();
        // Beside variables a call has a duration and a transaction.
        let value = footprint.user_row_bytes() / users_values;
        assert!(value > 0 && footprint.call_row_bytes() > values * value + 8, "{footprint:?}");
        assert_eq!(
            (calls, users),
            (3 * footprint.call_row_bytes(), 3 * footprint.user_row_bytes())
        );
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    let mut rig = rig(asking("OPTIONS"), 1.0);
    let side = &mut rig.world.sides[0];
    let mut refused = |program: Program| side.swap(program).unwrap_err().to_string();
    let text = refused(builtin("uas"));
    assert!(text.contains("answers calls") && text.contains("makes calls"), "{text}");
    let text = refused(inline(
        "shell",
        r#"<nop><action><exec command="true"/></action></nop><send>@OPTIONS@</send>"#,
    ));
    assert!(text.contains("shell commands"), "{text}");
    let text = refused(inline(
        "media",
        r#"<nop><action><exec rtp_stream="tone"/></action></nop><send>@OPTIONS@</send>"#,
    ));
    assert!(text.contains("has media") && text.contains("start it again"), "{text}");
    let many: String = (0..70)
        .map(|index| format!("<send start_rtd=\"d{index}\">@MESSAGE@</send><recv response=\"200\" rtd=\"d{index}\"/>"))
        .collect();
    let text = refused(inline("many", &many));
    assert!(text.contains("too many different things"), "{text}");
    assert_eq!(side.aggregate.as_ref().unwrap().layout().generation, 0);
}

#[test]
fn workers_exchange_programs_together_and_the_run_adds_up() {
    for seed in 0..2 {
        let network = SimConfig { delay_ns_min: MS, delay_ns_max: 5 * MS, ..SimConfig::default() };
        let mut world = World::new(seed, network);
        world.check_every = 64;
        let mut callee = SideOptions::new(builtin("uas")).with(|engine| {
            engine.seed = 77;
            engine.pool_calls = 2048;
        });
        callee.workers = 2;
        let mut caller = client(builtin("uac"), 200.0).with(|engine| {
            engine.rules.pause_ms = 700;
            engine.calls_total = Some(1_200);
            engine.pool_calls = 2048;
        });
        caller.workers = 2;
        let callee = world.add(&callee);
        let caller = world.add(&caller);
        let start_ns = world.start_ns;
        for side in [caller, callee] {
            world.sides[side].aggregate(start_ns);
        }
        for round in 0..4_u64 {
            world.run_until(start_ns + (round + 1) * 1_300 * MS, |_| false).unwrap();
            let name = ["options", "uac"][round as usize % 2];
            let swapped = world.sides[caller].swap(builtin(name));
            assert!(matches!(swapped, Ok(()) | Err(SwapRefused::UnderWay)), "{swapped:?}");
        }
        let end_ns = world.net.now() + 120 * SECOND;
        world.run_until(end_ns, |world| world.is_finished(caller)).unwrap();
        world.sides[caller].check_end(false).unwrap();
        let ours = world.sides[caller].reported();
        assert_eq!(ours.calls_started(), 1_200);
        let now = world.sides[caller].aggregate.as_ref().unwrap().snapshot();
        assert_eq!(now.calls.started, now.calls.succeeded + now.calls.failed);
        assert_eq!(now.call_length.count, 1_200);
        assert!(now.layout.generation >= 2, "{}", now.layout.generation);
    }
}
