//! Simulated runs of a caller and an answerer, drawn from seeds. Under any network, limits and
//! commands of the operator, every call ends once, all resources are given back, and the wire
//! follows RFC 3261.
//!
//! `make sim SEED=n` repeats one run and reports it. GOSSIPPER_SIM_SEEDS sets the number of runs.

use crate::harness::log::Mutant;
use crate::harness::plan::{Plan, Spoil};

const SEEDS_DEFAULT: u64 = 60;
/// The seeds of the bounded run.
const FIRST_SEED: u64 = 1;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn play(seed: u64, verbose: bool) {
    let plan = Plan::draw(seed);
    if verbose {
        print!("{plan}");
    }
    match plan.play(None) {
        Ok(outcome) if verbose => println!("{outcome:#?}"),
        Ok(_) => {}
        Err(problem) => panic!("{problem}"),
    }
}

#[test]
fn every_call_ends_once_whatever_happens() {
    if let Some(seed) = number("GOSSIPPER_SIM_SEED") {
        return play(seed, true);
    }
    let count = number("GOSSIPPER_SIM_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let mut failed = Vec::new();
    for seed in FIRST_SEED..FIRST_SEED + count {
        if let Err(problem) = Plan::draw(seed).play(None) {
            println!("{problem}");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "seeds {failed:?} failed; repeat with make sim SEED=...");
}

#[test]
fn a_seed_gives_one_transcript() {
    for seed in 1000..1004 {
        let plan = Plan::draw(seed);
        let transcripts = [plan.play(None), plan.play(None)];
        let [first, second] =
            transcripts.map(|outcome| outcome.unwrap_or_else(|problem| panic!("{problem}")));
        assert_eq!(first.transcript, second.transcript, "seed {seed}");
        assert!(first.datagrams > 0, "seed {seed}");
    }
}

/// A harness that cannot fail proves nothing.
#[test]
fn a_spoiled_record_is_noticed() {
    let spoils = [
        Spoil::LoseACall,
        Spoil::Record(Mutant::LateRepetition),
        Spoil::Record(Mutant::NoBye),
        Spoil::Record(Mutant::AckFirst),
        Spoil::Record(Mutant::StrangeBranch),
    ];
    for spoil in spoils {
        let mut plan = Plan::draw(7);
        plan.pair = 0;
        plan.calls_total = 40;
        plan.network.loss_ppm = 200_000;
        plan.network.no_buffer_ppm = 0;
        plan.network.reorder = false;
        plan.network.receive_queue_max = 4096;
        plan.recv_timeout_ms = 40_000;
        plan.lost_percent = 0.0;
        plan.tx_slots = [512, 512];
        plan.caller_pool = 128;
        plan.callee_pool = 128;
        plan.deeds.clear();
        plan.play(None).unwrap_or_else(|problem| panic!("unspoiled: {problem}"));
        let noticed = plan.play(Some(spoil)).expect_err("a spoiled run passed");
        assert!(!noticed.contains("nothing to spoil"), "{spoil:?}: {noticed}");
    }
}
