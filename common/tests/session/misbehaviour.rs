//! What a peer that does not keep to the rules is told, and what it costs.

use std::time::Duration;

use bytes::Bytes;
use common::model::{FullTrackName, Location, Namespace};
use common::session::{Event, Input, Limits, Output, Role, SessionError, SubscribeOptions, TrackInfo};
use common::wire::code::{DoneCode, RequestCode, SessionCode};
use common::wire::message::{
    GoAway, Message, NamespaceRequest, Publish, PublishDone, RequestOk, RequestUpdate, Setup, Subscribe,
    SubscribeOk,
};
use common::wire::parameter::Parameters;
use common::wire::token::Token;

use crate::pair::{Alone, V, config, namespace, track};

fn subscribe(request_id: u64, name: FullTrackName) -> Message {
    Message::Subscribe(Subscribe { request_id, track: name, parameters: Parameters::default() })
}

fn publish(request_id: u64, name: &'static str, alias: u64) -> Message {
    let (track, parameters, properties) = (track(name), Parameters::default(), Default::default());
    Message::Publish(Publish { request_id, track, alias, parameters, properties })
}

fn code<T: std::fmt::Debug>(outcome: Result<T, SessionError>) -> SessionCode {
    outcome.expect_err("the peer misbehaved").code()
}

#[test]
fn request_ids_are_of_the_peers_parity_and_used_once() {
    let mut alone = Alone::new(Role::Server);
    alone.request(&subscribe(4, track("a"))).unwrap();
    alone.request(&subscribe(0, track("b"))).unwrap();
    assert_eq!(code(alone.request(&subscribe(4, track("c")))), SessionCode::INVALID_REQUEST_ID);
    let mut alone = Alone::new(Role::Server);
    assert_eq!(code(alone.request(&subscribe(1, track("a")))), SessionCode::INVALID_REQUEST_ID);
}

#[test]
fn a_request_stream_begins_with_a_request() {
    let done = PublishDone { code: DoneCode::TRACK_ENDED, stream_count: 0, reason: String::new() };
    for message in [Message::PublishDone(done), Message::RequestOk(RequestOk::default())] {
        let mut alone = Alone::new(Role::Server);
        assert_eq!(code(alone.request(&message)), SessionCode::PROTOCOL_VIOLATION);
    }
}

#[test]
fn a_second_request_on_a_stream_is_one_too_many() {
    let mut alone = Alone::new(Role::Server);
    let key = alone.request(&subscribe(0, track("a"))).unwrap();
    assert_eq!(code(alone.say(key, &subscribe(2, track("b")))), SessionCode::PROTOCOL_VIOLATION);
}

#[test]
fn a_stream_that_ends_inside_a_message_ends_the_session() {
    let mut alone = Alone::new(Role::Server);
    let key = alone.session.accept_stream();
    let bytes = subscribe(0, track("a")).encode(V).unwrap();
    let half = bytes.slice(..bytes.len() / 2);
    assert_eq!(code(alone.bytes(key, half, true)), SessionCode::PROTOCOL_VIOLATION);
}

#[test]
fn the_control_stream_says_setup_and_goaway_once_and_stays() {
    let mut alone = Alone::new(Role::Server);
    assert_eq!(code(alone.control(&Message::Setup(Setup::default()))), SessionCode::PROTOCOL_VIOLATION);
    let mut alone = Alone::new(Role::Client);
    assert_eq!(code(alone.control(&subscribe(1, track("a")))), SessionCode::PROTOCOL_VIOLATION);
    let mut alone = Alone::new(Role::Client);
    let goaway = Message::GoAway(GoAway { request_id: Some(0), ..GoAway::default() });
    alone.control(&goaway).unwrap();
    assert_eq!(code(alone.control(&goaway)), SessionCode::PROTOCOL_VIOLATION);
    let closed = alone.session.handle(alone.now, Input::ControlClosed);
    assert_eq!(code(closed), SessionCode::PROTOCOL_VIOLATION);
}

#[test]
fn a_client_does_not_send_its_server_elsewhere() {
    let mut alone = Alone::new(Role::Server);
    let goaway = GoAway { uri: "moqt://evil".into(), timeout_ms: 0, request_id: Some(1) };
    assert_eq!(code(alone.control(&Message::GoAway(goaway))), SessionCode::PROTOCOL_VIOLATION);
}

#[test]
fn paths_come_from_clients_over_quic_alone_and_are_paths() {
    let path = |path: &str| Message::Setup(Setup { path: Some(path.into()), ..Setup::default() });
    let mut client = Alone::silent(config(Role::Client));
    assert_eq!(code(client.control(&path("/event"))), SessionCode::INVALID_PATH);
    let mut server = Alone::silent(config(Role::Server));
    assert_eq!(code(server.control(&path("no path"))), SessionCode::MALFORMED_PATH);
}

#[test]
fn an_alias_stands_for_one_track_at_a_time() {
    let mut alone = Alone::new(Role::Server);
    alone.request(&publish(0, "video", 7)).unwrap();
    assert_eq!(code(alone.request(&publish(2, "audio", 7))), SessionCode::DUPLICATE_TRACK_ALIAS);
}

#[test]
fn one_answer_for_one_request() {
    let mut alone = Alone::new(Role::Client);
    alone.session.subscribe(alone.now, track("a"), &SubscribeOptions::default(), &[]).unwrap();
    let Some(Output::Open { key }) = alone.session.poll() else { panic!("no stream") };
    let ok = Message::SubscribeOk(SubscribeOk {
        alias: 1,
        parameters: Parameters::default(),
        properties: Default::default(),
    });
    alone.say(key, &ok).unwrap();
    assert_eq!(code(alone.say(key, &ok)), SessionCode::PROTOCOL_VIOLATION);
}

#[test]
fn a_namespace_is_not_withdrawn_before_it_was_announced() {
    let mut alone = Alone::new(Role::Client);
    alone.session.subscribe_namespace(alone.now, Namespace::default(), &[]).unwrap();
    let Some(Output::Open { key }) = alone.session.poll() else { panic!("no stream") };
    alone.say(key, &Message::RequestOk(RequestOk::default())).unwrap();
    let done = Message::NamespaceDone(namespace("a"));
    assert_eq!(code(alone.say(key, &done)), SessionCode::PROTOCOL_VIOLATION);
}

#[test]
fn token_aliases_have_to_be_registered_and_fit() {
    let with = |tokens| {
        let parameters = Parameters { tokens, ..Parameters::default() };
        Message::Subscribe(Subscribe { request_id: 0, track: track("a"), parameters })
    };
    let mut alone = Alone::new(Role::Server);
    let unknown = alone.request(&with(vec![Token::UseAlias { alias: 1 }]));
    assert_eq!(code(unknown), SessionCode::UNKNOWN_AUTH_TOKEN_ALIAS);
    let mut alone = Alone::new(Role::Server);
    let value = Bytes::from(vec![b'x'; Limits::default().token_cache_bytes_max / 5]);
    let five = (0..5).map(|alias| Token::Register { alias, kind: alias, value: value.clone() });
    let large = alone.request(&with(five.collect()));
    assert_eq!(code(large), SessionCode::AUTH_TOKEN_CACHE_OVERFLOW);
}

#[test]
fn what_the_application_need_not_know_is_answered_for_it() {
    let mut alone = Alone::new(Role::Server);
    alone.request(&subscribe(0, track("a"))).unwrap();
    alone.outputs();
    let reserved = FullTrackName::new(namespace(".session"), "x").unwrap();
    for (message, expected) in [
        (subscribe(2, track("a")), RequestCode::DUPLICATE_SUBSCRIPTION),
        (subscribe(4, reserved), RequestCode::DOES_NOT_EXIST),
    ] {
        let key = alone.request(&message).unwrap();
        let (messages, events) = alone.heard(key);
        assert!(matches!(&messages[..], [Message::RequestError(error)] if error.code == expected));
        assert_eq!(events, vec![]);
    }
}

#[test]
fn requests_over_the_limit_are_refused_and_the_others_go_on() {
    let mut alone = Alone::new(Role::Server);
    let max = Limits::default().peer_requests_max as u64;
    let watch = |at: u64| {
        let namespace = namespace(&format!("event {at}"));
        let parameters = Parameters::default();
        Message::PublishNamespace(NamespaceRequest { request_id: at * 2, namespace, parameters })
    };
    for at in 0..max {
        alone.request(&watch(at)).unwrap();
    }
    alone.outputs();
    let key = alone.request(&watch(max)).unwrap();
    let (messages, _) = alone.heard(key);
    let [Message::RequestError(error)] = &messages[..] else { panic!("not refused") };
    assert_eq!(error.code, RequestCode::EXCESSIVE_LOAD);
    // Streams without a word are not kept for ever either.
    for _ in 0..1_000 {
        alone.session.accept_stream();
    }
    assert!(alone.outputs().len() > 1_000, "most were reset");
}

#[test]
fn unread_bytes_have_a_bound() {
    let mut alone = Alone::silent(config(Role::Server));
    let key = alone.session.accept_stream();
    alone.bytes(key, Bytes::from(vec![0; Limits::default().buffered_bytes_max + 1]), false).unwrap();
    assert!(alone.outputs().iter().any(|output| matches!(output, Output::Stop { .. })));
}

#[test]
fn announced_namespaces_have_a_bound() {
    let mut alone = Alone::new(Role::Client);
    alone.session.subscribe_namespace(alone.now, Namespace::default(), &[]).unwrap();
    let Some(Output::Open { key }) = alone.session.poll() else { panic!("no stream") };
    alone.say(key, &Message::RequestOk(RequestOk::default())).unwrap();
    let (mut announced, mut withdrawn, mut closed) = (0, 0, 0);
    for at in 0..10_000 {
        alone.say(key, &Message::Namespace(namespace(&format!("a rather long event id {at}")))).unwrap();
        for output in alone.outputs() {
            match output {
                Output::Event(Event::NamespaceAnnounced { .. }) => announced += 1,
                Output::Event(Event::NamespaceWithdrawn { .. }) => withdrawn += 1,
                Output::Event(Event::Closed { .. }) => closed += 1,
                _ => {}
            }
        }
    }
    assert_eq!((announced, closed), (withdrawn, 1));
    assert!(announced > 1_000 && announced < 10_000, "{announced}");
}

#[test]
fn too_many_updates_end_the_session() {
    let mut alone = Alone::new(Role::Server);
    let key = alone.request(&subscribe(0, track("a"))).unwrap();
    let update =
        |id| Message::RequestUpdate(RequestUpdate { request_id: id, parameters: Parameters::default() });
    let outcome = (1..100).try_for_each(|at| alone.say(key, &update(at * 2)));
    assert_eq!(code(outcome), SessionCode::PROTOCOL_VIOLATION);
}

#[test]
fn who_says_nothing_is_not_waited_for_for_ever() {
    let mut alone = Alone::silent(config(Role::Server));
    let due = alone.session.poll_timeout().unwrap();
    assert_eq!(due - alone.now, Limits::default().setup_timeout);
    assert_eq!(code(alone.session.handle(due, Input::Timeout)), SessionCode::CONTROL_MESSAGE_TIMEOUT);

    let mut alone = Alone::new(Role::Client);
    alone.session.subscribe(alone.now, track("a"), &SubscribeOptions::default(), &[]).unwrap();
    let due = alone.session.poll_timeout().unwrap();
    assert_eq!(code(alone.session.handle(due, Input::Timeout)), SessionCode::CONTROL_MESSAGE_TIMEOUT);

    let mut alone = Alone::new(Role::Server);
    alone.request(&subscribe(0, track("a"))).unwrap();
    alone.session.go_away(alone.now, "", Some(Duration::from_secs(3))).unwrap();
    let due = alone.session.poll_timeout().unwrap();
    assert_eq!(code(alone.session.handle(due, Input::Timeout)), SessionCode::GOAWAY_TIMEOUT);
}

#[test]
fn a_request_that_overtakes_setup_waits_for_it() {
    let mut alone = Alone::silent(config(Role::Server));
    let key = alone.request(&subscribe(0, track("a"))).unwrap();
    let (_, events) = alone.heard(key);
    assert_eq!(events, vec![]);
    alone.control(&Message::Setup(Setup::default())).unwrap();
    let (_, events) = alone.heard(key);
    assert!(matches!(&events[..], [Event::Ready(_), Event::Subscribe { .. }]));
}

/// A SUBSCRIBE as it was seen from a browser player: SUBSCRIBER_PRIORITY 155 as a varint.
const OF_MOQ_LITE_JS: &[u8] =
    b"\x03\0\x1a\0\x01\x04demo\x07catalog\x04\x10\x01\x10\x80\x9b\x01\x01\x02\x01\x02";

#[test]
fn a_browser_library_that_errs_is_understood_and_nobody_else_is_when_they_do() {
    let ask = |implementation: Option<String>| {
        let mut alone = Alone::silent(config(Role::Server));
        alone.control(&Message::Setup(Setup { implementation, ..Setup::default() })).unwrap();
        alone.outputs();
        let key = alone.session.accept_stream();
        alone.bytes(key, Bytes::from_static(OF_MOQ_LITE_JS), false).map(|()| (alone, key))
    };
    let (mut alone, key) = ask(Some("moq-lite-js".into())).unwrap();
    let (_, events) = alone.heard(key);
    let [Event::Subscribe { request, options, .. }] = &events[..] else { panic!("{events:?}") };
    // It asked for what comes after the largest object, and gets the group that it can decode.
    assert_eq!((options.priority, options.filter), (155, None));
    // It cannot read where a track is.
    let largest = Some(Location::new(7, 7));
    alone
        .session
        .accept_subscribe(alone.now, *request, 1, &TrackInfo { largest, ..Default::default() })
        .unwrap();
    let (messages, _) = alone.heard(key);
    assert!(matches!(&messages[..], [Message::SubscribeOk(ok)] if ok.parameters.largest.is_none()));
    // It gives the track back, and may ask for it again at once.
    let request = *request;
    alone.bytes(key, Bytes::new(), true).unwrap();
    assert!(alone.heard(key).1.contains(&Event::Unsubscribed { request }));
    assert_eq!(code(ask(None).map(drop)), SessionCode::PROTOCOL_VIOLATION);
}
