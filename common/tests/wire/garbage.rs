//! Bytes of any kind give a value or an error, never a panic; and a value that was read can be written and
//! read again.

use bytes::{Bytes, BytesMut};
use common::model::GroupOrder;
use common::wire::Version;
use common::wire::data::{FetchContext, ObjectHead, StreamHeader};
use common::wire::datagram::Datagram;
use common::wire::message::{Decoder, Message};
use common::wire::properties::Properties;
use common::wire::token::Token;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::arbitrary::{SCOPES, message, object_datagram};
use crate::control::payload;
use crate::data::{answer, subgroup, subgroup_stream};

const V: Version = Version::Draft18;
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;

/// Messages without parameters, and some that do not exist.
const OTHERS: [u64; 11] = [0x2f00, 0x10, 0x05, 0x0b, 0x08, 0x0e, 0x0f, 0x1e, 0x01, 0x21, 0x40];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_payload(kind in kind(), bytes in vec(any::<u8>(), 0..80)) {
        check_message(kind, bytes.into())?;
    }

    #[test]
    fn a_message_with_other_bytes_in_it(message in message(), damage in damage()) {
        let (kind, payload) = payload(&message);
        check_message(kind, damaged(&payload, &damage))?;
    }

    #[test]
    fn any_bytes_on_a_control_stream(bytes in vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        while let Ok(Some(_)) = decoder.next(V) {}
    }

    #[test]
    fn any_bytes_on_a_data_stream(bytes in vec(any::<u8>(), 0..200), has_properties in any::<bool>()) {
        check_header(&bytes)?;
        read_objects(&bytes, has_properties);
        read_entries(&bytes, GroupOrder::Ascending)?;
        read_entries(&bytes, GroupOrder::Descending)?;
    }

    #[test]
    fn a_subgroup_with_other_bytes_in_it((header, objects) in subgroup(), damage in damage()) {
        let bytes = damaged(&subgroup_stream(&header, &objects), &damage);
        check_header(&bytes)?;
        read_objects(&bytes, header.has_properties);
    }

    #[test]
    fn an_answer_with_other_bytes_in_it((order, entries) in answer(), damage in damage()) {
        let mut bytes = BytesMut::new();
        let mut context = FetchContext::new(order);
        entries.iter().for_each(|(entry, _)| context.encode(entry, &mut bytes));
        read_entries(&damaged(&bytes, &damage), order)?;
    }

    #[test]
    fn any_datagram(bytes in vec(any::<u8>(), 0..80)) {
        check_datagram(bytes.into())?;
    }

    #[test]
    fn a_datagram_with_other_bytes_in_it(datagram in object_datagram(), damage in damage()) {
        check_datagram(damaged(&datagram.encode(), &damage))?;
    }

    #[test]
    fn any_properties_and_tokens(bytes in vec(any::<u8>(), 0..80)) {
        let bytes = Bytes::from(bytes);
        if let Ok(properties) = Properties::decode(bytes.clone()) {
            let again = Properties::new(properties.iter()).unwrap();
            prop_assert!(again.iter().eq(properties.iter()));
            prop_assert_eq!(properties.bytes(), &bytes);
        }
        if let Ok(token) = Token::decode(bytes) {
            prop_assert_eq!(Token::decode(token.encode()), Ok(token));
        }
    }
}

fn check_message(kind: u64, payload: Bytes) -> Result<(), TestCaseError> {
    let Ok(message) = Message::decode(V, kind, payload) else { return Ok(()) };
    let mut decoder = Decoder::default();
    decoder.push(&message.encode(V).unwrap());
    prop_assert_eq!(decoder.next(V), Ok(Some(message)));
    Ok(())
}

fn check_header(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(Some((StreamHeader::Subgroup(header), _))) = StreamHeader::decode(bytes) {
        let mut out = BytesMut::new();
        header.encode(&mut out);
        prop_assert_eq!(StreamHeader::decode(&out), Ok(Some((StreamHeader::Subgroup(header), out.len()))));
    }
    Ok(())
}

fn read_objects(mut bytes: &[u8], has_properties: bool) {
    let mut previous = None;
    while let Ok(Some((head, len))) = ObjectHead::decode(bytes, has_properties, previous, PAYLOAD_BYTES_MAX) {
        previous = Some(head.id);
        bytes = &bytes[len..];
    }
}

fn read_entries(mut bytes: &[u8], order: GroupOrder) -> Result<(), TestCaseError> {
    let (mut read, mut write, mut again) =
        (FetchContext::new(order), FetchContext::new(order), FetchContext::new(order));
    while let Ok(Some((entry, len))) = read.decode(bytes, PAYLOAD_BYTES_MAX) {
        bytes = &bytes[len..];
        let mut out = BytesMut::new();
        write.encode(&entry, &mut out);
        prop_assert_eq!(again.decode(&out, PAYLOAD_BYTES_MAX), Ok(Some((entry, out.len()))));
    }
    Ok(())
}

fn check_datagram(bytes: Bytes) -> Result<(), TestCaseError> {
    if let Ok(Datagram::Object(object)) = Datagram::decode(bytes) {
        prop_assert_eq!(Datagram::decode(object.encode()), Ok(Datagram::Object(object)));
    }
    Ok(())
}

pub(crate) fn kind() -> impl Strategy<Value = u64> {
    select(SCOPES.iter().map(|(kind, _)| *kind).chain(OTHERS).collect::<Vec<_>>())
}

/// Places, and what happens there.
pub(crate) fn damage() -> impl Strategy<Value = Vec<(Index, Option<u8>)>> {
    let byte = prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()];
    vec((any::<Index>(), proptest::option::weighted(0.8, byte)), 1..4)
}

/// `bytes` with other bytes at some places, and none at others.
pub(crate) fn damaged(bytes: &[u8], damage: &[(Index, Option<u8>)]) -> Bytes {
    let mut bytes = bytes.to_vec();
    for (place, byte) in damage {
        if bytes.is_empty() {
            break;
        }
        let place = place.index(bytes.len());
        match byte {
            Some(byte) => bytes[place] = *byte,
            None => drop(bytes.remove(place)),
        }
    }
    bytes.into()
}
