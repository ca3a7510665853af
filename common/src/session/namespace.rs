//! Namespaces: who has tracks where, and who wants to hear of it (draft-18, 6 and 10.15 to 10.20).

use std::collections::BTreeSet;
use std::time::Instant;

use super::Session;
use super::admission::{Fault, Refusal};
use super::error::{CommandError, PeerMisbehaved, SessionError};
use super::event::Event;
use super::limits::NAMESPACE_OVERHEAD;
use super::name::{detached, overlap};
use super::request::{Owner, Request, RequestKey, StreamKey};
use super::token::Credential;
use crate::model::{FullTrackName, Namespace};
use crate::wire::code::{RequestCode, ResetCode};
use crate::wire::message::{Message, NamespaceRequest, PublishBlocked, RequestOk};
use crate::wire::parameter::Parameters;

/// PUBLISH_NAMESPACE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Announcement {
    Asked,
    Live,
}

/// SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS.
#[derive(Debug)]
pub(super) struct Watch {
    prefix: Namespace,
    state: WatchState,
    /// Those that the publisher has announced and not withdrawn.
    announced: BTreeSet<Namespace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatchState {
    Asked,
    Live,
}

/// Which of the two kinds of watch; their prefixes may overlap each other (10.19).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Namespaces,
    Tracks,
}

impl Watch {
    fn new(prefix: Namespace) -> Self {
        Self { prefix, state: WatchState::Asked, announced: BTreeSet::new() }
    }

    pub(super) fn prefix(&self) -> &Namespace {
        &self.prefix
    }

    pub(super) fn is_asked(&self) -> bool {
        self.state == WatchState::Asked
    }

    pub(super) fn announced(&self) -> impl Iterator<Item = Namespace> + '_ {
        self.announced.iter().cloned()
    }

    /// What the announced namespaces count against the limit.
    pub(super) fn announced_bytes(&self) -> usize {
        self.announced.iter().map(cost).sum()
    }
}

impl Request {
    fn watch_mut(&mut self) -> Option<&mut Watch> {
        match self {
            Self::Namespaces(watch) | Self::Tracks(watch) => Some(watch),
            _ => None,
        }
    }
}

// Commands of who wants to hear.
impl Session {
    /// Asks for the namespaces below a prefix: SUBSCRIBE_NAMESPACE. [`Event::Accepted`] and then
    /// [`Event::NamespaceAnnounced`] follow, or [`Event::Rejected`].
    ///
    /// # Errors
    /// Whatever stands in the way of any request.
    pub fn subscribe_namespace(
        &mut self,
        now: Instant,
        prefix: Namespace,
        credentials: &[Credential],
    ) -> Result<RequestKey, CommandError> {
        let parameters = Parameters { tokens: Credential::tokens(credentials), ..Parameters::default() };
        let request = Request::Namespaces(Watch::new(prefix.clone()));
        self.ask(now, prefix, parameters, request, Message::SubscribeNamespace)
    }

    /// Asks for a PUBLISH of each track below a prefix: SUBSCRIBE_TRACKS. [`Event::Accepted`] follows, or
    /// [`Event::Rejected`]. `forward` is whether objects are to come with it.
    ///
    /// # Errors
    /// Whatever stands in the way of any request.
    pub fn subscribe_tracks(
        &mut self,
        now: Instant,
        prefix: Namespace,
        forward: bool,
        credentials: &[Credential],
    ) -> Result<RequestKey, CommandError> {
        let tokens = Credential::tokens(credentials);
        let parameters = Parameters { tokens, forward: (!forward).then_some(false), ..Parameters::default() };
        let request = Request::Tracks(Watch::new(prefix.clone()));
        self.ask(now, prefix, parameters, request, Message::SubscribeTracks)
    }

    /// Says that we have tracks in a namespace: PUBLISH_NAMESPACE. [`Event::Accepted`] or
    /// [`Event::Rejected`] follows; [`Session::cancel`] takes it back.
    ///
    /// # Errors
    /// Whatever stands in the way of any request.
    pub fn publish_namespace(
        &mut self,
        now: Instant,
        namespace: Namespace,
        credentials: &[Credential],
    ) -> Result<RequestKey, CommandError> {
        let parameters = Parameters { tokens: Credential::tokens(credentials), ..Parameters::default() };
        let request = Request::Announcement(Announcement::Asked);
        self.ask(now, namespace, parameters, request, Message::PublishNamespace)
    }

    fn ask(
        &mut self,
        now: Instant,
        namespace: Namespace,
        parameters: Parameters,
        request: Request,
        message: fn(NamespaceRequest) -> Message,
    ) -> Result<RequestKey, CommandError> {
        self.check_request(&namespace)?;
        let request_id = self.own_ids.next();
        let message = message(NamespaceRequest { request_id, namespace, parameters });
        let by = self.answer_by(now, None);
        self.open_stream(request, request_id, by, &message)
    }
}

// Commands of who is asked.
impl Session {
    /// Accepts the peer's PUBLISH_NAMESPACE, SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS: REQUEST_OK.
    ///
    /// # Errors
    /// [`CommandError::Over`] if it was cancelled; [`CommandError::Unfit`] if it is none of these or was
    /// answered.
    pub fn accept_request(&mut self, request: RequestKey) -> Result<(), CommandError> {
        let expected = "an unanswered request for a namespace";
        let stream = self.open(request)?;
        if !stream.is_asked() {
            return Err(CommandError::Unfit { request, expected });
        }
        match &mut stream.request {
            Request::Announcement(announcement) => *announcement = Announcement::Live,
            Request::Namespaces(watch) | Request::Tracks(watch) => watch.state = WatchState::Live,
            _ => return Err(CommandError::Unfit { request, expected }),
        }
        self.send(request.stream(), &Message::RequestOk(RequestOk::default()))?;
        self.flush_early(request);
        Ok(())
    }

    /// Announces a namespace to who has asked with SUBSCRIBE_NAMESPACE: NAMESPACE. Says nothing if it has
    /// been announced.
    ///
    /// # Errors
    /// [`CommandError::Over`]; [`CommandError::Unfit`] if the peer has not asked for it.
    pub fn namespace(&mut self, request: RequestKey, namespace: &Namespace) -> Result<(), CommandError> {
        let suffix = self.suffix(request, namespace)?;
        if self.told(request, |told| told.insert(namespace.clone())) {
            self.send(request.stream(), &Message::Namespace(suffix))?;
        }
        Ok(())
    }

    /// Withdraws a namespace that was announced: NAMESPACE_DONE. Says nothing if it was not.
    ///
    /// # Errors
    /// As [`Session::namespace`].
    pub fn namespace_done(&mut self, request: RequestKey, namespace: &Namespace) -> Result<(), CommandError> {
        let suffix = self.suffix(request, namespace)?;
        if self.told(request, |told| told.remove(namespace)) {
            self.send(request.stream(), &Message::NamespaceDone(suffix))?;
        }
        Ok(())
    }

    fn suffix(&mut self, request: RequestKey, namespace: &Namespace) -> Result<Namespace, CommandError> {
        let unfit =
            CommandError::Unfit { request, expected: "a SUBSCRIBE_NAMESPACE that covers the namespace" };
        let stream = self.open(request)?;
        match &stream.request {
            Request::Namespaces(watch) if stream.owner == Owner::Peer && !watch.is_asked() => {
                namespace.suffix(&watch.prefix).ok_or(unfit)
            }
            _ => Err(unfit),
        }
    }

    fn told(&mut self, request: RequestKey, change: impl FnOnce(&mut BTreeSet<Namespace>) -> bool) -> bool {
        let stream = self.streams.get_mut(&request.stream());
        stream.and_then(|stream| stream.request.watch_mut()).is_some_and(|watch| change(&mut watch.announced))
    }

    /// The peer's update of a prefix is accepted.
    pub(super) fn move_watch(&mut self, request: RequestKey, prefix: Namespace) {
        let stream = self.streams.get_mut(&request.stream());
        if let Some(watch) = stream.and_then(|stream| stream.request.watch_mut()) {
            watch.announced.retain(|namespace| namespace.starts_with(&prefix));
            watch.prefix = prefix;
        }
    }
}

// What the peer says.
impl Session {
    pub(super) fn on_publish_namespace(
        &mut self,
        key: StreamKey,
        message: &NamespaceRequest,
        credentials: Vec<Credential>,
    ) {
        let namespace = detached(&message.namespace);
        self.set_request(key, Request::Announcement(Announcement::Asked));
        self.emit(Event::PublishNamespace { request: RequestKey(key), namespace, credentials });
    }

    pub(super) fn on_subscribe_namespace(
        &mut self,
        key: StreamKey,
        message: &NamespaceRequest,
        credentials: Vec<Credential>,
    ) -> Result<(), Fault> {
        let prefix = detached(&message.namespace);
        self.check_overlap(key, Kind::Namespaces, &prefix)?;
        self.set_request(key, Request::Namespaces(Watch::new(prefix.clone())));
        self.emit(Event::SubscribeNamespace { request: RequestKey(key), prefix, credentials });
        Ok(())
    }

    pub(super) fn on_subscribe_tracks(
        &mut self,
        key: StreamKey,
        message: &NamespaceRequest,
        credentials: Vec<Credential>,
    ) -> Result<(), Fault> {
        let prefix = detached(&message.namespace);
        self.check_overlap(key, Kind::Tracks, &prefix)?;
        self.set_request(key, Request::Tracks(Watch::new(prefix.clone())));
        let forward = message.parameters.forward.unwrap_or(true);
        self.emit(Event::SubscribeTracks { request: RequestKey(key), prefix, forward, credentials });
        Ok(())
    }

    /// Whether the new prefix of the watch on this stream overlaps that of another one of its kind.
    pub(super) fn check_prefix(&self, key: StreamKey, prefix: &Namespace) -> Result<(), Refusal> {
        match self.streams.get(&key).map(|stream| &stream.request) {
            Some(Request::Tracks(_)) => self.check_overlap(key, Kind::Tracks, prefix),
            _ => self.check_overlap(key, Kind::Namespaces, prefix),
        }
    }

    fn check_overlap(&self, key: StreamKey, kind: Kind, prefix: &Namespace) -> Result<(), Refusal> {
        let others = self.streams.iter().filter(|(other, it)| **other != key && it.owner == Owner::Peer);
        let mut prefixes = others.filter_map(|(_, it)| match (&it.request, kind) {
            (Request::Namespaces(watch), Kind::Namespaces) | (Request::Tracks(watch), Kind::Tracks) => {
                Some(&watch.prefix)
            }
            _ => None,
        });
        match prefixes.any(|other| overlap(other, prefix)) {
            true => {
                Err(Refusal::new(RequestCode::PREFIX_OVERLAP, "another request covers part of the prefix"))
            }
            false => Ok(()),
        }
    }

    pub(super) fn on_namespace(
        &mut self,
        now: Instant,
        key: StreamKey,
        suffix: Namespace,
    ) -> Result<(), SessionError> {
        let Some(watch) = self.own_watch(key) else {
            return Err(self.unexpected(key, &Message::Namespace(suffix)).into());
        };
        let namespace = detached(&watch.prefix.join(&suffix).map_err(PeerMisbehaved::from)?);
        let cost = cost(&namespace);
        if !watch.announced.insert(namespace.clone()) {
            return Ok(());
        }
        self.announced_bytes += cost;
        self.emit(Event::NamespaceAnnounced { request: RequestKey(key), namespace });
        if self.announced_bytes > self.config.limits.announced_bytes_max {
            let code = ResetCode::EXCESSIVE_LOAD;
            self.end(now, key, Some(code.0), code);
        }
        Ok(())
    }

    pub(super) fn on_namespace_done(
        &mut self,
        key: StreamKey,
        suffix: Namespace,
    ) -> Result<(), SessionError> {
        let Some(watch) = self.own_watch(key) else {
            return Err(self.unexpected(key, &Message::NamespaceDone(suffix)).into());
        };
        let namespace = watch.prefix.join(&suffix).map_err(PeerMisbehaved::from)?;
        if !watch.announced.remove(&namespace) {
            return Err(PeerMisbehaved::UnknownNamespace.into());
        }
        self.announced_bytes -= cost(&namespace);
        self.emit(Event::NamespaceWithdrawn { request: RequestKey(key), namespace });
        Ok(())
    }

    pub(super) fn on_publish_blocked(
        &mut self,
        key: StreamKey,
        blocked: PublishBlocked,
    ) -> Result<(), SessionError> {
        let name = match self.streams.get(&key).map(|stream| (&stream.request, stream.owner)) {
            Some((Request::Tracks(watch), Owner::Us)) if !watch.is_asked() => {
                let namespace = watch.prefix.join(&blocked.suffix).map_err(PeerMisbehaved::from)?;
                FullTrackName::new(namespace, blocked.name).map_err(PeerMisbehaved::from)?
            }
            _ => return Err(self.unexpected(key, &Message::PublishBlocked(blocked)).into()),
        };
        self.emit(Event::PublishBlocked { request: RequestKey(key), name });
        Ok(())
    }

    /// Our SUBSCRIBE_NAMESPACE on this stream, once it is accepted.
    fn own_watch(&mut self, key: StreamKey) -> Option<&mut Watch> {
        let stream = self.streams.get_mut(&key).filter(|stream| stream.owner == Owner::Us)?;
        match &mut stream.request {
            Request::Namespaces(watch) if !watch.is_asked() => Some(watch),
            _ => None,
        }
    }

    /// Our request for a namespace is accepted.
    pub(super) fn on_namespace_ok(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(&key) {
            match &mut stream.request {
                Request::Announcement(announcement) => *announcement = Announcement::Live,
                Request::Namespaces(watch) | Request::Tracks(watch) => watch.state = WatchState::Live,
                _ => {}
            }
        }
        self.emit(Event::Accepted { request: RequestKey(key) });
    }
}

fn cost(namespace: &Namespace) -> usize {
    namespace.byte_len() + NAMESPACE_OVERHEAD
}
