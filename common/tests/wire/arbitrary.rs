//! Any value that the wire can carry.

use bytes::Bytes;
use common::model::{FullTrackName, GroupOrder, Location, Namespace, ObjectStatus};
use common::wire::code::{DoneCode, RequestCode};
use common::wire::data::{FetchEntry, FetchHead, ObjectHead, SubgroupHeader};
use common::wire::datagram::ObjectDatagram;
use common::wire::message::*;
use common::wire::parameter::Parameters;
use common::wire::properties::{MANDATORY, Properties, Value};
use common::wire::token::Token;
use proptest::collection::vec;
use proptest::option::{self, weighted};
use proptest::prelude::*;

/// Which parameters the draft allows in which message (10.2.2 to 10.2.14).
pub(crate) const SCOPES: [(u64, &[u64]); 11] = [
    (0x02, &[0x02, 0x03, 0x06, 0x10, 0x20, 0x21, 0x32, 0x34]), // REQUEST_UPDATE
    (0x03, &[0x02, 0x03, 0x04, 0x06, 0x10, 0x20, 0x21, 0x22, 0x32]), // SUBSCRIBE
    (0x04, &[0x08, 0x09]),                                     // SUBSCRIBE_OK
    (0x06, &[0x03]),                                           // PUBLISH_NAMESPACE
    (0x07, &[0x02, 0x06, 0x08, 0x09, 0x10, 0x20, 0x21, 0x22, 0x32]), // REQUEST_OK
    (0x0d, &[0x03]),                                           // TRACK_STATUS
    (0x16, &[0x03, 0x0a, 0x20, 0x22]),                         // FETCH
    (0x18, &[]),                                               // FETCH_OK
    (0x1d, &[0x03, 0x08, 0x09, 0x10]),                         // PUBLISH
    (0x50, &[0x03]),                                           // SUBSCRIBE_NAMESPACE
    (0x51, &[0x03, 0x10]),                                     // SUBSCRIBE_TRACKS
];

/// Every parameter there is.
pub(crate) const PARAMETERS: [u64; 13] =
    [0x02, 0x03, 0x04, 0x06, 0x08, 0x09, 0x0a, 0x10, 0x20, 0x21, 0x22, 0x32, 0x34];

/// An integer of any length on the wire, all lengths alike.
pub(crate) fn number() -> impl Strategy<Value = u64> {
    (0..=64_u32, any::<u64>()).prop_map(|(bits, value)| value.checked_shr(64 - bits).unwrap_or(0))
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        setup().prop_map(Message::Setup),
        goaway().prop_map(Message::GoAway),
        (parameters(0x07), track_properties())
            .prop_map(|(parameters, properties)| Message::RequestOk(RequestOk { parameters, properties })),
        request_error().prop_map(Message::RequestError),
        subscribe(0x03).prop_map(Message::Subscribe),
        subscribe(0x0d).prop_map(Message::TrackStatus),
        (number(), parameters(0x04), track_properties()).prop_map(|(alias, parameters, properties)| {
            Message::SubscribeOk(SubscribeOk { alias, parameters, properties })
        }),
        (number(), parameters(0x02)).prop_map(|(request_id, parameters)| {
            Message::RequestUpdate(RequestUpdate { request_id, parameters })
        }),
        (number(), track(), number(), parameters(0x1d), track_properties()).prop_map(
            |(request_id, track, alias, parameters, properties)| {
                Message::Publish(Publish { request_id, track, alias, parameters, properties })
            }
        ),
        (number(), number(), text()).prop_map(|(code, stream_count, reason)| {
            Message::PublishDone(PublishDone { code: DoneCode(code), stream_count, reason })
        }),
        (number(), fetch_range(), parameters(0x16)).prop_map(|(request_id, range, parameters)| {
            Message::Fetch(Fetch { request_id, range, parameters })
        }),
        (any::<bool>(), location(), parameters(0x18), track_properties()).prop_map(
            |(end_of_track, end, parameters, properties)| {
                Message::FetchOk(FetchOk { end_of_track, end, parameters, properties })
            }
        ),
        namespace_request(0x06).prop_map(Message::PublishNamespace),
        namespace_request(0x50).prop_map(Message::SubscribeNamespace),
        namespace_request(0x51).prop_map(Message::SubscribeTracks),
        namespace().prop_map(Message::Namespace),
        namespace().prop_map(Message::NamespaceDone),
        (namespace(), bytes(40))
            .prop_map(|(suffix, name)| Message::PublishBlocked(PublishBlocked { suffix, name })),
    ]
}

fn setup() -> impl Strategy<Value = Setup> {
    (option::of(text()), option::of(text()), vec(token(), 0..3), option::of(number()), option::of(text()))
        .prop_map(|(path, authority, tokens, token_cache_bytes_max, implementation)| Setup {
            path,
            authority,
            tokens,
            token_cache_bytes_max,
            implementation,
        })
}

fn goaway() -> impl Strategy<Value = GoAway> {
    (text(), number(), option::of(number())).prop_map(|(uri, timeout_ms, request_id)| GoAway {
        uri,
        timeout_ms,
        request_id,
    })
}

fn request_error() -> impl Strategy<Value = RequestError> {
    let redirect =
        (text(), namespace(), bytes(40)).prop_map(|(uri, namespace, name)| Redirect { uri, namespace, name });
    (number(), number(), text(), option::of(redirect)).prop_map(|(code, retry_interval, reason, redirect)| {
        let code = match (redirect.is_some(), RequestCode(code)) {
            (true, _) => RequestCode::REDIRECT,
            (false, RequestCode::REDIRECT) => RequestCode::INTERNAL_ERROR,
            (false, code) => code,
        };
        RequestError { code, retry_interval, reason, redirect }
    })
}

fn subscribe(kind: u64) -> impl Strategy<Value = Subscribe> {
    (number(), track(), parameters(kind)).prop_map(|(request_id, track, parameters)| Subscribe {
        request_id,
        track,
        parameters,
    })
}

fn namespace_request(kind: u64) -> impl Strategy<Value = NamespaceRequest> {
    // Only a prefix may be empty.
    let namespace = if kind == 0x06 {
        track().prop_map(|track| track.namespace().clone()).boxed()
    } else {
        namespace().boxed()
    };
    (number(), namespace, parameters(kind)).prop_map(|(request_id, namespace, parameters)| NamespaceRequest {
        request_id,
        namespace,
        parameters,
    })
}

fn fetch_range() -> impl Strategy<Value = FetchRange> {
    let standalone = (track(), location(), number(), number()).prop_map(|(track, start, group, object)| {
        let group = group.max(start.group);
        let object = if group == start.group && object <= start.object { 0 } else { object };
        FetchRange::Standalone { track, start, end: Location::new(group, object) }
    });
    prop_oneof![
        standalone,
        (number(), number()).prop_map(|(joining, groups)| FetchRange::Relative { joining, groups }),
        (number(), number()).prop_map(|(joining, group)| FetchRange::Absolute { joining, group }),
    ]
}

/// Parameters that may appear in a message of this type.
pub(crate) fn parameters(message: u64) -> impl Strategy<Value = Parameters> {
    let number = || weighted(0.3, number());
    let numbers = (number(), number(), number(), number(), number(), number());
    let others = (
        vec(token(), 0..3),
        weighted(0.3, location()),
        weighted(0.3, any::<bool>()),
        weighted(0.3, any::<u8>()),
        weighted(0.3, filter()),
        weighted(0.3, order()),
        weighted(0.3, namespace()),
    );
    (numbers, others).prop_map(move |(numbers, others)| {
        let mut parameters = Parameters {
            object_delivery_timeout: numbers.0,
            tokens: others.0,
            rendezvous_timeout: numbers.1,
            subgroup_delivery_timeout: numbers.2,
            expires: numbers.3,
            largest: others.1,
            fill_timeout: numbers.4,
            forward: others.2,
            priority: others.3,
            filter: others.4,
            order: others.5,
            new_group: numbers.5,
            prefix: others.6,
        };
        retain(&mut parameters, |kind| allowed(message).contains(&kind));
        parameters
    })
}

/// Which parameters the draft allows in a message of this type.
pub(crate) fn allowed(message: u64) -> &'static [u64] {
    SCOPES.iter().find(|(kind, _)| *kind == message).map_or(&[], |(_, allowed)| allowed)
}

/// Removes all parameters but those of some types.
pub(crate) fn retain(parameters: &mut Parameters, keeps: impl Fn(u64) -> bool) {
    for kind in PARAMETERS.into_iter().filter(|kind| !keeps(*kind)) {
        match kind {
            0x02 => parameters.object_delivery_timeout = None,
            0x03 => parameters.tokens.clear(),
            0x04 => parameters.rendezvous_timeout = None,
            0x06 => parameters.subgroup_delivery_timeout = None,
            0x08 => parameters.expires = None,
            0x09 => parameters.largest = None,
            0x0a => parameters.fill_timeout = None,
            0x10 => parameters.forward = None,
            0x20 => parameters.priority = None,
            0x21 => parameters.filter = None,
            0x22 => parameters.order = None,
            0x32 => parameters.new_group = None,
            0x34 => parameters.prefix = None,
            other => unreachable!("no parameter {other:#x}"),
        }
    }
}

fn token() -> impl Strategy<Value = Token> {
    prop_oneof![
        number().prop_map(|alias| Token::Delete { alias }),
        (number(), number(), bytes(40)).prop_map(|(alias, kind, value)| Token::Register {
            alias,
            kind,
            value
        }),
        number().prop_map(|alias| Token::UseAlias { alias }),
        (number(), bytes(40)).prop_map(|(kind, value)| Token::UseValue { kind, value }),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    prop_oneof![
        Just(Filter::NextGroup),
        Just(Filter::Largest),
        location().prop_map(Filter::From),
        (location(), number())
            .prop_map(|(start, end)| Filter::Range { start, end_group: end.max(start.group) }),
    ]
}

pub(crate) fn order() -> impl Strategy<Value = GroupOrder> {
    prop_oneof![Just(GroupOrder::Ascending), Just(GroupOrder::Descending)]
}

fn location() -> impl Strategy<Value = Location> {
    (number(), number()).prop_map(|(group, object)| Location::new(group, object))
}

pub(crate) fn track() -> impl Strategy<Value = FullTrackName> {
    (namespace(), bytes(1), bytes(40)).prop_map(|(namespace, field, name)| {
        let namespace = match namespace.fields() {
            [] => Namespace::new(vec![if field.is_empty() { "event".into() } else { field }]).unwrap(),
            _ => namespace,
        };
        FullTrackName::new(namespace, name).unwrap()
    })
}

pub(crate) fn namespace() -> impl Strategy<Value = Namespace> {
    let field = || vec(any::<u8>(), 1..24).prop_map(Bytes::from);
    prop_oneof![9 => vec(field(), 0..4), 1 => vec(field(), 32)]
        .prop_map(|fields| Namespace::new(fields).unwrap())
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=max).prop_map(Bytes::from)
}

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..40).prop_map(String::from_iter)
}

/// Properties that a track may have: also any that nobody knows.
pub(crate) fn track_properties() -> impl Strategy<Value = Properties> {
    let known = prop_oneof![
        number().prop_map(|value| (0x02, Value::Number(value))),
        number().prop_map(|value| (0x04, Value::Number(value))),
        any::<u8>().prop_map(|value| (0x0e, Value::Number(value.into()))),
        (1..=2_u64).prop_map(|value| (0x22, Value::Number(value))),
        (0..=1_u64).prop_map(|value| (0x30, Value::Number(value))),
        vec(unknown_property(), 0..3)
            .prop_map(|inner| (0x0b, Value::Bytes(Properties::new(inner).unwrap().bytes().clone()))),
    ];
    vec(prop_oneof![known, unknown_property()], 0..5).prop_map(|pairs| Properties::new(pairs).unwrap())
}

/// Properties that an object may have.
pub(crate) fn object_properties() -> impl Strategy<Value = Properties> {
    vec(unknown_property(), 0..4).prop_map(|mut pairs| {
        pairs.retain(|(kind, _)| !MANDATORY.contains(kind));
        Properties::new(pairs).unwrap()
    })
}

fn unknown_property() -> impl Strategy<Value = (u64, Value)> {
    let kind = number().prop_map(|kind| match kind {
        0x0b | 0x0e | 0x22 | 0x30 => kind + 0x80,
        kind => kind,
    });
    (kind, number(), bytes(60)).prop_map(|(kind, number, bytes)| match kind % 2 {
        0 => (kind, Value::Number(number)),
        _ => (kind, Value::Bytes(bytes)),
    })
}

pub(crate) fn subgroup_header() -> impl Strategy<Value = SubgroupHeader> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (number(), number(), option::of(number()), option::of(any::<u8>()), flags).prop_map(
        |(alias, group, subgroup, priority, (end_of_group, first_object, has_properties))| SubgroupHeader {
            alias,
            group,
            subgroup,
            priority,
            end_of_group,
            first_object,
            has_properties,
        },
    )
}

/// Objects of one stream, with payloads as long as their heads say. Ids stay below 2^62.
pub(crate) fn objects(has_properties: bool) -> impl Strategy<Value = Vec<(ObjectHead, Bytes)>> {
    let object = (number(), object_properties(), payload_and_status());
    vec(object, 0..8).prop_map(move |objects| {
        let mut next = 0;
        let head = |(gap, properties, (payload, status)): (u64, Properties, (Bytes, ObjectStatus))| {
            // A quarter of the space is enough for eight gaps of a 32nd.
            let id = next + (gap >> 5);
            next = id + 1;
            let bare = !has_properties || status != ObjectStatus::Normal;
            let properties = if bare { Properties::default() } else { properties };
            (ObjectHead { id, properties, payload_len: payload.len() as u64, status }, payload)
        };
        objects.into_iter().map(head).collect()
    })
}

fn payload_and_status() -> impl Strategy<Value = (Bytes, ObjectStatus)> {
    let status = prop_oneof![
        Just(ObjectStatus::Normal),
        Just(ObjectStatus::EndOfGroup),
        Just(ObjectStatus::EndOfTrack)
    ];
    prop_oneof![
        3 => vec(any::<u8>(), 1..200).prop_map(|payload| (payload.into(), ObjectStatus::Normal)),
        1 => status.prop_map(|status| (Bytes::new(), status)),
    ]
}

/// What answers a FETCH in this order. Locations stay below 2^62.
pub(crate) fn fetch_entries(order: GroupOrder) -> impl Strategy<Value = Vec<(FetchEntry, Bytes)>> {
    let place = (0..3_u64, number(), number());
    let fields = (option::of(prop_oneof![0..3_u64, number()]), 0..3_u8, object_properties(), bytes(100));
    vec((place, 0..8_u8, fields), 0..10).prop_map(move |entries| {
        let mut location = match order {
            GroupOrder::Ascending => Location::new(0, 0),
            GroupOrder::Descending => Location::new(1 << 61, 0),
        };
        let entry = |((step, groups, objects), kind, (subgroup, priority, properties, payload))| {
            location = place_after(location, order, step, groups >> 6, objects >> 6);
            match kind {
                0 => return (FetchEntry::NonExistent(location), Bytes::new()),
                1 => return (FetchEntry::Unknown(location), Bytes::new()),
                _ => {}
            }
            let payload_len = Bytes::len(&payload) as u64;
            let head = FetchHead { location, subgroup, priority, properties, payload_len };
            (FetchEntry::Object(head), payload)
        };
        entries.into_iter().map(entry).collect()
    })
}

fn place_after(last: Location, order: GroupOrder, step: u64, groups: u64, objects: u64) -> Location {
    match (step, order) {
        (0, _) => Location::new(last.group, last.object + 1),
        (1, _) => Location::new(last.group, last.object + 1 + (objects >> 3)),
        (_, GroupOrder::Ascending) => Location::new(last.group + 1 + (groups >> 1), objects),
        (_, GroupOrder::Descending) => Location::new(last.group - 1 - (groups >> 1), objects),
    }
}

pub(crate) fn object_datagram() -> impl Strategy<Value = ObjectDatagram> {
    let names = (number(), number(), prop_oneof![Just(0), number()], option::of(any::<u8>()));
    let status = prop_oneof![
        Just(ObjectStatus::Normal),
        Just(ObjectStatus::EndOfGroup),
        Just(ObjectStatus::EndOfTrack)
    ];
    (names, any::<bool>(), object_properties(), option::of(status), bytes(200)).prop_map(
        |((alias, group, object, priority), end_of_group, properties, status, payload)| ObjectDatagram {
            alias,
            group,
            object,
            priority,
            end_of_group: end_of_group && status.is_none(),
            properties: match status {
                None | Some(ObjectStatus::Normal) => properties,
                _ => Properties::default(),
            },
            status,
            payload: if status.is_none() { payload } else { Bytes::new() },
        },
    )
}

/// Where bytes are cut on their way: lengths to be used round robin.
pub(crate) fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![1..4_usize, 1..200_usize], 1..10)
}

/// The pieces of `bytes` under these cuts.
pub(crate) fn pieces<'a>(mut bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut cuts = cuts.iter().cycle();
    std::iter::from_fn(move || {
        let (piece, rest) = bytes.split_at(bytes.len().min(*cuts.next()?));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}
