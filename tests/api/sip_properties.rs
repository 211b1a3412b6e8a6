//! Properties of the SIP parser: valid messages round-trip in every spelling, and no bytes at all
//! can make it panic or point outside its input.

use gossipper::sip::HeaderIndex;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::sip_support::choices::Choices;
use crate::sip_support::invariants;
use crate::sip_support::model::Model;

fn choices() -> impl Strategy<Value = Choices> {
    vec(any::<u16>(), 0..300).prop_map(Choices::new)
}

/// A valid message with some bytes overwritten, removed or doubled: nearly SIP.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    (choices(), vec((any::<u16>(), any::<u8>(), 0..4u8), 1..6)).prop_map(|(mut choices, damage)| {
        let mut bytes = Model::generate(&mut choices).styled(&mut choices);
        for (at, byte, how) in damage {
            let at = usize::from(at) % bytes.len();
            match how {
                0 => bytes[at] = byte,
                1 => bytes[at] = b"\r\n :;,<>\"\\=@/?\0"[usize::from(byte) % 15],
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        bytes
    })
}

proptest! {
    // A failure prints its smallest input; worth keeping, it becomes a test with a name.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_means_the_same_in_every_spelling(mut choices in choices()) {
        let model = Model::generate(&mut choices);
        for bytes in [model.plain(), model.styled(&mut choices)] {
            let mut index = HeaderIndex::new();
            match index.parse(&bytes) {
                Ok(message) => model.assert_equals(&message),
                Err(error) => prop_assert!(false, "{error}: {}", bytes.escape_ascii()),
            }
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..400)) {
        invariants::message(&bytes);
        invariants::value(&bytes);
        invariants::sdp(&bytes);
    }

    #[test]
    fn damaged_messages_are_survived(bytes in damaged()) {
        invariants::message(&bytes);
    }

    #[test]
    fn damaged_descriptions_are_survived(tail in "[vocmtas=: \r\n0-9a-z/]{0,200}") {
        invariants::sdp(format!("v=0\r\n{tail}").as_bytes());
    }

    #[test]
    fn streams_frame_the_same_in_any_pieces(
        messages in vec(damaged(), 1..4),
        piece_len in 1..64usize,
    ) {
        invariants::stream(&messages.concat(), piece_len);
    }
}
