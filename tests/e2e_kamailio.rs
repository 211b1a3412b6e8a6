//! Registration with digest and calls through Kamailio, over every transport that both speak.

mod e2e;

use e2e::kamailio::Kamailio;
use e2e::{gossipper, lock};

fn scenario(name: &str) -> String {
    format!("{}/tests/e2e/scenarios/kamailio_{name}.xml", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_call_to_nobody_is_refused() {
    let _turn = lock::light();
    let kamailio = Kamailio::start("MD5", "auth");
    let file = scenario("unknown");
    let remote = kamailio.sip();
    let line = ["-sf", &file, "-i", "127.0.0.1", "-m", "20", "-r", "20", &remote];
    gossipper::run(&line).expect_code(0).summary().expect_all_succeeded(20);
}
