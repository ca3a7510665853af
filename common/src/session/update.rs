//! REQUEST_UPDATE: a request that is wanted otherwise (draft-18, 10.9).

use std::time::{Duration, Instant};

use super::Session;
use super::admission::Refusal;
use super::error::{CommandError, PeerMisbehaved, SessionError};
use super::event::{Event, TrackInfo};
use super::limits::UPDATES_MAX;
use super::name::detached;
use super::request::{Awaited, Owner, Request, RequestKey, Sending, StreamKey, To, refusal_message};
use super::subscription::Turn;
use super::token::{Credential, Resolved};
use crate::model::{Location, Namespace};
use crate::wire::code::RequestCode;
use crate::wire::message::{Message, RequestOk, RequestUpdate};
use crate::wire::parameter::Parameters;

/// What an update of the peer does once it is accepted.
#[derive(Debug)]
pub(super) enum PeerUpdate {
    /// Nothing that the session has to know.
    Plain,
    /// Objects are sent again.
    TurnsOn,
    /// Another prefix.
    Prefix(Namespace),
}

// Answers to updates of the peer.
impl Session {
    /// Accepts the oldest update of a request of the peer, or of our PUBLISH: REQUEST_OK.
    ///
    /// For a subscription, `largest` is the largest object of the track, and `expires` when we will end
    /// it; both are `None` for others.
    ///
    /// # Errors
    /// [`CommandError::Over`], or [`CommandError::Unfit`] if no update waits.
    pub fn accept_update(
        &mut self,
        now: Instant,
        request: RequestKey,
        largest: Option<Location>,
        expires: Option<Duration>,
    ) -> Result<(), CommandError> {
        let parameters = TrackInfo { largest, expires, ..TrackInfo::default() }.parameters();
        let update = self.take_update(request)?;
        let ok = RequestOk { parameters, ..RequestOk::default() };
        self.send(request.stream(), &Message::RequestOk(ok))?;
        match update {
            PeerUpdate::Plain => {}
            PeerUpdate::TurnsOn => self.rejoin(request, largest),
            PeerUpdate::Prefix(prefix) => self.move_watch(request, prefix),
        }
        self.settle_joining(now, request);
        Ok(())
    }

    /// Refuses the oldest update of a request of the peer, or of our PUBLISH: REQUEST_ERROR.
    ///
    /// A FETCH or a request for namespaces ends with it: reset the data stream of the FETCH. A track that we
    /// send has to be ended next with [`Session::publish_done`] and UPDATE_FAILED, once its data streams
    /// are closed.
    ///
    /// # Errors
    /// [`CommandError::Over`], or [`CommandError::Unfit`] if no update waits.
    pub fn reject_update(
        &mut self,
        now: Instant,
        request: RequestKey,
        code: RequestCode,
        reason: &str,
    ) -> Result<(), CommandError> {
        self.take_update(request)?;
        self.send_update_error(now, request.stream(), code, reason);
        Ok(())
    }

    fn take_update(&mut self, request: RequestKey) -> Result<PeerUpdate, CommandError> {
        let unfit = CommandError::Unfit { request, expected: "a request with an unanswered update" };
        let stream = self.open(request)?;
        if stream.is_asked() {
            return Err(unfit);
        }
        stream.updates.pop_front().ok_or(unfit)
    }

    fn send_update_error(&mut self, now: Instant, key: StreamKey, code: RequestCode, reason: &str) {
        match self.streams.get(&key).map(|stream| &stream.request) {
            Some(Request::Pull(_) | Request::Serve(_)) => {
                // A reason is cut to 1 KiB, so it always fits.
                let _ = self.send(key, &refusal_message(code, reason, None));
            }
            _ => self.send_error(now, key, code, reason, None),
        }
    }
}

// Updates of ours and of the peer.
impl Session {
    /// Sends REQUEST_UPDATE for an open request.
    pub(super) fn send_update(
        &mut self,
        now: Instant,
        request: RequestKey,
        parameters: Parameters,
    ) -> Result<(), CommandError> {
        let stream = self.open(request)?;
        if stream.sending == Sending::Closed {
            return Err(CommandError::Over(request));
        }
        if stream.awaited.len() >= UPDATES_MAX {
            return Err(CommandError::TooManyUpdates(stream.awaited.len()));
        }
        let update = RequestUpdate { request_id: self.own_ids.next(), parameters };
        self.send(request.stream(), &Message::RequestUpdate(update))?;
        let awaited = Awaited { to: To::Update, by: self.answer_by(now, None) };
        self.open(request)?.awaited.push_back(awaited);
        Ok(())
    }

    pub(super) fn on_request_update(
        &mut self,
        now: Instant,
        key: StreamKey,
        update: RequestUpdate,
    ) -> Result<(), SessionError> {
        self.peer_ids.consume(update.request_id)?;
        let credentials = self.tokens.resolve(&update.parameters.tokens)?;
        let Some(stream) = self.streams.get(&key) else { return Ok(()) };
        if stream.updates.len() >= UPDATES_MAX {
            return Err(PeerMisbehaved::TooManyUpdates(UPDATES_MAX).into());
        }
        let is_watch = matches!(stream.request, Request::Namespaces(_) | Request::Tracks(_));
        if update.parameters.prefix.is_some() && !is_watch {
            return Err(PeerMisbehaved::Parameter(stream.request.what()).into());
        }
        if !self.may_be_updated(key) {
            return Err(self.unexpected(key, &Message::RequestUpdate(update)).into());
        }
        let refusal = match credentials {
            Resolved::Valid(credentials) => match self.heard_update(key, &update.parameters, credentials) {
                Ok(()) => return Ok(()),
                Err(refusal) => refusal,
            },
            Resolved::Repeated => Refusal::new(RequestCode::MALFORMED_AUTH_TOKEN, "a token is there twice"),
        };
        self.send_update_error(now, key, refusal.code, refusal.reason);
        Ok(())
    }

    /// Only who has made a request updates it; and a subscriber, a PUBLISH.
    fn may_be_updated(&self, key: StreamKey) -> bool {
        self.streams.get(&key).is_some_and(|stream| match (&stream.request, stream.owner) {
            (Request::Status, _) => false,
            (Request::Serve(_), _) => true,
            (Request::Pull(pull), Owner::Peer) => pull.draining().is_none(),
            (_, owner) => owner == Owner::Peer,
        })
    }

    fn heard_update(
        &mut self,
        key: StreamKey,
        parameters: &Parameters,
        credentials: Vec<Credential>,
    ) -> Result<(), Refusal> {
        let request = RequestKey(key);
        let Some(stream) = self.streams.get(&key) else { return Ok(()) };
        let (update, event) = match &stream.request {
            Request::Serve(_) => {
                let Some((options, turn)) = self.merge_options(key, parameters) else { return Ok(()) };
                let update = if turn == Turn::On { PeerUpdate::TurnsOn } else { PeerUpdate::Plain };
                (update, Event::SubscribeUpdated { request, options, credentials })
            }
            Request::Pull(_) => (PeerUpdate::Plain, Event::PublishUpdated { request, credentials }),
            Request::Announcement(_) => {
                (PeerUpdate::Plain, Event::PublishNamespaceUpdated { request, credentials })
            }
            Request::Namespaces(_) | Request::Tracks(_) => {
                let is_tracks = matches!(stream.request, Request::Tracks(_));
                // Without a new prefix there may still be new tokens.
                let Some(prefix) = parameters.prefix.as_ref().map(detached).or_else(|| stream.prefix())
                else {
                    return Ok(());
                };
                self.check_prefix(key, &prefix)?;
                let event = match is_tracks {
                    true => Event::SubscribeTracksUpdated { request, prefix: prefix.clone(), credentials },
                    false => {
                        Event::SubscribeNamespaceUpdated { request, prefix: prefix.clone(), credentials }
                    }
                };
                (PeerUpdate::Prefix(prefix), event)
            }
            _ => (
                PeerUpdate::Plain,
                Event::FetchUpdated { request, priority: parameters.priority, credentials },
            ),
        };
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(()) };
        stream.updates.push_back(update);
        // The application hears of updates once it has answered the request itself.
        if stream.is_asked() {
            stream.early.push(event);
        } else {
            self.emit(event);
        }
        Ok(())
    }
}
