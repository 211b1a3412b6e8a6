//! The checks of the fuzz targets. A target in `fuzz_targets/` is one line that calls in here.
//!
//! Checks that property tests share with fuzz targets are in the property tests, so that one can
//! replay a finding of the other.

pub mod casts;
pub mod engine;
pub mod handshake;
pub mod headers;
pub mod media;
pub mod protection;
pub mod relay;
#[path = "../../tests/api/scenario_support.rs"]
pub mod scenario_support;
pub mod server;
pub mod session;
#[path = "../../tests/sim/harness/mod.rs"]
pub mod sim;
#[path = "../../tests/api/sip_support/mod.rs"]
pub mod sip_support;
pub mod sources;
pub mod texts;

use gossipper::sip::HeaderIndex;
use sip_support::choices::Choices;
use sip_support::{invariants, model::Model};

/// Reads any bytes as a datagram.
pub fn sip_message(bytes: &[u8]) {
    invariants::message(bytes);
}

/// Reads any bytes as a stream, cut into pieces of a length that the first byte chooses.
pub fn sip_stream(bytes: &[u8]) {
    let Some((piece_len, stream)) = bytes.split_first() else { return };
    invariants::stream(stream, usize::from(*piece_len));
}

/// Checks that a valid message is understood in any of its spellings.
pub fn sip_structured(choices: Vec<u16>) {
    let mut choices = Choices::new(choices);
    let model = Model::generate(&mut choices);
    for bytes in [model.plain(), model.styled(&mut choices)] {
        let mut index = HeaderIndex::new();
        let message = index.parse(&bytes).unwrap_or_else(|error| panic!("{error}: {model:?}"));
        model.assert_equals(&message);
    }
}

/// Reads any bytes as a session description.
pub fn sdp(bytes: &[u8]) {
    invariants::sdp(bytes);
}

/// Takes any bytes as a regular expression and a text.
pub fn regex(bytes: &[u8]) {
    scenario_support::any_regex(bytes);
}

/// Reads any bytes as a scenario file.
pub fn scenario_xml(bytes: &[u8]) {
    scenario_support::any_file(bytes);
}
