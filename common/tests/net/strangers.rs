//! Peers that nobody here wrote: a host by hand, and some that do not keep to the rules.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use common::model::ObjectStatus;
use common::net::door::Door;
use common::net::endpoint::{Endpoint, Transport};
use common::net::token::{Claims, Role, Signer, Verifier, generate_keys};
use common::wire::Version;
use common::wire::code::{RequestCode, SessionCode};
use common::wire::data::{SubgroupHeader, encode_object_head};
use common::wire::message::{Decoder, Message, Publish, Setup};
use web_transport_quinn::{RecvStream, SendStream, SessionError, WebTransportError};

use crate::tree::{Host, Running, Viewer, payload, soon, track};

struct Stranger {
    transport: Transport,
    control: SendStream,
    request: Option<(SendStream, RecvStream)>,
    _endpoint: Endpoint,
}

impl Stranger {
    async fn connects(node: &Running) -> Self {
        let endpoint = Endpoint::client().unwrap();
        let parent = node.as_parent();
        let transport = endpoint.connect(&parent.url, &parent.trust, None).await.unwrap();
        let control = transport.open_uni().await.unwrap();
        Self { transport, control, request: None, _endpoint: endpoint }
    }

    async fn introduces_itself(node: &Running) -> Self {
        let mut stranger = Self::connects(node).await;
        stranger.introduces_itself_by("/hall").await;
        stranger
    }

    async fn introduces_itself_by(&mut self, path: &str) {
        let setup = Message::Setup(Setup { path: Some(path.into()), ..Setup::default() });
        self.says(setup.encode(Version::Draft18).unwrap()).await;
    }

    /// Publishes a track, and returns the answer.
    async fn publishes(&mut self, name: &'static str, alias: u64) -> Message {
        let (mut send, mut recv) = self.transport.open_bi().await.unwrap();
        let publish = Publish {
            request_id: 0,
            track: track(name),
            alias,
            parameters: Default::default(),
            properties: Default::default(),
        };
        send.write_chunk(Message::Publish(publish).encode(Version::Draft18).unwrap()).await.unwrap();
        let mut decoder = Decoder::default();
        let answer = loop {
            if let Some(message) = decoder.next(Version::Draft18).unwrap() {
                break message;
            }
            let chunk = soon("an answer", recv.read_chunk(1 << 16, true)).await.unwrap().unwrap();
            decoder.push(&chunk.bytes);
        };
        // The request lasts as long as its stream.
        self.request = Some((send, recv));
        answer
    }

    async fn says(&mut self, bytes: Bytes) {
        self.control.write_chunk(bytes).await.unwrap();
    }

    /// A stream of its own with these bytes, ended.
    async fn sends(&self, bytes: Bytes) {
        let mut stream = self.transport.open_uni().await.unwrap();
        stream.write_chunk(bytes).await.unwrap();
        stream.finish().unwrap();
    }

    async fn is_closed(&self) -> SessionCode {
        match soon("the end of the session", self.transport.closed()).await {
            SessionError::WebTransportError(WebTransportError::Closed(code, _)) => SessionCode(code.into()),
            other => panic!("closed with {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_host_publishes_by_moqt() {
    let origin = Running::start(None).await;
    let edge = Running::start(Some(&origin)).await;
    let mut stranger = Stranger::introduces_itself(&origin).await;
    let answer = stranger.publishes("video", 9).await;
    assert!(matches!(answer, Message::RequestOk(_)), "{answer:?}");

    // Half of the group comes before the viewer, the other half after it.
    let mut stream = stranger.transport.open_uni().await.unwrap();
    stream.write_chunk(subgroup(9, 4, 0..2)).await.unwrap();
    let mut viewer = Viewer::joins(&edge, "video").await;
    viewer.until("the first half", |viewer| viewer.objects.len() == 2).await;
    stream.write_chunk(objects(Some(1), 4, 2..4)).await.unwrap();
    stream.finish().unwrap();
    viewer.until("the group", |viewer| viewer.finished == [4]).await;
    assert!(viewer.objects.iter().all(|(at, (_, bytes))| *bytes == payload(at.group, at.object)));
}

fn subgroup(alias: u64, group: u64, ids: std::ops::Range<u64>) -> Bytes {
    let mut out = BytesMut::new();
    let (subgroup, priority) = (Some(0), Some(3));
    let (end_of_group, first_object, has_properties) = (false, true, false);
    SubgroupHeader { alias, group, subgroup, priority, end_of_group, first_object, has_properties }
        .encode(&mut out);
    out.extend_from_slice(&objects(None, group, ids));
    out.freeze()
}

fn objects(mut previous: Option<u64>, group: u64, ids: std::ops::Range<u64>) -> Bytes {
    let mut out = BytesMut::new();
    for id in ids {
        let payload = payload(group, id);
        encode_object_head(previous, id, &[], false, payload.len() as u64, ObjectStatus::Normal, &mut out);
        out.extend_from_slice(&payload);
        previous = Some(id);
    }
    out.freeze()
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_is_told_how_and_nobody_else_notices() {
    let origin = Running::start(None).await;
    let host = Host::on_air(&origin, "video");
    host.group(0, 2);
    let mut viewer = Viewer::joins(&origin, "video").await;

    // A message that does not exist, on the control stream.
    let mut stranger = Stranger::introduces_itself(&origin).await;
    stranger.says(Bytes::from_static(&[0x3f, 0, 0])).await;
    assert_eq!(stranger.is_closed().await, SessionCode::PROTOCOL_VIOLATION);

    // A second control stream.
    let stranger = Stranger::introduces_itself(&origin).await;
    let setup = Message::Setup(Setup::default()).encode(Version::Draft18).unwrap();
    stranger.sends(setup).await;
    assert_eq!(stranger.is_closed().await, SessionCode::PROTOCOL_VIOLATION);

    // A stream of a kind that does not exist.
    let stranger = Stranger::introduces_itself(&origin).await;
    stranger.sends(Bytes::from_static(&[0x3e, 1, 2, 3])).await;
    assert_eq!(stranger.is_closed().await, SessionCode::PROTOCOL_VIOLATION);

    // Its control stream ends.
    let mut stranger = Stranger::introduces_itself(&origin).await;
    stranger.control.finish().unwrap();
    assert_eq!(stranger.is_closed().await, SessionCode::PROTOCOL_VIOLATION);

    host.group(1, 2);
    viewer.until("what comes after all that", |viewer| viewer.finished == [0, 1]).await;
    assert_eq!(origin.metric("stentor_sessions_ended_total"), 4);
}

#[tokio::test]
async fn objects_of_tracks_that_nobody_offered_go_nowhere() {
    let origin = Running::start(None).await;
    let host = Host::on_air(&origin, "video");
    host.group(0, 2);
    let mut viewer = Viewer::joins(&origin, "video").await;
    let stranger = Stranger::introduces_itself(&origin).await;
    let mut stream = stranger.transport.open_uni().await.unwrap();
    stream.write_chunk(subgroup(1, 7, 0..1)).await.unwrap();
    assert!(soon("STOP_SENDING", stream.stopped()).await.unwrap().is_some());
    host.group(1, 2);
    viewer.until("the host's own", |viewer| viewer.finished == [0, 1]).await;
    viewer.saw_all(0..2, 2);
}

#[tokio::test]
async fn a_hosts_token_opens_its_own_event_and_a_viewers_none() {
    let (private, public) = generate_keys().unwrap();
    let signer = Signer::from_pem(private.as_bytes()).unwrap();
    let origin = Running::at("[::]:0", Door::Tokens(Verifier::from_pems([public]).unwrap()), None).await;
    let exp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 60;
    for (role, event, expected) in [
        (Role::Host, "hall", None),
        (Role::Host, "elsewhere", Some(RequestCode::UNAUTHORIZED)),
        (Role::Viewer, "hall", Some(RequestCode::UNAUTHORIZED)),
        (Role::Node, "*", Some(RequestCode::UNAUTHORIZED)),
    ] {
        let token = signer.sign(&Claims { event: event.into(), role, exp }).unwrap();
        let mut stranger = Stranger::connects(&origin).await;
        stranger.introduces_itself_by(&format!("/hall?t={token}")).await;
        let code = match stranger.publishes("video", 1).await {
            Message::RequestOk(_) => None,
            Message::RequestError(error) => Some(error.code),
            other => panic!("{other:?}"),
        };
        assert_eq!(code, expected, "{role:?} of {event}");
    }
}

#[tokio::test]
async fn who_shows_no_token_does_not_come_in() {
    let door = Door::Tokens(Verifier::from_pems::<&[u8]>([]).unwrap());
    let origin = Running::at("[::]:0", door, None).await;
    let stranger = Stranger::introduces_itself(&origin).await;
    assert_eq!(stranger.is_closed().await, SessionCode::UNAUTHORIZED);
    assert_eq!(origin.metric("stentor_arrivals_refused_total"), 1);
}
