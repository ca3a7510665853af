//! What the draft demands in words: limits, scopes, and with which code a session ends.

use bytes::{BufMut, Bytes};
use common::model::{GroupOrder, Location, NameError, Namespace, ObjectStatus};
use common::wire::code::{RequestCode, SessionCode};
use common::wire::data::{FetchContext, FetchEntry, FetchHead, ObjectHead, StreamHeader, encode_object_head};
use common::wire::datagram::Datagram;
use common::wire::message::*;
use common::wire::parameter::{Parameters, TOKENS_MAX};
use common::wire::properties::{Properties, Value};
use common::wire::token::Token;
use common::wire::{DecodeError, Version, varint};

use crate::arbitrary::{PARAMETERS, SCOPES, allowed, retain};
use crate::control::payload;

const V: Version = Version::Draft18;

const SETUP: u64 = 0x2f00;
const REQUEST_UPDATE: u64 = 0x02;
const SUBSCRIBE: u64 = 0x03;
const SUBSCRIBE_OK: u64 = 0x04;
const REQUEST_ERROR: u64 = 0x05;
const REQUEST_OK: u64 = 0x07;
const PUBLISH_DONE: u64 = 0x0b;
const TRACK_STATUS: u64 = 0x0d;
const PUBLISH_BLOCKED: u64 = 0x0f;
const GOAWAY: u64 = 0x10;
const FETCH: u64 = 0x16;
const FETCH_OK: u64 = 0x18;
const PUBLISH_OK: u64 = 0x1e;

#[test]
fn a_parameter_outside_its_messages_ends_the_session() {
    for (message, scope) in SCOPES {
        for parameter in PARAMETERS {
            let (kind, payload) = payload(&with_parameters(message, one_parameter(parameter)));
            let decoded = Message::decode(V, kind, payload);
            // What a SUBSCRIBE may have is not held against a TRACK_STATUS, which is "identical".
            let may = scope.contains(&parameter)
                || message == TRACK_STATUS && allowed(SUBSCRIBE).contains(&parameter);
            if may {
                assert!(decoded.is_ok(), "{parameter:#x} in {message:#x}: {decoded:?}");
            } else {
                assert_eq!(decoded, Err(DecodeError::Misplaced { parameter, message }));
            }
        }
        let unknown = body(message, &[1, 0x7e, 0]);
        assert_eq!(
            Message::decode(V, message, unknown),
            Err(DecodeError::Misplaced { parameter: 0x7e, message })
        );
    }
}

#[test]
fn a_parameter_may_come_once_and_a_token_often() {
    for parameter in PARAMETERS {
        let (message, _) = SCOPES.into_iter().find(|(_, scope)| scope.contains(&parameter)).unwrap();
        let (_, once) = payload(&with_parameters(message, one_parameter(parameter)));
        let none = body(message, &[]);
        let (name, value) = once[none.len() + 1..].split_at(1);
        let twice = body(message, &[&[2], name, value, &[0], value].concat());
        match Message::decode(V, message, twice) {
            Ok(_) => assert_eq!(parameter, 0x03),
            Err(error) => assert_eq!(error, DecodeError::Duplicate(parameter)),
        }
    }
}

#[test]
fn tokens_and_bytes_of_a_token_are_bounded() {
    let with_tokens = |count, len| {
        let token = Token::UseValue { kind: 0, value: vec![7; len].into() };
        let parameters = Parameters { tokens: vec![token; count], ..Parameters::default() };
        let (kind, payload) = payload(&with_parameters(REQUEST_UPDATE, parameters));
        Message::decode(V, kind, payload).map(drop)
    };
    assert_eq!(with_tokens(TOKENS_MAX, 3), Ok(()));
    let error = DecodeError::Invalid { what: "number of authorization tokens", value: 17 };
    assert_eq!(with_tokens(TOKENS_MAX + 1, 3), Err(error));
    assert_eq!(with_tokens(1, 4096), Ok(()));
    let error = with_tokens(1, 4097).unwrap_err();
    assert_eq!(error.code(), SessionCode::KEY_VALUE_FORMATTING_ERROR);
}

#[test]
fn a_token_that_is_not_one_is_a_formatting_error() {
    for token in [&[][..], &[4], &[0], &[0, 1, 2], &[1, 1], &[2], &[2, 1, 2], &[3]] {
        let error = Token::decode(Bytes::copy_from_slice(token)).unwrap_err();
        assert_eq!(error.code(), SessionCode::KEY_VALUE_FORMATTING_ERROR, "{token:?}");
    }
    assert_eq!(
        Token::decode(Bytes::from_static(&[3, 0])),
        Ok(Token::UseValue { kind: 0, value: Bytes::new() })
    );
}

#[test]
fn values_out_of_range_end_the_session() {
    let check = |message, parameters: &[u8]| {
        let error = Message::decode(V, message, body(message, parameters)).unwrap_err();
        assert_eq!(error.code(), SessionCode::PROTOCOL_VIOLATION, "{parameters:?}");
    };
    check(SUBSCRIBE, &[1, 0x10, 2]); // FORWARD
    check(SUBSCRIBE, &[1, 0x22, 0]); // GROUP_ORDER
    check(SUBSCRIBE, &[1, 0x22, 3]);
    check(SUBSCRIBE, &[1, 0x21, 1, 0]); // SUBSCRIPTION_FILTER of no type
    check(SUBSCRIBE, &[1, 0x21, 1, 5]);
    check(SUBSCRIBE, &[1, 0x21, 2, 1, 0]); // and of one that ends before
    check(SUBSCRIBE, &[1, 0x21, 2, 3, 0]); // and after its length
    check(SUBSCRIBE, &[&[1, 0x21, 12, 4, 1, 0][..], &[0xff; 9]].concat()); // and past the last group
    check(SUBSCRIBE, &[&[2, 0x02, 0][..], &[0xff; 9]].concat()); // a type past 2^64 - 1
    check(SUBSCRIBE_OK, &[0, 0x22, 3]); // DEFAULT_PUBLISHER_GROUP_ORDER
    check(SUBSCRIBE_OK, &[0, 0x22, 1, 0, 3]); // also the second time
    check(SUBSCRIBE_OK, &[0, 0x0b, 2, 0x30, 2]); // DYNAMIC_GROUPS, also inside of immutable ones
    check(SUBSCRIBE_OK, &[&[0, 0x02, 1][..], &[0xff; 9]].concat()); // a property past 2^64 - 1
    check(SUBSCRIBE_OK, &[0, 0x02]); // and one that is cut off
}

#[test]
fn filters_are_what_their_bytes_say() {
    let filter = |bytes: &[u8]| {
        let parameters = [&[1, 0x21, bytes.len() as u8], bytes].concat();
        let message = Message::decode(V, SUBSCRIBE, body(SUBSCRIBE, &parameters)).unwrap();
        let Message::Subscribe(subscribe) = message else { panic!("{message:?}") };
        subscribe.parameters.filter.unwrap()
    };
    assert_eq!(filter(&[1]), Filter::NextGroup);
    assert_eq!(filter(&[2]), Filter::Largest);
    assert_eq!(filter(&[3, 5, 6]), Filter::From(Location::new(5, 6)));
    assert_eq!(filter(&[4, 5, 6, 7]), Filter::Range { start: Location::new(5, 6), end_group: 12 });
}

#[test]
fn names_are_held_to_their_limits_wherever_they_are() {
    let namespace = |fields: &[usize]| {
        let mut out = Vec::new();
        varint::encode(fields.len() as u64, &mut out);
        fields.iter().for_each(|len| put_bytes(*len, &mut out));
        out
    };
    let check = |kind, payload: Vec<u8>, expected: Option<DecodeError>| {
        assert_eq!(Message::decode(V, kind, payload.into()).err(), expected, "{kind:#x}");
    };
    for kind in [0x08, 0x0e] {
        check(kind, namespace(&[1; 32]), None);
        let error = DecodeError::Invalid { what: "number of namespace fields", value: 33 };
        check(kind, namespace(&[1; 33]), Some(error));
        check(kind, namespace(&[1, 0]), Some(NameError::EmptyField.into()));
        check(kind, namespace(&[4000, 96]), None);
        check(kind, namespace(&[4000, 97]), Some(NameError::TooLong(4097).into()));
    }
    for (name, expected) in [(96, None), (97, Some(NameError::TooLong(4097).into()))] {
        let mut full = namespace(&[4000]);
        put_bytes(name, &mut full);
        check(PUBLISH_BLOCKED, full.clone(), expected.clone());
        check(REQUEST_ERROR, [&[0x34, 0, 0, 0][..], &full].concat(), expected.clone());
        check(SUBSCRIBE, [&[0][..], &full, &[0]].concat(), expected.clone());
        check(FETCH, [&[0, 1][..], &full, &[0, 0, 0, 0, 0]].concat(), expected);
    }
    check(SUBSCRIBE, vec![0, 0, 1, b'x', 0], None);
    check(PUBLISH_BLOCKED, vec![0, 1, b'x'], None);
}

#[test]
fn texts_are_held_to_their_limits() {
    let with_text = |before: &[u8], len, after: &[u8]| {
        let mut out = before.to_vec();
        put_bytes(len, &mut out);
        Bytes::from([&out[..], after].concat())
    };
    let check = |kind, payload, expected: Option<DecodeError>| {
        assert_eq!(Message::decode(V, kind, payload).err(), expected, "{kind:#x}");
    };
    let too_long = |what, max: u64| Some(DecodeError::TooLong { what, len: max + 1, max });
    check(PUBLISH_DONE, with_text(&[0, 0], 1024, &[]), None);
    check(PUBLISH_DONE, with_text(&[0, 0], 1025, &[]), too_long("reason", 1024));
    check(REQUEST_ERROR, with_text(&[0, 0], 1024, &[]), None);
    check(REQUEST_ERROR, with_text(&[0, 0], 1025, &[]), too_long("reason", 1024));
    check(REQUEST_ERROR, with_text(&[0x34, 0, 0], 8193, &[0, 0]), too_long("connect URI", 8192));
    check(GOAWAY, with_text(&[], 8192, &[0]), None);
    check(GOAWAY, with_text(&[], 8193, &[0]), too_long("new session URI", 8192));
}

#[test]
fn a_reason_cut_inside_a_letter_is_still_a_reason() {
    let message = Message::decode(V, PUBLISH_DONE, Bytes::from_static(&[2, 0, 3, b'b', b'y', 0xc3]));
    let Ok(Message::PublishDone(done)) = message else { panic!("{message:?}") };
    assert_eq!(done.reason, "by\u{fffd}");
    let long = PublishDone { reason: "ä".repeat(600), ..done };
    let (kind, payload) = payload(&Message::PublishDone(long));
    let Ok(Message::PublishDone(done)) = Message::decode(V, kind, payload) else { panic!("no PUBLISH_DONE") };
    assert_eq!(done.reason, "ä".repeat(512));
}

#[test]
fn setup_ignores_what_nobody_knows_and_refuses_what_comes_twice() {
    let setup = |options: &[u8]| Message::decode(V, SETUP, Bytes::copy_from_slice(options));
    assert_eq!(setup(&[]), Ok(Message::Setup(Setup::default())));
    // Two of type 0x06, two of type 0x9d, a cache size before them.
    let known = setup(&[4, 9, 2, 1, 0, 2, 0x80, 0x97, 1, 7, 0, 0]);
    assert_eq!(known, Ok(Message::Setup(Setup { token_cache_bytes_max: Some(9), ..Setup::default() })));
    for (kind, value) in [(0x01, &[0][..]), (0x04, &[0]), (0x05, &[0]), (0x07, &[0])] {
        let twice = [&[kind], value, &[0], value].concat();
        assert_eq!(setup(&twice), Err(DecodeError::Duplicate(kind.into())));
    }
    let Ok(Message::Setup(two)) = setup(&[3, 2, 3, 0, 0, 2, 3, 0]) else { panic!("two tokens") };
    assert_eq!(two.tokens.len(), 2);
}

#[test]
fn setup_says_which_address_is_malformed() {
    let code = |options: &[u8]| {
        Message::decode(V, SETUP, Bytes::copy_from_slice(options)).map_err(|error| error.code())
    };
    assert_eq!(code(&[1, 1, 0xff]), Err(SessionCode::MALFORMED_PATH));
    assert_eq!(code(&[5, 1, 0xff]), Err(SessionCode::MALFORMED_AUTHORITY));
    assert!(code(&[7, 1, 0xff]).is_ok());
    assert_eq!(code(&[3, 0]), Err(SessionCode::KEY_VALUE_FORMATTING_ERROR));
}

#[test]
fn an_endless_implementation_is_cut_and_can_be_written() {
    let mut options = vec![7];
    varint::encode(60_000, &mut options);
    options.resize(options.len() + 60_000, 0xff);
    let setup = Message::decode(V, SETUP, options.into()).unwrap();
    let (kind, payload) = payload(&setup);
    assert!(payload.len() < IMPLEMENTATION_BYTES_MAX + 10);
    assert_eq!(Message::decode(V, kind, payload), Ok(setup));
}

#[test]
fn messages_of_other_drafts_are_unknown() {
    for kind in [0x00, 0x01, 0x09, 0x11, 0x20, 0x21, 0x40, 0x41, 0x9d, u64::MAX] {
        let error = Message::decode(V, kind, Bytes::new()).unwrap_err();
        assert_eq!(error, DecodeError::UnknownMessage(kind));
        assert_eq!(error.code(), SessionCode::PROTOCOL_VIOLATION);
    }
}

#[test]
fn the_answer_to_a_publish_has_two_types() {
    let payload = Bytes::from_static(&[1, 0x10, 1]);
    let ok = Message::decode(V, REQUEST_OK, payload.clone()).unwrap();
    assert_eq!(Message::decode(V, PUBLISH_OK, payload).as_ref(), Ok(&ok));
    assert_eq!(ok.kind(), REQUEST_OK);
}

#[test]
fn a_redirect_to_the_same_place_is_whole() {
    let error = RequestError {
        code: RequestCode::REDIRECT,
        retry_interval: 1,
        reason: "full".into(),
        redirect: None,
    };
    let (kind, payload) = payload(&Message::RequestError(error.clone()));
    let same = RequestError { redirect: Some(Redirect::default()), ..error };
    assert_eq!(Message::decode(V, kind, payload), Ok(Message::RequestError(same)));
}

#[test]
fn a_fetch_does_not_run_backwards() {
    let fetch = |start: [u8; 2], end: [u8; 2]| {
        let payload = [&[0, 1, 1, 1, b'e', 0][..], &start, &end, &[0]].concat();
        Message::decode(V, FETCH, payload.into()).is_ok()
    };
    assert!(fetch([5, 3], [5, 0])); // the whole group
    assert!(fetch([5, 3], [5, 4])); // one object
    assert!(fetch([5, 3], [6, 1]));
    assert!(!fetch([5, 3], [5, 3]));
    assert!(!fetch([5, 3], [4, 9]));
    for kind in [0, 4] {
        let error = Message::decode(V, FETCH, Bytes::copy_from_slice(&[0, kind, 0, 0, 0])).unwrap_err();
        assert_eq!(error, DecodeError::Invalid { what: "fetch type", value: kind.into() });
    }
}

#[test]
fn fetch_ok_ends_the_track_or_does_not() {
    let ends = |flag| match Message::decode(V, FETCH_OK, Bytes::copy_from_slice(&[flag, 7, 0, 0])) {
        Ok(Message::FetchOk(ok)) => Some(ok.end_of_track),
        _ => None,
    };
    assert_eq!([0, 1, 2].map(ends), [Some(false), Some(true), None]);
}

#[test]
fn a_message_that_would_be_too_long_is_not_written() {
    let properties = |len| Properties::new([(0x39, Value::Bytes(vec![0; len].into()))]).unwrap();
    let publish = |len| {
        let ok = SubscribeOk { alias: 1, parameters: Parameters::default(), properties: properties(len) };
        Message::SubscribeOk(ok).encode(V)
    };
    // Alias, number of parameters, property type, and three bytes of length.
    let most = PAYLOAD_BYTES_MAX - 6;
    assert_eq!(publish(most).unwrap().len(), PAYLOAD_BYTES_MAX + 3);
    assert!(matches!(publish(most + 1), Err(DecodeError::TooLong { what: "message", .. })));
}

#[test]
fn an_unknown_message_is_refused_as_soon_as_it_is_whole() {
    let mut decoder = Decoder::default();
    decoder.push(&[0x40, 0, 1]);
    assert_eq!(decoder.next(V), Ok(None));
    decoder.push(&[0]);
    assert_eq!(decoder.next(V), Err(DecodeError::UnknownMessage(0x40)));
}

#[test]
fn only_some_types_begin_a_stream_or_a_datagram() {
    for kind in 0..0x100_u64 {
        let mut bytes = Vec::new();
        varint::encode(kind, &mut bytes);
        bytes.extend_from_slice(&[1; 16]);
        let is_subgroup = kind < 0x80 && kind & 0x10 != 0 && kind & 0x06 != 0x06;
        assert_eq!(StreamHeader::decode(&bytes).is_ok(), is_subgroup || kind == 0x05, "{kind:#x}");
        let is_object = kind & !0x2f == 0 && kind & 0x22 != 0x22;
        let datagram = Datagram::decode(bytes.into());
        let is_unknown = datagram == Err(DecodeError::UnknownDatagram(kind));
        assert_eq!(is_unknown, !is_object, "{kind:#x}: {datagram:?}");
    }
}

#[test]
fn only_normal_objects_have_properties_and_bytes() {
    let object = |bytes: &[u8]| ObjectHead::decode(bytes, true, None, 100).map(|head| head.unwrap().0.status);
    assert_eq!(object(&[0, 2, 2, 9, 0, 0]), Ok(ObjectStatus::Normal));
    assert_eq!(object(&[0, 0, 0, 3]), Ok(ObjectStatus::EndOfGroup));
    assert!(object(&[0, 2, 2, 9, 0, 3]).is_err());
    assert!(object(&[0, 0, 0, 1]).is_err());
    // The same in datagrams: alias, group, and then what the type says.
    let datagram = |bytes: &'static [u8]| Datagram::decode(Bytes::from_static(bytes)).is_ok();
    assert!(datagram(&[0x2d, 1, 2, 2, 2, 9, 0]));
    assert!(!datagram(&[0x2d, 1, 2, 2, 2, 9, 3]));
    assert!(!datagram(&[0x2c, 1, 2, 3, 7]), "bytes after a status");
    assert!(!datagram(&[0x0d, 1, 2, 0]), "no properties where the type promises some");
}

#[test]
fn an_object_with_a_property_for_tracks_makes_a_malformed_track() {
    let properties = Properties::new([(0x4000, Value::Number(1))]).unwrap();
    let mut bytes = bytes::BytesMut::new();
    encode_object_head(None, 0, properties.bytes(), true, 0, ObjectStatus::Normal, &mut bytes);
    assert_eq!(ObjectHead::decode(&bytes, true, None, 100), Err(DecodeError::MalformedTrack(0x4000)));
}

#[test]
fn what_an_object_announces_is_bounded() {
    let error = ObjectHead::decode(&[0, 101], false, None, 100).unwrap_err();
    assert_eq!(error, DecodeError::TooLong { what: "object payload", len: 101, max: 100 });
    // 16 KiB and one byte of properties, of which none has come.
    let error = ObjectHead::decode(&[0, 0xc0, 0x40, 0x01], true, None, 100).unwrap_err();
    assert_eq!(error, DecodeError::TooLong { what: "object properties", len: 16_385, max: 16_384 });
    let past = ObjectHead::decode(&[0, 4], false, Some(u64::MAX), 100);
    assert_eq!(past, Err(DecodeError::Overflow("object id")));
}

#[test]
fn a_range_may_end_in_the_group_of_the_object_before() {
    let mut context = FetchContext::new(GroupOrder::Ascending);
    let mut read = |bytes: &[u8]| context.decode(bytes, 100).unwrap().unwrap().0;
    let object = |group, object| {
        let location = Location::new(group, object);
        FetchEntry::Object(FetchHead {
            location,
            subgroup: Some(3),
            priority: 9,
            properties: Properties::default(),
            payload_len: 4,
        })
    };
    assert_eq!(read(&[0x1f, 7, 3, 2, 9, 4]), object(7, 2));
    assert_eq!(read(&[0x81, 0x0c, 7, 5]), FetchEntry::Unknown(Location::new(7, 5)));
    // Place from the range, subgroup and priority from the object.
    assert_eq!(read(&[0x01, 4]), object(7, 6));
    assert_eq!(read(&[0x80, 0x8c, 9, 1]), FetchEntry::NonExistent(Location::new(9, 1)));
    // A group on, and the object id goes on too.
    assert_eq!(read(&[0x09, 0, 4]), object(10, 2));
}

#[test]
fn the_first_object_of_an_answer_refers_to_none() {
    for flags in 0..0x80_u8 {
        let bytes = [&[flags][..], &[1; 12]].concat();
        let first = FetchContext::new(GroupOrder::Ascending).decode(&bytes, 100);
        let subgroup = flags & 0x40 != 0 || matches!(flags & 0x03, 0 | 3);
        // One byte of properties is no property.
        let whole = flags & 0x1c == 0x1c && subgroup && flags & 0x20 == 0;
        assert_eq!(first.is_ok(), whole, "{flags:#x}: {first:?}");
    }
    for flags in [0x80, 0x8d, 0x10d, 0x4000] {
        let mut bytes = Vec::new();
        varint::encode(flags, &mut bytes);
        let first = FetchContext::new(GroupOrder::Ascending).decode(&bytes, 100);
        assert_eq!(first, Err(DecodeError::Invalid { what: "serialization flags", value: flags }));
    }
}

#[test]
fn groups_of_an_answer_do_not_pass_the_ends_of_the_space() {
    let after = |order, group: u64, delta: u64| {
        let mut context = FetchContext::new(order);
        let mut first = vec![0x1c];
        varint::encode(group, &mut first);
        first.put_slice(&[0, 9, 4]);
        context.decode(&first, 100).unwrap().unwrap();
        let mut second = vec![0x0c];
        varint::encode(delta, &mut second);
        second.put_slice(&[0, 4]);
        match context.decode(&second, 100) {
            Ok(Some((FetchEntry::Object(head), _))) => Ok(head.location.group),
            Err(error) => Err(error),
            other => panic!("{other:?}"),
        }
    };
    let past = Err(DecodeError::Overflow("location"));
    assert_eq!(after(GroupOrder::Ascending, u64::MAX - 1, 0), Ok(u64::MAX));
    assert_eq!(after(GroupOrder::Ascending, u64::MAX - 1, 1), past);
    assert_eq!(after(GroupOrder::Ascending, 0, u64::MAX), past);
    assert_eq!(after(GroupOrder::Descending, 1, 0), Ok(0));
    assert_eq!(after(GroupOrder::Descending, 1, 1), past);
}

/// A message of this type, with parameters and nothing else of interest.
fn with_parameters(kind: u64, parameters: Parameters) -> Message {
    let track = || common::model::FullTrackName::new(Namespace::event("e").unwrap(), "").unwrap();
    let subscribe = |parameters| Subscribe { request_id: 0, track: track(), parameters };
    let request =
        |parameters| NamespaceRequest { request_id: 0, namespace: Namespace::default(), parameters };
    let properties = Properties::default();
    let (end, range) = (Location::new(7, 0), FetchRange::Relative { joining: 0, groups: 0 });
    match kind {
        0x02 => Message::RequestUpdate(RequestUpdate { request_id: 0, parameters }),
        0x03 => Message::Subscribe(subscribe(parameters)),
        0x04 => Message::SubscribeOk(SubscribeOk { alias: 0, parameters, properties }),
        0x06 => Message::PublishNamespace(request(parameters)),
        0x07 => Message::RequestOk(RequestOk { parameters, properties }),
        0x0d => Message::TrackStatus(subscribe(parameters)),
        0x16 => Message::Fetch(Fetch { request_id: 0, range, parameters }),
        0x18 => Message::FetchOk(FetchOk { end_of_track: false, end, parameters, properties }),
        0x1d => Message::Publish(Publish { request_id: 0, track: track(), alias: 0, parameters, properties }),
        0x50 => Message::SubscribeNamespace(request(parameters)),
        0x51 => Message::SubscribeTracks(request(parameters)),
        other => panic!("{other:#x} has no parameters"),
    }
}

/// The payload of [`with_parameters`], with these bytes in the place of its parameters.
fn body(kind: u64, parameters: &[u8]) -> Bytes {
    let (_, none) = payload(&with_parameters(kind, Parameters::default()));
    let (_, before) = none.split_last().unwrap();
    [before, parameters].concat().into()
}

/// This parameter, and no other.
fn one_parameter(kind: u64) -> Parameters {
    let mut parameters = Parameters {
        object_delivery_timeout: Some(1),
        tokens: vec![Token::UseAlias { alias: 1 }],
        rendezvous_timeout: Some(1),
        subgroup_delivery_timeout: Some(1),
        expires: Some(1),
        largest: Some(Location::new(1, 1)),
        fill_timeout: Some(1),
        forward: Some(true),
        priority: Some(1),
        filter: Some(Filter::Largest),
        order: Some(GroupOrder::Descending),
        new_group: Some(1),
        prefix: Some(Namespace::event("e").unwrap()),
    };
    retain(&mut parameters, |other| other == kind);
    parameters
}

/// A length and as many letters.
fn put_bytes(len: usize, out: &mut Vec<u8>) {
    varint::encode(len as u64, out);
    out.resize(out.len() + len, b'x');
}
