//! Another implementation of the draft reads what we write and writes what we read, field by field.
//!
//! The two have no line in common, so where they agree it is the draft that they agree with. Where they do
//! not, it is said here why: see [`we_are_stricter`] and [`they_are_stricter`].

use bytes::{Bytes, BytesMut};
use common::model::{FullTrackName, GroupOrder, Location, Namespace, ObjectStatus};
use common::wire::data::{FetchContext, FetchEntry, FetchHead};
use common::wire::datagram::{Datagram, ObjectDatagram};
use common::wire::message::*;
use common::wire::parameter::Parameters;
use common::wire::properties::{Properties, Value};
use common::wire::token::Token;
use common::wire::{DecodeError, Version, varint};
use moqtap_codec::draft18::data_stream as theirs_data;
use moqtap_codec::draft18::message as theirs;
use moqtap_codec::draft18::message::ControlMessage as Theirs;
use moqtap_codec::draft18::types::ObjectStatus as TheirStatus;
use moqtap_codec::error::CodecError;
use moqtap_codec::kvp::{KeyValuePair, KvpValue};
use moqtap_codec::types::TrackNamespace;
use moqtap_codec::varint::{Moqt18, VarInt};
use proptest::prelude::*;

use crate::arbitrary::*;
use crate::control::payload;
use crate::data::{answer, subgroup, subgroup_stream};
use crate::garbage::{damage, damaged};

const V: Version = Version::Draft18;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn they_read_every_message_that_we_write(message in message()) {
        let bytes = message.encode(V).unwrap();
        let mut rest = &bytes[..];
        prop_assert_eq!(Theirs::decode(&mut rest), Ok(their_message(&message)));
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn we_read_every_message_that_they_write(message in message()) {
        let mut bytes = Vec::new();
        their_message(&message).encode(&mut bytes).unwrap();
        prop_assert_eq!(&bytes, &message.encode(V).unwrap());
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        prop_assert_eq!(decoder.next(V), Ok(Some(message)));
    }

    #[test]
    fn they_read_every_integer_that_we_write(value in number()) {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        varint::encode(value, &mut ours);
        vi(value).encode_moqt::<Moqt18>(&mut theirs);
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn we_read_integers_as_they_do(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
        let mut rest = &bytes[..];
        let theirs = VarInt::decode_moqt::<Moqt18>(&mut rest).ok().map(VarInt::into_inner);
        let ours = varint::decode(&bytes);
        prop_assert_eq!(ours, theirs.map(|value| (value, bytes.len() - rest.len())));
    }

    #[test]
    fn they_read_every_subgroup_that_we_write((header, objects) in subgroup()) {
        let bytes = subgroup_stream(&header, &objects);
        let mut rest = &bytes[..];
        let theirs = theirs_data::SubgroupHeader::decode(&mut rest).unwrap();
        prop_assert_eq!(theirs.track_alias.into_inner(), header.alias);
        prop_assert_eq!(theirs.group_id.into_inner(), header.group);
        prop_assert_eq!(theirs.publisher_priority, header.priority);
        prop_assert_eq!(theirs.has_properties(), header.has_properties);
        prop_assert_eq!(theirs.is_end_of_group(), header.end_of_group);
        prop_assert_eq!(theirs.is_first_object(), header.first_object);
        let subgroup = (theirs.subgroup_id_mode() != 1).then_some(theirs.subgroup_id.into_inner());
        prop_assert_eq!(subgroup, header.subgroup);
        let mut reader = theirs_data::SubgroupObjectReader::new(&theirs);
        for (head, payload) in objects {
            let object = reader.read_object(&mut rest).unwrap();
            prop_assert_eq!(object.object_id.into_inner(), head.id);
            prop_assert_eq!(&object.extension_headers, head.properties.bytes());
            prop_assert_eq!(object.status(), their_status(head.status));
            prop_assert_eq!(object.payload, payload);
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn we_read_every_subgroup_that_they_write((header, objects) in subgroup()) {
        let ours = subgroup_stream(&header, &objects);
        let mut theirs = Vec::new();
        let their_header = theirs_data::SubgroupHeader::decode(&mut &ours[..]).unwrap();
        their_header.encode_checked(&mut theirs).unwrap();
        let mut writer = theirs_data::SubgroupObjectReader::new(&their_header);
        for (head, payload) in &objects {
            let object = theirs_data::SubgroupObject {
                object_id: vi(head.id),
                extension_headers: head.properties.bytes().to_vec(),
                payload_length: vi(head.payload_len),
                object_status: (head.payload_len == 0).then(|| their_status(head.status)),
                payload: payload.to_vec(),
            };
            writer.write_object(&object, &mut theirs).unwrap();
        }
        prop_assert_eq!(&theirs[..], &ours[..]);
    }

    #[test]
    fn they_read_every_answer_to_a_fetch_that_we_write((order, entries) in answer()) {
        let mut context = FetchContext::new(order);
        let mut reader = theirs_data::FetchObjectReader::new(their_order(order));
        for (entry, _) in entries {
            let mut bytes = BytesMut::new();
            context.encode(&entry, &mut bytes);
            if !matches!(entry, FetchEntry::Object(_)) {
                // They expect a payload length even after the end of a range, where most put none.
                bytes.extend_from_slice(&[0]);
            }
            let mut rest = &bytes[..];
            let theirs = reader.read_object_header(&mut rest).unwrap();
            prop_assert_eq!(our_entry(&theirs), entry);
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn we_read_every_answer_to_a_fetch_as_they_do(order in order(), heads in fetch_heads()) {
        let mut ours = FetchContext::new(order);
        let mut reader = theirs_data::FetchObjectReader::new(their_order(order));
        for head in heads {
            let mut bytes = Vec::new();
            head.encode(&mut bytes).unwrap();
            let theirs = reader.read_object_header(&mut &bytes[..]);
            match (theirs, ours.decode(&bytes, u64::MAX)) {
                (Ok(theirs), Ok(Some((ours, len)))) => {
                    prop_assert_eq!(our_entry(&theirs), ours);
                    prop_assert_eq!(len, bytes.len());
                }
                (Err(_), Err(_)) => break,
                (theirs, ours) => prop_assert!(false, "{theirs:?}, but {ours:?}"),
            }
        }
    }

    #[test]
    fn they_read_every_datagram_that_we_write(datagram in object_datagram()) {
        let bytes = datagram.encode();
        let (theirs, payload) = theirs_data::DatagramHeader::decode_object(&mut &bytes[..]).unwrap();
        prop_assert_eq!(our_datagram(&theirs, payload), datagram);
        let mut again = Vec::new();
        theirs.encode_checked(&mut again).unwrap();
        prop_assert!(bytes.starts_with(&again));
    }

    #[test]
    fn we_read_every_datagram_as_they_do(datagram in object_datagram(), damage in damage()) {
        let bytes = damaged(&datagram.encode(), &damage);
        let theirs = theirs_data::DatagramHeader::decode_object(&mut &bytes[..]);
        match (theirs, Datagram::decode(bytes.clone())) {
            (Ok((theirs, payload)), Ok(ours)) => {
                prop_assert_eq!(Datagram::Object(our_datagram(&theirs, payload)), ours);
            }
            (Err(_), Err(_)) => {}
            // They read only types, and statuses, of one byte.
            (Err(_), Ok(_)) if bytes.iter().any(|byte| *byte >= 0x80) => {}
            // Properties of tracks are not for objects.
            (Ok((theirs, _)), Err(_)) if has_mandatory(&theirs.properties) => {}
            (theirs, ours) => prop_assert!(false, "{theirs:?}, but {ours:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn what_is_wrong_for_them_is_wrong_for_us(message in message(), damage in damage()) {
        let (kind, payload) = payload(&message);
        let payload = damaged(&payload, &damage);
        let mut bytes = Vec::new();
        varint::encode(kind, &mut bytes);
        bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&payload);
        match (Theirs::decode(&mut &bytes[..]), Message::decode(V, kind, payload)) {
            // Some of their values are bytes, where an integer may be longer than it need be: once more
            // through our eyes.
            (Ok(theirs), Ok(ours)) => {
                let mut again = Vec::new();
                // They read an unknown option twice, as they must, and do not write it.
                if theirs.encode(&mut again).is_err() && kind == 0x2f00 {
                    return Ok(());
                }
                let mut decoder = Decoder::default();
                decoder.push(&again);
                let again = decoder.next(V).unwrap().unwrap();
                prop_assert_eq!(their_message(&again), their_message(&ours));
            }
            (Err(_), Err(_)) => {}
            (Ok(_), Err(error)) if we_are_stricter(&error) => {}
            (Err(error), Ok(ours)) if they_are_stricter(&error, &ours) => {}
            (theirs, ours) => prop_assert!(false, "{theirs:?}, but {ours:?}"),
        }
    }
}

/// What the draft says without saying what follows.
fn we_are_stricter(error: &DecodeError) -> bool {
    matches!(
        error,
        DecodeError::NotUtf8(_)
            | DecodeError::MalformedPath
            | DecodeError::MalformedAuthority
            | DecodeError::Invalid { what: "end of track" | "default publisher priority", .. }
    )
}

/// A TRACK_STATUS is "identical to SUBSCRIBE" for us, also in what is superfluous there.
fn they_are_stricter(error: &CodecError, ours: &Message) -> bool {
    matches!((error, ours), (CodecError::ParameterOutOfScope { .. }, Message::TrackStatus(_)))
}

fn their_message(message: &Message) -> Theirs {
    match message {
        Message::Setup(setup) => Theirs::Setup(theirs::Setup { options: their_options(setup) }),
        Message::GoAway(goaway) => Theirs::GoAway(theirs::GoAway {
            new_session_uri: goaway.uri.clone().into(),
            timeout: vi(goaway.timeout_ms),
            request_id: goaway.request_id.map(vi),
        }),
        Message::RequestOk(ok) => Theirs::RequestOk(theirs::RequestOk {
            parameters: their_parameters(&ok.parameters),
            track_properties: their_properties(&ok.properties),
        }),
        Message::RequestError(error) => Theirs::RequestError(theirs::RequestError {
            error_code: vi(error.code.0),
            retry_interval: vi(error.retry_interval),
            reason_phrase: error.reason.clone().into(),
            redirect: error.redirect.as_ref().map(|redirect| theirs::Redirect {
                connect_uri: redirect.uri.clone().into(),
                track_namespace: their_namespace(&redirect.namespace),
                track_name: redirect.name.to_vec(),
            }),
        }),
        Message::Subscribe(subscribe) => Theirs::Subscribe(theirs::Subscribe {
            request_id: vi(subscribe.request_id),
            track_namespace: their_namespace(subscribe.track.namespace()),
            track_name: subscribe.track.name().to_vec(),
            parameters: their_parameters(&subscribe.parameters),
        }),
        Message::TrackStatus(status) => Theirs::TrackStatus(theirs::TrackStatus {
            request_id: vi(status.request_id),
            track_namespace: their_namespace(status.track.namespace()),
            track_name: status.track.name().to_vec(),
            parameters: their_parameters(&status.parameters),
        }),
        Message::SubscribeOk(ok) => Theirs::SubscribeOk(theirs::SubscribeOk {
            track_alias: vi(ok.alias),
            parameters: their_parameters(&ok.parameters),
            track_properties: their_properties(&ok.properties),
        }),
        Message::RequestUpdate(update) => Theirs::RequestUpdate(theirs::RequestUpdate {
            request_id: vi(update.request_id),
            parameters: their_parameters(&update.parameters),
        }),
        Message::Publish(publish) => Theirs::Publish(theirs::Publish {
            request_id: vi(publish.request_id),
            track_namespace: their_namespace(publish.track.namespace()),
            track_name: publish.track.name().to_vec(),
            track_alias: vi(publish.alias),
            parameters: their_parameters(&publish.parameters),
            track_properties: their_properties(&publish.properties),
        }),
        Message::PublishDone(done) => Theirs::PublishDone(theirs::PublishDone {
            status_code: vi(done.code.0),
            stream_count: vi(done.stream_count),
            reason_phrase: done.reason.clone().into(),
        }),
        Message::Fetch(fetch) => Theirs::Fetch(their_fetch(fetch)),
        Message::FetchOk(ok) => Theirs::FetchOk(theirs::FetchOk {
            end_of_track: ok.end_of_track.into(),
            end_group: vi(ok.end.group),
            end_object: vi(ok.end.object),
            parameters: their_parameters(&ok.parameters),
            track_properties: their_properties(&ok.properties),
        }),
        Message::PublishNamespace(request) => Theirs::PublishNamespace(theirs::PublishNamespace {
            request_id: vi(request.request_id),
            track_namespace: their_namespace(&request.namespace),
            parameters: their_parameters(&request.parameters),
        }),
        Message::SubscribeNamespace(request) => Theirs::SubscribeNamespace(theirs::SubscribeNamespace {
            request_id: vi(request.request_id),
            namespace_prefix: their_namespace(&request.namespace),
            parameters: their_parameters(&request.parameters),
        }),
        Message::SubscribeTracks(request) => Theirs::SubscribeTracks(theirs::SubscribeTracks {
            request_id: vi(request.request_id),
            namespace_prefix: their_namespace(&request.namespace),
            parameters: their_parameters(&request.parameters),
        }),
        Message::Namespace(suffix) => {
            Theirs::Namespace(theirs::Namespace { namespace_suffix: their_namespace(suffix) })
        }
        Message::NamespaceDone(suffix) => {
            Theirs::NamespaceDone(theirs::NamespaceDone { namespace_suffix: their_namespace(suffix) })
        }
        Message::PublishBlocked(blocked) => Theirs::PublishBlocked(theirs::PublishBlocked {
            namespace_suffix: their_namespace(&blocked.suffix),
            track_name: blocked.name.to_vec(),
        }),
        other => panic!("a message that they do not have: {other:?}"),
    }
}

fn their_fetch(fetch: &Fetch) -> theirs::Fetch {
    let joining = |joining: u64, start: u64| theirs::FetchPayload::Joining {
        joining_request_id: vi(joining),
        joining_start: vi(start),
    };
    let (fetch_type, fetch_payload) = match &fetch.range {
        FetchRange::Standalone { track, start, end } => {
            let payload = theirs::FetchPayload::Standalone {
                track_namespace: their_namespace(track.namespace()),
                track_name: FullTrackName::name(track).to_vec(),
                start_group: vi(start.group),
                start_object: vi(start.object),
                end_group: vi(end.group),
                end_object: vi(end.object),
            };
            (theirs::FetchType::Standalone, payload)
        }
        FetchRange::Relative { joining: id, groups } => {
            (theirs::FetchType::RelativeJoining, joining(*id, *groups))
        }
        FetchRange::Absolute { joining: id, group } => {
            (theirs::FetchType::AbsoluteJoining, joining(*id, *group))
        }
    };
    let parameters = their_parameters(&fetch.parameters);
    theirs::Fetch { request_id: vi(fetch.request_id), fetch_type, fetch_payload, parameters }
}

fn their_options(setup: &Setup) -> Vec<KeyValuePair> {
    let text = |kind, text: &Option<String>| text.clone().map(|text| pair(kind, text.into_bytes()));
    let mut options = Vec::new();
    options.extend(text(0x01, &setup.path));
    options.extend(setup.tokens.iter().map(|token| pair(0x03, their_token(token))));
    options.extend(setup.token_cache_bytes_max.map(|max| number_pair(0x04, max)));
    options.extend(text(0x05, &setup.authority));
    options.extend(text(0x07, &setup.implementation));
    options
}

fn their_parameters(ours: &Parameters) -> Vec<KeyValuePair> {
    let number = |kind, value: Option<u64>| value.map(|value| number_pair(kind, value));
    let mut pairs = Vec::new();
    pairs.extend(number(0x02, ours.object_delivery_timeout));
    pairs.extend(ours.tokens.iter().map(|token| pair(0x03, their_token(token))));
    pairs.extend(number(0x04, ours.rendezvous_timeout));
    pairs.extend(number(0x06, ours.subgroup_delivery_timeout));
    pairs.extend(number(0x08, ours.expires));
    pairs.extend(ours.largest.map(|largest| pair(0x09, integers(&[largest.group, largest.object]))));
    pairs.extend(number(0x0a, ours.fill_timeout));
    pairs.extend(number(0x10, ours.forward.map(u64::from)));
    pairs.extend(number(0x20, ours.priority.map(u64::from)));
    pairs.extend(ours.filter.map(|filter| pair(0x21, their_filter(filter))));
    pairs.extend(number(0x22, ours.order.map(|order| order as u64 + 1)));
    pairs.extend(number(0x32, ours.new_group));
    pairs.extend(ours.prefix.as_ref().map(|prefix| {
        let mut bytes = Vec::new();
        their_namespace(prefix).encode_moqt::<Moqt18>(&mut bytes);
        pair(0x34, bytes)
    }));
    pairs
}

fn their_token(token: &Token) -> Vec<u8> {
    match token {
        Token::Delete { alias } => integers(&[0, *alias]),
        Token::Register { alias, kind, value } => [&integers(&[1, *alias, *kind])[..], value].concat(),
        Token::UseAlias { alias } => integers(&[2, *alias]),
        Token::UseValue { kind, value } => [&integers(&[3, *kind])[..], value].concat(),
    }
}

fn their_filter(filter: Filter) -> Vec<u8> {
    match filter {
        Filter::NextGroup => integers(&[1]),
        Filter::Largest => integers(&[2]),
        Filter::From(start) => integers(&[3, start.group, start.object]),
        Filter::Range { start, end_group } => {
            integers(&[4, start.group, start.object, end_group - start.group])
        }
    }
}

fn their_properties(properties: &Properties) -> Vec<KeyValuePair> {
    let pair = |(kind, value)| match value {
        Value::Number(number) => number_pair(kind, number),
        Value::Bytes(bytes) => pair(kind, bytes.into()),
    };
    properties.iter().map(pair).collect()
}

fn their_namespace(namespace: &Namespace) -> TrackNamespace {
    TrackNamespace(namespace.fields().iter().map(|field| field.to_vec()).collect())
}

fn pair(kind: u64, value: Vec<u8>) -> KeyValuePair {
    KeyValuePair { key: vi(kind), value: KvpValue::Bytes(value) }
}

fn number_pair(kind: u64, value: u64) -> KeyValuePair {
    KeyValuePair { key: vi(kind), value: KvpValue::Varint(vi(value)) }
}

fn integers(values: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| vi(*value).encode_moqt::<Moqt18>(&mut bytes));
    bytes
}

fn vi(value: u64) -> VarInt {
    VarInt::from_u64_moqt(value)
}

fn their_status(status: ObjectStatus) -> TheirStatus {
    match status {
        ObjectStatus::Normal => TheirStatus::Normal,
        ObjectStatus::EndOfGroup => TheirStatus::EndOfGroup,
        ObjectStatus::EndOfTrack => TheirStatus::EndOfTrack,
    }
}

fn their_order(order: GroupOrder) -> theirs_data::GroupOrder {
    match order {
        GroupOrder::Ascending => theirs_data::GroupOrder::Ascending,
        GroupOrder::Descending => theirs_data::GroupOrder::Descending,
    }
}

fn our_entry(theirs: &theirs_data::FetchObject) -> FetchEntry {
    let location = Location::new(theirs.group_id, theirs.object_id);
    match theirs.header.end_of_range() {
        Some(theirs_data::EndOfRange::NonExistent) => FetchEntry::NonExistent(location),
        Some(theirs_data::EndOfRange::Unknown) => FetchEntry::Unknown(location),
        None => FetchEntry::Object(FetchHead {
            location,
            subgroup: theirs.subgroup_id,
            priority: theirs.publisher_priority.unwrap(),
            properties: Properties::decode(theirs.header.properties.clone().into()).unwrap(),
            payload_len: theirs.header.payload_length.into_inner(),
        }),
    }
}

/// Heads with any flags, whether or not there is something to refer back to.
fn fetch_heads() -> impl Strategy<Value = Vec<theirs_data::FetchObjectHeader>> {
    let numbers = (number(), number(), number(), number());
    let head = (0..0x80_u64, numbers, any::<u8>(), object_properties()).prop_map(
        |(flags, (group, subgroup, object, len), priority, properties)| theirs_data::FetchObjectHeader {
            serialization_flags: flags,
            group_id_delta: (flags & 0x08 != 0).then(|| vi(group)),
            subgroup_id: (flags & 0x43 == 0x03).then(|| vi(subgroup)),
            object_id_delta: (flags & 0x04 != 0).then(|| vi(object)),
            publisher_priority: (flags & 0x10 != 0).then_some(priority),
            properties: if flags & 0x20 != 0 { properties.bytes().to_vec() } else { Vec::new() },
            payload_length: vi(len),
        },
    );
    // Most first heads refer to nothing, so all get what they need until they have it.
    proptest::collection::vec(head, 1..6).prop_map(|mut heads| {
        if let Some(first) = heads.first_mut().filter(|first| first.payload_length.into_inner() % 8 != 0) {
            first.serialization_flags = first.serialization_flags & 0x20 | 0x1f;
            first.group_id_delta.get_or_insert_with(|| vi(7));
            first.subgroup_id.get_or_insert_with(|| vi(3));
            first.object_id_delta.get_or_insert_with(|| vi(0));
            first.publisher_priority.get_or_insert(9);
        }
        heads
    })
}

fn our_datagram(theirs: &theirs_data::DatagramHeader, payload: Vec<u8>) -> ObjectDatagram {
    ObjectDatagram {
        alias: theirs.track_alias.into_inner(),
        group: theirs.group_id.into_inner(),
        object: theirs.object_id.into_inner(),
        priority: theirs.publisher_priority,
        end_of_group: theirs.is_end_of_group(),
        properties: Properties::decode(theirs.properties.clone().into()).unwrap(),
        status: theirs.object_status.map(|status| match status {
            TheirStatus::Normal => ObjectStatus::Normal,
            TheirStatus::EndOfGroup => ObjectStatus::EndOfGroup,
            TheirStatus::EndOfTrack => ObjectStatus::EndOfTrack,
        }),
        payload: payload.into(),
    }
}

fn has_mandatory(properties: &[u8]) -> bool {
    let properties = Properties::decode(Bytes::copy_from_slice(properties));
    properties.is_ok_and(|properties| properties.mandatory().is_some())
}
