//! Requests of the peer: which are let in, and which are refused before the application hears of them.

use std::time::{Duration, Instant};

use super::error::{PeerMisbehaved, SessionError};
use super::event::Event;
use super::limits::SILENT_STREAMS_MAX;
use super::name::is_reserved;
use super::request::{Owner, Request, RequestKey, Stream, StreamKey};
use super::token::{Credential, Resolved};
use super::{Departure, Output, Session};
use crate::model::Namespace;
use crate::wire::code::{RequestCode, ResetCode};
use crate::wire::message::{FetchRange, Message};
use crate::wire::token::Token;

/// Why a request is refused without asking the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: RequestCode,
    pub(super) reason: &'static str,
    pub(super) retry: Option<Duration>,
}

/// What is wrong with a request: it alone, or the session with it.
#[derive(Debug)]
pub(super) enum Fault {
    Refused(Refusal),
    Broken(SessionError),
}

/// Who is refused for the load comes back after a second: about a round trip and a human's patience.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<PeerMisbehaved> for Fault {
    fn from(error: PeerMisbehaved) -> Self {
        Self::Broken(error.into())
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Refusal {
    pub(super) fn new(code: RequestCode, reason: &'static str) -> Self {
        Self { code, reason, retry: None }
    }

    /// The same, for a request of our own that we end ourselves.
    pub(super) fn event(self, request: RequestKey) -> Event {
        let Self { code, reason, retry } = self;
        Event::Rejected { request, code, reason: reason.to_owned(), retry, redirect: None }
    }
}

impl Session {
    /// The peer has opened a bidirectional stream: the key under which to hand in what comes on it. A peer
    /// that opens too many has it refused with the next outputs.
    pub fn accept_stream(&mut self) -> StreamKey {
        let key = self.next_key();
        let streams = self.streams.values().filter(|stream| stream.owner == Owner::Peer).count();
        if streams < self.config.limits.peer_requests_max + SILENT_STREAMS_MAX {
            self.streams.insert(key, Stream::new(Owner::Peer, Request::Unknown));
        } else {
            let code = ResetCode::EXCESSIVE_LOAD.0;
            self.outputs.extend([Output::Stop { key, code }, Output::Reset { key, code }]);
        }
        key
    }

    /// The first message on a stream of the peer.
    pub(super) fn on_request(
        &mut self,
        now: Instant,
        key: StreamKey,
        message: Message,
    ) -> Result<(), SessionError> {
        match self.streams.get(&key) {
            Some(stream) if !matches!(stream.request, Request::Unknown) => {
                return Err(self.unexpected(key, &message).into());
            }
            _ => {}
        }
        match self.let_in(now, key, message) {
            Ok(()) => Ok(()),
            Err(Fault::Broken(error)) => Err(error),
            Err(Fault::Refused(refusal)) => {
                self.refuse(now, key, refusal);
                Ok(())
            }
        }
    }

    fn let_in(&mut self, now: Instant, key: StreamKey, message: Message) -> Result<(), Fault> {
        let none = Namespace::default();
        let (id, tokens, namespace) = match &message {
            Message::Subscribe(it) | Message::TrackStatus(it) => {
                (it.request_id, &it.parameters.tokens, it.track.namespace())
            }
            Message::Publish(it) => (it.request_id, &it.parameters.tokens, it.track.namespace()),
            Message::Fetch(it) => match &it.range {
                FetchRange::Standalone { track, .. } => {
                    (it.request_id, &it.parameters.tokens, track.namespace())
                }
                _ => (it.request_id, &it.parameters.tokens, &none),
            },
            Message::PublishNamespace(it)
            | Message::SubscribeNamespace(it)
            | Message::SubscribeTracks(it) => (it.request_id, &it.parameters.tokens, &it.namespace),
            other => return Err(PeerMisbehaved::FirstMessage(other.kind()).into()),
        };
        let credentials = self.admit(key, id, tokens, namespace)?;
        match message {
            Message::Subscribe(it) => self.on_subscribe(key, it, credentials)?,
            Message::Publish(it) => self.on_publish(key, it, credentials)?,
            Message::Fetch(it) => self.on_fetch(now, key, it, credentials)?,
            Message::TrackStatus(it) => self.on_track_status(key, &it, credentials),
            Message::PublishNamespace(it) => self.on_publish_namespace(key, &it, credentials),
            Message::SubscribeNamespace(it) => self.on_subscribe_namespace(key, &it, credentials)?,
            Message::SubscribeTracks(it) => self.on_subscribe_tracks(key, &it, credentials)?,
            _ => {}
        }
        Ok(())
    }

    /// Lets a request in: its id is new, its tokens mean something, and it is not refused for reasons that
    /// hold for any request.
    fn admit(
        &mut self,
        key: StreamKey,
        id: u64,
        tokens: &[Token],
        namespace: &Namespace,
    ) -> Result<Vec<Credential>, Fault> {
        self.peer_ids.consume(id)?;
        // Before any refusal: what is registered with a refused request stays registered.
        let credentials = match self.tokens.resolve(tokens)? {
            Resolved::Valid(credentials) => credentials,
            Resolved::Repeated => {
                return Err(Refusal::new(RequestCode::MALFORMED_AUTH_TOKEN, "a token is there twice").into());
            }
        };
        if self.departure != Departure::Stays {
            return Err(Refusal::new(RequestCode::GOING_AWAY, "we are leaving").into());
        }
        if self.open_requests(Owner::Peer) >= self.config.limits.peer_requests_max {
            let refusal = Refusal::new(RequestCode::EXCESSIVE_LOAD, "too many requests are open");
            return Err(Refusal { retry: Some(RETRY_AFTER), ..refusal }.into());
        }
        if is_reserved(namespace) {
            return Err(Refusal::new(RequestCode::DOES_NOT_EXIST, "the namespace is reserved").into());
        }
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.request_id = Some(id);
            self.by_id.insert(id, RequestKey(key));
        }
        Ok(credentials)
    }

    pub(super) fn refuse(&mut self, now: Instant, key: StreamKey, refusal: Refusal) {
        self.send_error(now, key, refusal.code, refusal.reason, refusal.retry);
    }
}
