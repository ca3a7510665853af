//! What does one control message, and what does one object head cost?
//!
//! A node reads a head for every object that comes in, and writes one for every stream that an object goes
//! out on where it is not shared. SUBSCRIBE and SUBSCRIBE_OK are what a viewer costs when it joins. Payloads
//! are no part of it: the codec does not touch them. Compare with about 6 us for encrypting and sending an
//! object of 10 kB.

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::model::{
    FullTrackName, Location, Namespace, ObjectStatus, PROPERTY_CAPTURE_TIME, PROPERTY_PAYLOAD_HASH,
};
use common::wire::data::{ObjectHead, encode_object_head};
use common::wire::message::{Decoder, Filter, Message, Subscribe, SubscribeOk};
use common::wire::parameter::Parameters;
use common::wire::properties::{Properties, Value};
use common::wire::token::Token;
use common::wire::{DecodeError, Version};
use criterion::{Criterion, criterion_group, criterion_main};

/// A viewer's token: an EdDSA JWT with event, seat and expiry.
const TOKEN_BYTES: usize = 300;

/// An object of the top rung: 10 kB at 30 a second are 2.4 Mb/s.
const PAYLOAD_BYTES: u64 = 10_000;

criterion_group!(name = benches; config = short(); targets = messages, heads);
criterion_main!(benches);

fn short() -> Criterion {
    Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500))
}

fn messages(criterion: &mut Criterion) {
    for (name, message) in [("subscribe", subscribe()), ("subscribe ok", subscribe_ok())] {
        let message = message.expect("names and properties within their limits");
        let bytes = message.encode(Version::Draft18).expect("a small message");
        criterion.bench_function(&format!("{name}/encode"), |bencher| {
            bencher.iter(|| black_box(&message).encode(Version::Draft18));
        });
        criterion.bench_function(&format!("{name}/decode"), |bencher| {
            let mut decoder = Decoder::default();
            bencher.iter(|| {
                decoder.push(black_box(&bytes));
                decoder.next(Version::Draft18)
            });
        });
    }
}

fn heads(criterion: &mut Criterion) {
    let bare = Properties::default();
    let probed = probed().expect("properties within their limits");
    for (name, properties) in [("object head", &bare), ("probed object head", &probed)] {
        let mut bytes = BytesMut::new();
        encode(properties, &mut bytes);
        criterion.bench_function(&format!("{name}/encode"), |bencher| {
            let mut out = BytesMut::with_capacity(bytes.len());
            bencher.iter(|| {
                out.clear();
                encode(black_box(properties), &mut out);
            });
        });
        criterion.bench_function(&format!("{name}/decode"), |bencher| {
            bencher.iter(|| {
                ObjectHead::decode(black_box(&bytes), !properties.is_empty(), Some(6), PAYLOAD_BYTES)
            });
        });
    }
}

fn encode(properties: &Properties, out: &mut BytesMut) {
    let (bytes, status) = (properties.bytes(), ObjectStatus::Normal);
    encode_object_head(Some(6), 7, bytes, !properties.is_empty(), PAYLOAD_BYTES, status, out);
}

fn subscribe() -> Result<Message, DecodeError> {
    let track = FullTrackName::new(Namespace::event("town-hall-2026")?, "video/720p")?;
    let parameters = Parameters {
        tokens: vec![Token::UseValue { kind: 0, value: Bytes::from_static(&[b'x'; TOKEN_BYTES]) }],
        filter: Some(Filter::NextGroup),
        priority: Some(64),
        ..Parameters::default()
    };
    Ok(Message::Subscribe(Subscribe { request_id: 4, track, parameters }))
}

fn subscribe_ok() -> Result<Message, DecodeError> {
    let parameters = Parameters { largest: Some(Location::new(1_800, 59)), ..Parameters::default() };
    let properties = Properties::new([(0x0e, Value::Number(64)), (0x22, Value::Number(2))])?;
    Ok(Message::SubscribeOk(SubscribeOk { alias: 3, parameters, properties }))
}

/// What the origin adds to an object when it is asked to probe.
fn probed() -> Result<Properties, DecodeError> {
    Properties::new([
        (PROPERTY_CAPTURE_TIME, Value::Number(1_795_000_000_000_000)),
        (PROPERTY_PAYLOAD_HASH, Value::Bytes(Bytes::from_static(&[7; 16]))),
    ])
}
