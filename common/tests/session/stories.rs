//! What two ends that keep to the rules do with each other.

use std::time::Duration;

use common::model::{Location, Namespace};
use common::session::{
    CommandError, Credential, Event, FetchRequest, Limits, PRIORITY_DEFAULT, Publication, RequestKey, Role,
    Span, SubscribeOptions, SubscribeUpdate, TrackInfo,
};
use common::wire::code::{DoneCode, RequestCode};

use crate::pair::{Pair, config, namespace, track};

/// A viewer's SUBSCRIBE, as both ends call it.
fn subscribed(pair: &mut Pair, alias: u64, largest: Option<Location>) -> (RequestKey, RequestKey) {
    let now = pair.now;
    let ours = pair.client.session.subscribe(now, track("video"), &SubscribeOptions::default(), &[]).unwrap();
    pair.drive();
    let Event::Subscribe { request: theirs, name, .. } = pair.server.event() else { panic!("no SUBSCRIBE") };
    assert_eq!(name, track("video"));
    let info = TrackInfo { largest, ..TrackInfo::default() };
    pair.server.session.accept_subscribe(now, theirs, alias, &info).unwrap();
    pair.drive();
    assert_eq!(pair.client.event(), Event::Subscribed { request: ours, alias, track: info });
    (ours, theirs)
}

#[test]
fn the_two_introduce_themselves() {
    let mut client = config(Role::Client);
    client.setup.credentials = vec![Credential { kind: 0, value: "jwt".into() }];
    let mut pair = Pair::silent(client, config(Role::Server));
    pair.drive();
    let Event::Ready(setup) = pair.server.event() else { panic!("not ready") };
    assert_eq!(setup.path.as_deref(), Some("/event"));
    assert_eq!(setup.credentials[0].value, "jwt");
    let Event::Ready(setup) = pair.client.event() else { panic!("not ready") };
    assert_eq!(setup.path, None);
}

#[test]
fn a_viewer_subscribes_and_leaves() {
    let mut pair = Pair::new();
    let (ours, theirs) = subscribed(&mut pair, 5, Some(Location::new(3, 1)));
    assert_eq!(pair.client.session.incoming_alias(5), Some(ours));
    pair.client.session.unsubscribe(pair.now, ours);
    pair.drive();
    assert_eq!(pair.server.event(), Event::Unsubscribed { request: theirs });
    assert_eq!(pair.client.session.incoming_alias(5), None);
    assert!(pair.client.session.is_retired_alias(5));
}

#[test]
fn the_same_track_may_be_asked_for_again_once_it_was_left() {
    let mut pair = Pair::new();
    let (ours, _) = subscribed(&mut pair, 5, None);
    let again = pair.client.session.subscribe(pair.now, track("video"), &SubscribeOptions::default(), &[]);
    assert_eq!(again, Err(CommandError::DuplicateSubscription(track("video"))));
    pair.client.session.unsubscribe(pair.now, ours);
    pair.drive();
    pair.server.event();
    let (ours, _) = subscribed(&mut pair, 5, None);
    assert_eq!(pair.client.session.incoming_alias(5), Some(ours));
}

#[test]
fn a_refusal_says_why_and_when_to_come_back() {
    let mut pair = Pair::new();
    let now = pair.now;
    let ours = pair.client.session.subscribe(now, track("video"), &SubscribeOptions::default(), &[]).unwrap();
    pair.drive();
    let Event::Subscribe { request, .. } = pair.server.event() else { panic!("no SUBSCRIBE") };
    let retry = Some(Duration::from_millis(1500));
    let code = RequestCode::EXCESSIVE_LOAD;
    pair.server.session.reject(now, request, code, "full", retry).unwrap();
    pair.drive();
    let reason = "full".to_owned();
    assert_eq!(pair.client.event(), Event::Rejected { request: ours, code, reason, retry, redirect: None });
    let late = pair.server.session.reject(now, request, code, "full", None);
    assert_eq!(late, Err(CommandError::Over(request)));
}

#[test]
fn a_track_ends_and_late_objects_still_have_a_name() {
    let mut pair = Pair::new();
    let (ours, theirs) = subscribed(&mut pair, 9, None);
    let (now, code) = (pair.now, DoneCode::TRACK_ENDED);
    pair.server.session.publish_done(now, theirs, code, Some(12), "over").unwrap();
    pair.drive();
    let reason = "over".to_owned();
    assert_eq!(pair.client.event(), Event::Done { request: ours, code, streams: Some(12), reason });
    assert_eq!(pair.client.session.incoming_alias(9), Some(ours));
    pair.pass(Limits::default().linger);
    assert_eq!(pair.client.event(), Event::Closed { request: ours, code: None });
    assert_eq!(pair.client.session.incoming_alias(9), None);
    assert_eq!(pair.client.session.poll_timeout(), None);
    assert_eq!(pair.server.session.poll_timeout(), None);
}

#[test]
fn a_viewer_changes_its_mind() {
    let mut pair = Pair::new();
    let (ours, theirs) = subscribed(&mut pair, 1, None);
    let update = SubscribeUpdate { priority: Some(7), forward: Some(false), ..SubscribeUpdate::default() };
    pair.client.session.update(pair.now, ours, &update).unwrap();
    pair.drive();
    let Event::SubscribeUpdated { request, options, .. } = pair.server.event() else { panic!("no update") };
    assert_eq!((request, options.priority, options.forward), (theirs, 7, false));
    let largest = Some(Location::new(4, 4));
    pair.server.session.accept_update(pair.now, theirs, largest, None).unwrap();
    pair.drive();
    assert_eq!(pair.client.event(), Event::Updated { request: ours, largest, expires: None });
}

#[test]
fn a_host_publishes() {
    let mut pair = Pair::new();
    let publication = Publication {
        name: track("video"),
        alias: 3,
        track: TrackInfo::default(),
        forward: true,
        credentials: vec![],
    };
    let ours = pair.client.session.publish(pair.now, publication.clone()).unwrap();
    pair.drive();
    let Event::Publish { request: theirs, alias, .. } = pair.server.event() else { panic!("no PUBLISH") };
    // Objects may overtake the answer.
    assert_eq!(pair.server.session.incoming_alias(alias), Some(theirs));
    pair.server.session.accept_publish(pair.now, theirs, &SubscribeOptions::default()).unwrap();
    pair.drive();
    assert!(matches!(pair.client.event(), Event::PublishAccepted { request, .. } if request == ours));
    let again = pair.client.session.publish(pair.now, publication);
    assert_eq!(again, Err(CommandError::DuplicateSubscription(track("video"))));
    // The host goes away without a word.
    pair.client.session.cancel(pair.now, ours);
    pair.drive();
    assert!(matches!(pair.server.event(), Event::Closed { request, .. } if request == theirs));
}

#[test]
fn namespaces_are_found_and_lost() {
    let mut pair = Pair::new();
    let now = pair.now;
    let ours = pair.client.session.subscribe_namespace(now, Namespace::default(), &[]).unwrap();
    pair.drive();
    let Event::SubscribeNamespace { request: theirs, .. } = pair.server.event() else { panic!("no watch") };
    pair.server.session.accept_request(theirs).unwrap();
    for id in ["a", "b"] {
        pair.server.session.namespace(theirs, &namespace(id)).unwrap();
        pair.server.session.namespace(theirs, &namespace(id)).unwrap();
    }
    pair.server.session.namespace_done(theirs, &namespace("a")).unwrap();
    pair.drive();
    let (a, b) = (namespace("a"), namespace("b"));
    assert_eq!(pair.client.event(), Event::Accepted { request: ours });
    assert_eq!(pair.client.event(), Event::NamespaceAnnounced { request: ours, namespace: a.clone() });
    assert_eq!(pair.client.event(), Event::NamespaceAnnounced { request: ours, namespace: b.clone() });
    assert_eq!(pair.client.event(), Event::NamespaceWithdrawn { request: ours, namespace: a });
    // Who stops answering withdraws what it has announced.
    pair.server.session.cancel(now, theirs);
    pair.drive();
    assert_eq!(pair.client.event(), Event::NamespaceWithdrawn { request: ours, namespace: b });
    assert!(matches!(pair.client.event(), Event::Closed { .. }));
}

#[test]
fn overlapping_prefixes_are_refused_and_the_first_goes_on() {
    let mut pair = Pair::new();
    let now = pair.now;
    pair.client.session.subscribe_namespace(now, Namespace::default(), &[]).unwrap();
    let second = pair.client.session.subscribe_namespace(now, namespace("a"), &[]).unwrap();
    let other_kind = pair.client.session.subscribe_tracks(now, namespace("a"), true, &[]).unwrap();
    pair.drive();
    assert!(matches!(pair.server.event(), Event::SubscribeNamespace { .. }));
    let Event::SubscribeTracks { request, .. } = pair.server.event() else { panic!("no SUBSCRIBE_TRACKS") };
    pair.server.session.accept_request(request).unwrap();
    pair.drive();
    let Event::Rejected { request, code, .. } = pair.client.event() else { panic!("not refused") };
    assert_eq!((request, code), (second, RequestCode::PREFIX_OVERLAP));
    assert_eq!(pair.client.event(), Event::Accepted { request: other_kind });
}

#[test]
fn a_fetch_joins_a_subscription_that_is_not_answered_yet() {
    let mut pair = Pair::new();
    let now = pair.now;
    let subscription =
        pair.client.session.subscribe(now, track("video"), &SubscribeOptions::default(), &[]).unwrap();
    let fetch = FetchRequest {
        span: Span::Before { subscription, groups: 2 },
        priority: PRIORITY_DEFAULT,
        order: Default::default(),
        fill_timeout: None,
        credentials: vec![],
    };
    let ours = pair.client.session.fetch(now, fetch).unwrap();
    pair.drive();
    let Event::Subscribe { request, .. } = pair.server.event() else { panic!("no SUBSCRIBE") };
    assert_eq!(pair.server.events.len(), 0, "the FETCH waits for what it joins");
    let largest = Some(Location::new(10, 3));
    let info = TrackInfo { largest, ..TrackInfo::default() };
    pair.server.session.accept_subscribe(now, request, 1, &info).unwrap();
    let Event::Fetch { request: theirs, offer, .. } = pair.server.event() else { panic!("no FETCH") };
    assert_eq!((offer.start, offer.last), (Location::new(8, 0), Location::new(10, 3)));
    assert_eq!(pair.client.session.fetch_of(offer.request_id), Some(ours));
    pair.server.session.accept_fetch(theirs, offer.last, false, Default::default()).unwrap();
    pair.server.session.fetch_done(now, theirs).unwrap();
    pair.drive();
    assert!(matches!(pair.client.event(), Event::Subscribed { .. }));
    let Event::FetchAccepted { last, .. } = pair.client.event() else { panic!("no FETCH_OK") };
    assert_eq!(last, Location::new(10, 3));
    pair.client.session.fetch_done(now, ours).unwrap();
    assert_eq!(pair.client.session.fetch_of(offer.request_id), None);
}

#[test]
fn a_track_says_what_it_is_like() {
    let mut pair = Pair::new();
    let ours = pair.client.session.track_status(pair.now, track("video"), &[]).unwrap();
    pair.drive();
    let Event::TrackStatus { request, .. } = pair.server.event() else { panic!("no TRACK_STATUS") };
    let info = TrackInfo { largest: Some(Location::new(1, 2)), ..TrackInfo::default() };
    pair.server.session.accept_track_status(pair.now, request, &info).unwrap();
    pair.drive();
    assert_eq!(pair.client.event(), Event::StatusKnown { request: ours, track: info });
}

#[test]
fn who_leaves_takes_no_new_requests_and_waits_for_the_old_ones() {
    let mut pair = Pair::new();
    let now = pair.now;
    let (ours, _) = subscribed(&mut pair, 1, None);
    pair.server.session.go_away(now, "https://elsewhere", Some(Duration::from_secs(5))).unwrap();
    // It has not heard of it.
    let late = pair.client.session.subscribe(now, track("audio"), &SubscribeOptions::default(), &[]).unwrap();
    pair.drive();
    let Event::GoAway { uri, request_id, .. } = pair.client.event() else { panic!("no GOAWAY") };
    assert_eq!((uri.as_str(), request_id), ("https://elsewhere", 2));
    let Event::Rejected { request, code, .. } = pair.client.event() else { panic!("not refused") };
    assert_eq!((request, code), (late, RequestCode::GOING_AWAY));
    let later = pair.client.session.subscribe(now, track("audio"), &SubscribeOptions::default(), &[]);
    assert_eq!(later, Err(CommandError::PeerLeaves));
    pair.client.session.unsubscribe(now, ours);
    pair.drive();
    assert!(matches!(pair.server.event(), Event::Unsubscribed { .. }));
    assert_eq!(pair.server.event(), Event::Drained);
}

#[test]
fn names_of_the_session_are_not_the_applications() {
    let mut pair = Pair::new();
    let reserved = namespace(".session");
    let refused = pair.client.session.subscribe_namespace(pair.now, reserved, &[]);
    assert_eq!(refused, Err(CommandError::ReservedNamespace));
}
