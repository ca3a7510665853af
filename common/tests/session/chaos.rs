//! Two ends that do anything at any time, over streams that break at any time; and peers made of noise.

use std::time::Duration;

use bytes::Bytes;
use common::model::{Location, Namespace};
use common::session::{
    Event, FetchRequest, Input, Publication, RequestKey, Role, Span, SubscribeOptions, SubscribeUpdate,
    TrackInfo,
};
use common::wire::code::{DoneCode, RequestCode};

use crate::pair::{Alone, Dice, End, Pair, namespace, track};

/// Worlds of each test. Each prints its seed, and `SEED=n` runs only that one.
const WORLDS: u64 = 200;

fn seeds() -> impl Iterator<Item = u64> {
    let only = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    only.map_or(0..WORLDS, |seed| seed..seed + 1).inspect(|seed| println!("SEED={seed}"))
}

/// Whatever two ends that use their sessions as documented do, none of them finds fault with the other; and
/// when everything is cancelled, nothing is left.
#[test]
fn two_ends_that_keep_to_the_rules_never_quarrel() {
    const TRACKS: [&str; 4] = ["a", "b", "c", "d"];
    for seed in seeds() {
        let (mut dice, mut pair) = (Dice(seed), Pair::new());
        let mut requests: [Vec<RequestKey>; 2] = [vec![], vec![]];
        let mut alias = 0;
        for _ in 0..300 {
            let side = dice.roll(2);
            let now = pair.now;
            let end = if side == 0 { &mut pair.client } else { &mut pair.server };
            let some = requests[side].get(dice.roll(requests[side].len())).copied();
            alias += 1;
            something(end, now, some, alias, TRACKS[dice.roll(4)], &mut dice, &mut requests[side]);
            if dice.roll(3) > 0 {
                pair.drive();
            }
        }
        pair.drive();
        for (side, end) in [&mut pair.client, &mut pair.server].into_iter().enumerate() {
            requests[side].drain(..).for_each(|request| end.session.cancel(pair.now, request));
        }
        pair.drive();
        pair.pass(Duration::from_secs(11));
        pair.pass(Duration::from_secs(11));
        assert_eq!((pair.client.session.poll_timeout(), pair.server.session.poll_timeout()), (None, None));
    }
}

/// One thing that an application may do. What the session refuses is refused without harm.
fn something(
    end: &mut End,
    now: std::time::Instant,
    some: Option<RequestKey>,
    alias: u64,
    name: &'static str,
    dice: &mut Dice,
    requests: &mut Vec<RequestKey>,
) {
    let options = SubscribeOptions::default();
    let largest = Some(Location::new(5, 5));
    let info = TrackInfo { largest, ..TrackInfo::default() };
    let session = &mut end.session;
    let new = match dice.roll(16) {
        0 | 1 => session.subscribe(now, track(name), &options, &[]).ok(),
        2 => {
            let track_info = info.clone();
            let publication = Publication {
                name: track(name),
                alias,
                track: track_info,
                forward: true,
                credentials: vec![],
            };
            session.publish(now, publication).ok()
        }
        3 => session
            .subscribe_namespace(now, [Namespace::default(), namespace(name)][dice.roll(2)].clone(), &[])
            .ok(),
        4 => session.publish_namespace(now, namespace(name), &[]).ok(),
        5 => session.track_status(now, track(name), &[]).ok(),
        6 => some.and_then(|subscription| {
            let span = match dice.roll(3) {
                0 => Span::Before { subscription, groups: 2 },
                1 => Span::Since { subscription, group: 4 },
                _ => Span::Track { name: track(name), start: Location::default(), last: Location::new(3, 3) },
            };
            let (priority, order) = (3, Default::default());
            session
                .fetch(now, FetchRequest { span, priority, order, fill_timeout: None, credentials: vec![] })
                .ok()
        }),
        _ => None,
    };
    requests.extend(new);
    if let Some(request) = some {
        match dice.roll(12) {
            0 => session.cancel(now, request),
            1 => drop(session.publish_done(now, request, DoneCode::TRACK_ENDED, Some(1), "over")),
            2 => drop(session.fetch_done(now, request)),
            3 => drop(session.update(now, request, &SubscribeUpdate::default())),
            4 => drop(session.namespace(request, &namespace(name))),
            5 => drop(session.namespace_done(request, &namespace(name))),
            _ => {}
        }
    }
    while let Some(event) = end.events.pop_front() {
        let session = &mut end.session;
        let refuse = dice.roll(4) == 0;
        match event {
            Event::Subscribe { request, .. }
            | Event::Publish { request, .. }
            | Event::Fetch { request, .. }
            | Event::TrackStatus { request, .. }
            | Event::PublishNamespace { request, .. }
            | Event::SubscribeNamespace { request, .. }
                if refuse =>
            {
                drop(session.reject(now, request, RequestCode::UNINTERESTED, "no", None));
            }
            Event::Subscribe { request, .. } => {
                requests.push(request);
                drop(session.accept_subscribe(now, request, alias, &info));
            }
            Event::Publish { request, .. } => {
                requests.push(request);
                drop(session.accept_publish(now, request, &options));
            }
            Event::Fetch { request, offer, .. } => {
                requests.push(request);
                drop(session.accept_fetch(request, offer.last, false, Default::default()));
            }
            Event::TrackStatus { request, .. } => drop(session.accept_track_status(now, request, &info)),
            Event::PublishNamespace { request, .. } | Event::SubscribeNamespace { request, .. } => {
                requests.push(request);
                drop(session.accept_request(request));
            }
            Event::SubscribeUpdated { request, .. } if refuse => {
                drop(session.reject_update(now, request, RequestCode::UNINTERESTED, "no"));
                drop(session.publish_done(now, request, DoneCode::UPDATE_FAILED, None, "no"));
            }
            Event::SubscribeUpdated { request, .. } | Event::PublishUpdated { request, .. } => {
                drop(session.accept_update(now, request, largest, None));
            }
            _ => {}
        }
    }
}

#[test]
fn noise_ends_a_session_or_says_nothing_and_never_panics() {
    for seed in seeds() {
        let (mut dice, mut alone) = (Dice(seed), Alone::new([Role::Client, Role::Server][seed as usize % 2]));
        let mut keys = vec![alone.session.accept_stream()];
        for _ in 0..100 {
            let noise: Vec<u8> =
                (0..dice.roll(40)).map(|_| [dice.roll(256), dice.roll(6)][dice.roll(2)] as u8).collect();
            let (key, bytes) = (keys[dice.roll(keys.len())], Bytes::from(noise));
            let input = match dice.roll(8) {
                0 => Input::StreamReset { key, code: dice.roll(9) as u64 },
                1 => Input::StreamStopped { key, code: dice.roll(9) as u64 },
                2 => Input::Timeout,
                3 if seed % 5 == 0 => Input::ControlBytes(bytes),
                _ => Input::StreamBytes { key, bytes, fin: dice.roll(9) == 0 },
            };
            if alone.session.handle(alone.now, input).is_err() {
                break;
            }
            alone.outputs();
            keys.push(alone.session.accept_stream());
        }
    }
}
