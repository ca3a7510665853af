//! A peer made of any bytes on any streams ends the session with an error or not at all, and never makes it
//! keep more than its limits allow.
#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::session::{
    Carrier, Config, Event, Input, Limits, Output, Role, Session, SetupOptions, StreamKey,
};
use common::session::{SubscribeOptions, TrackInfo};
use common::wire::Version;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = run(bytes);
});

/// Each step is a byte that says what happens, one that says on which stream, one of length, and the bytes.
fn run(mut bytes: &[u8]) -> Option<()> {
    let mut now = Instant::now();
    let (&first, rest) = bytes.split_first()?;
    bytes = rest;
    let config = Config {
        role: if first & 1 == 0 { Role::Client } else { Role::Server },
        carrier: Carrier::Quic,
        version: Version::Draft18,
        setup: SetupOptions::default(),
        limits: Limits::default(),
    };
    let mut session = Session::new(now, config).ok()?;
    let mut keys = vec![session.accept_stream()];
    if first & 2 != 0 {
        // An empty SETUP: most of what there is comes after it.
        session.handle(now, Input::ControlBytes(Bytes::from_static(&[0xaf, 0x00, 0, 0]))).ok()?;
    }
    while let [what, which, len, rest @ ..] = bytes {
        let (piece, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        bytes = rest;
        let key = keys[usize::from(*which) % keys.len()];
        let piece = Bytes::copy_from_slice(piece);
        let input = match what % 9 {
            0..=3 => Input::StreamBytes { key, bytes: piece, fin: what & 0x80 != 0 },
            4 => Input::ControlBytes(piece),
            5 => Input::StreamReset { key, code: 1 },
            6 => Input::StreamStopped { key, code: 1 },
            7 => {
                now += Duration::from_secs(u64::from(*len));
                Input::Timeout
            }
            _ => {
                keys.push(session.accept_stream());
                continue;
            }
        };
        session.handle(now, input).ok()?;
        settle(&mut session, now, &mut keys);
    }
    Some(())
}

/// An application that takes whatever it is offered, and asks for something now and then.
fn settle(session: &mut Session, now: Instant, keys: &mut Vec<StreamKey>) {
    while let Some(output) = session.poll() {
        match output {
            Output::Open { key } => keys.push(key),
            Output::Event(Event::Ready(_)) => {
                let everything = Default::default();
                let _ = session.subscribe_namespace(now, everything, &[]);
            }
            Output::Event(Event::Subscribe { request, name, .. }) => {
                let _ = session.accept_subscribe(now, request, keys.len() as u64, &TrackInfo::default());
                let _ = session.subscribe(now, name, &SubscribeOptions::default(), &[]);
            }
            Output::Event(Event::Publish { request, .. }) => {
                let _ = session.accept_publish(now, request, &SubscribeOptions::default());
            }
            Output::Event(Event::Fetch { request, offer, .. }) => {
                let _ = session.accept_fetch(request, offer.last, false, Default::default());
            }
            Output::Event(Event::SubscribeUpdated { request, .. }) => {
                let _ = session.accept_update(now, request, None, None);
            }
            Output::Event(
                Event::PublishNamespace { request, .. }
                | Event::SubscribeNamespace { request, .. }
                | Event::SubscribeTracks { request, .. },
            ) => {
                let _ = session.accept_request(request);
            }
            _ => {}
        }
    }
}
