//! Any control message comes out as it went in, however its bytes are cut.

use bytes::Bytes;
use common::wire::message::{Decoder, Message};
use common::wire::{Version, varint};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::arbitrary::{cuts, message, pieces};

const V: Version = Version::Draft18;

proptest! {
    #[test]
    fn messages_come_out_of_a_stream_as_they_went_in(messages in vec(message(), 1..6), cuts in cuts()) {
        let bytes: Vec<u8> = messages.iter().flat_map(|message| message.encode(V).unwrap()).collect();
        let (mut decoder, mut came) = (Decoder::default(), Vec::new());
        for piece in pieces(&bytes, &cuts) {
            decoder.push(piece);
            while let Some(message) = decoder.next(V).unwrap() {
                came.push(message);
            }
        }
        prop_assert_eq!(came, messages);
        prop_assert_eq!(decoder.buffered(), 0);
    }

    #[test]
    fn a_stream_waits_for_the_last_byte_of_a_message(message in message()) {
        let bytes = message.encode(V).unwrap();
        let (last, most) = bytes.split_last().unwrap();
        let mut decoder = Decoder::default();
        for byte in most {
            decoder.push(&[*byte]);
            prop_assert_eq!(decoder.next(V), Ok(None));
        }
        decoder.push(&[*last]);
        prop_assert_eq!(decoder.next(V), Ok(Some(message)));
    }

    #[test]
    fn a_payload_that_is_cut_or_goes_on_is_not_the_same_message(message in message(), more in any::<u8>()) {
        let (kind, payload) = payload(&message);
        for len in 0..payload.len() {
            prop_assert_ne!(Message::decode(V, kind, payload.slice(..len)), Ok(message.clone()));
        }
        let longer = [&payload[..], &[more]].concat();
        // An option that nobody knows has no meaning.
        if !matches!(message, Message::Setup(_)) {
            prop_assert_ne!(Message::decode(V, kind, longer.into()), Ok(message));
        }
    }
}

/// The type and the payload of a message.
pub(crate) fn payload(message: &Message) -> (u64, Bytes) {
    let bytes = message.encode(V).unwrap();
    let (kind, head) = varint::decode(&bytes).unwrap();
    (kind, bytes.slice(head + 2..))
}
