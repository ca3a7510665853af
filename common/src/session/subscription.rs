//! Subscriptions: tracks that we receive, and tracks that we send, whoever asked first (draft-18, 5.1).

use std::time::Instant;

use super::Session;
use super::admission::{Fault, Refusal};
use super::error::{CommandError, PeerMisbehaved, SessionError};
use super::event::{Event, Publication, SubscribeOptions, SubscribeUpdate, TrackInfo, expires};
use super::name::detached_track;
use super::request::{Request, RequestKey, StreamKey, after};
use super::token::Credential;
use crate::model::{FullTrackName, Location};
use crate::wire::Version;
use crate::wire::code::{DoneCode, RequestCode, ResetCode};
use crate::wire::message::{Filter, Message, Publish, PublishDone, RequestOk, Subscribe, SubscribeOk};
use crate::wire::parameter::Parameters;

/// A track that we receive: by our SUBSCRIBE, or by the peer's PUBLISH.
#[derive(Debug)]
pub(super) struct Pull {
    pub(super) name: FullTrackName,
    pub(super) state: PullState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PullState {
    /// Our SUBSCRIBE is not answered.
    Asked,
    /// The peer's PUBLISH is not answered, but its objects may come.
    Offered { alias: u64 },
    /// Accepted.
    Live { alias: u64 },
    /// The publisher is done; what is under way may come until then.
    Draining { alias: Option<u64>, until: Instant },
}

/// A track that we send: for the peer's SUBSCRIBE, or by our PUBLISH.
#[derive(Debug)]
pub(super) struct Serve {
    pub(super) name: FullTrackName,
    pub(super) options: SubscribeOptions,
    pub(super) state: ServeState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServeState {
    /// The peer's SUBSCRIBE is not answered.
    Asked,
    /// Our PUBLISH is not answered.
    Offered(Place),
    /// Accepted.
    Live(Place),
}

/// What a track that we send is called, and where a FETCH joins it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) alias: u64,
    /// The Joining Location: the largest object when the peer began to be sent objects.
    pub(super) joining: Option<Location>,
}

/// The stream count of who does not know it (draft-18, 10.11).
const STREAMS_UNKNOWN: u64 = (1 << 62) - 1;

impl Pull {
    pub(super) fn is_asked(&self) -> bool {
        matches!(self.state, PullState::Asked | PullState::Offered { .. })
    }

    /// Until when late objects are waited for, once the publisher is done.
    pub(super) fn draining(&self) -> Option<Instant> {
        match self.state {
            PullState::Draining { until, .. } => Some(until),
            _ => None,
        }
    }
}

impl PullState {
    pub(super) fn alias(self) -> Option<u64> {
        match self {
            Self::Asked => None,
            Self::Offered { alias } | Self::Live { alias } => Some(alias),
            Self::Draining { alias, .. } => alias,
        }
    }
}

impl Serve {
    pub(super) fn is_asked(&self) -> bool {
        !matches!(self.state, ServeState::Live(_))
    }
}

impl ServeState {
    fn place(self) -> Option<Place> {
        match self {
            Self::Asked => None,
            Self::Offered(place) | Self::Live(place) => Some(place),
        }
    }
}

// Commands of a subscriber.
impl Session {
    /// Asks for a track: SUBSCRIBE. [`Event::Subscribed`] or [`Event::Rejected`] follows.
    ///
    /// # Errors
    /// Whatever stands in the way of any request, and [`CommandError::DuplicateSubscription`].
    pub fn subscribe(
        &mut self,
        now: Instant,
        name: FullTrackName,
        options: &SubscribeOptions,
        credentials: &[Credential],
    ) -> Result<RequestKey, CommandError> {
        self.check_request(name.namespace())?;
        if self.pulls_of(&name).next().is_some() {
            return Err(CommandError::DuplicateSubscription(name));
        }
        let request_id = self.own_ids.next();
        let parameters = Parameters { tokens: Credential::tokens(credentials), ..options.parameters() };
        let message = Message::Subscribe(Subscribe { request_id, track: name.clone(), parameters });
        let by = self.answer_by(now, options.rendezvous_timeout);
        let pull = Pull { name, state: PullState::Asked };
        self.open_stream(Request::Pull(pull), request_id, by, &message)
    }

    /// Ends a subscription to a track that we receive, whoever began it; the same as [`Session::cancel`].
    /// Late objects are those of a [retired alias](Session::is_retired_alias).
    pub fn unsubscribe(&mut self, now: Instant, request: RequestKey) {
        self.cancel(now, request);
    }

    /// Changes how we want a track: REQUEST_UPDATE. [`Event::Updated`] or [`Event::UpdateRejected`] follows.
    ///
    /// # Errors
    /// [`CommandError::Over`]; [`CommandError::Unfit`] if the track does not flow yet or any more;
    /// [`CommandError::TooManyUpdates`].
    pub fn update(
        &mut self,
        now: Instant,
        request: RequestKey,
        update: &SubscribeUpdate,
    ) -> Result<(), CommandError> {
        match &self.open(request)?.request {
            Request::Pull(Pull { state: PullState::Live { .. }, .. }) => {
                self.send_update(now, request, update.parameters())
            }
            _ => Err(CommandError::Unfit { request, expected: "a live track that we receive" }),
        }
    }

    /// Accepts the peer's PUBLISH: PUBLISH_OK, with how we want the track. A SUBSCRIBE of ours for the same
    /// track that is not answered is cancelled, with [`Event::Closed`].
    ///
    /// # Errors
    /// [`CommandError::Over`]; [`CommandError::Unfit`] if it is no PUBLISH or was answered;
    /// [`CommandError::DuplicateSubscription`] if our own SUBSCRIBE was accepted in the meantime: then the
    /// PUBLISH is refused.
    pub fn accept_publish(
        &mut self,
        now: Instant,
        request: RequestKey,
        options: &SubscribeOptions,
    ) -> Result<(), CommandError> {
        let (name, alias) = match &self.open(request)?.request {
            Request::Pull(Pull { name, state: PullState::Offered { alias } }) => (name.clone(), *alias),
            _ => return Err(CommandError::Unfit { request, expected: "an unanswered PUBLISH" }),
        };
        let ours = self.pulls_of(&name).find(|other| *other != request);
        if let Some(ours) = ours {
            if !matches!(self.pull_state(ours), Some(PullState::Asked)) {
                let code = RequestCode::DUPLICATE_SUBSCRIPTION;
                self.send_error(now, request.stream(), code, "we have subscribed", None);
                return Err(CommandError::DuplicateSubscription(name));
            }
            // Two subscriptions at once cannot be (5.1).
            self.end(now, ours.stream(), None, ResetCode::CANCELLED);
        }
        let ok = RequestOk { parameters: options.parameters(), ..RequestOk::default() };
        self.send(request.stream(), &Message::RequestOk(ok))?;
        self.set_pull_state(request, PullState::Live { alias });
        self.flush_early(request);
        Ok(())
    }
}

// Commands of a publisher.
impl Session {
    /// Accepts the peer's SUBSCRIBE: SUBSCRIBE_OK. Objects may be sent under `alias` from now on.
    ///
    /// # Errors
    /// [`CommandError::Over`] if it was cancelled; [`CommandError::Unfit`] if it is no SUBSCRIBE or was
    /// answered; [`CommandError::AliasInUse`].
    pub fn accept_subscribe(
        &mut self,
        now: Instant,
        request: RequestKey,
        alias: u64,
        track: &TrackInfo,
    ) -> Result<(), CommandError> {
        let name = match &self.open(request)?.request {
            Request::Serve(Serve { name, state: ServeState::Asked, .. }) => name.clone(),
            _ => return Err(CommandError::Unfit { request, expected: "an unanswered SUBSCRIBE" }),
        };
        self.check_own_alias(alias, &name)?;
        let (parameters, properties) = (track.parameters(), track.properties.clone());
        self.send(request.stream(), &Message::SubscribeOk(SubscribeOk { alias, parameters, properties }))?;
        self.set_serve_state(request, ServeState::Live(Place { alias, joining: track.largest }));
        self.flush_early(request);
        self.settle_joining(now, request);
        Ok(())
    }

    /// Offers a track: PUBLISH. [`Event::PublishAccepted`] or [`Event::Rejected`] follows. Objects may be
    /// sent at once, if it says so.
    ///
    /// A relay does so only for who has asked with SUBSCRIBE_TRACKS.
    ///
    /// # Errors
    /// Whatever stands in the way of any request, [`CommandError::DuplicateSubscription`] if the peer has
    /// subscribed to it, and [`CommandError::AliasInUse`].
    pub fn publish(&mut self, now: Instant, publication: Publication) -> Result<RequestKey, CommandError> {
        let Publication { name, alias, track, forward, credentials } = publication;
        self.check_request(name.namespace())?;
        if self.serves_of(&name).next().is_some() {
            return Err(CommandError::DuplicateSubscription(name));
        }
        self.check_own_alias(alias, &name)?;
        let request_id = self.own_ids.next();
        let parameters = Parameters {
            tokens: Credential::tokens(&credentials),
            forward: (!forward).then_some(false),
            ..track.parameters()
        };
        let state = ServeState::Offered(Place { alias, joining: track.largest });
        let options = SubscribeOptions { forward, ..SubscribeOptions::default() };
        let serve = Serve { name: name.clone(), options, state };
        let properties = track.properties;
        let message = Message::Publish(Publish { request_id, track: name, alias, parameters, properties });
        let by = self.answer_by(now, None);
        self.open_stream(Request::Serve(serve), request_id, by, &message)
    }

    /// Ends a track that we send: PUBLISH_DONE, once all its data streams are closed. `streams` is how many
    /// there were, if that is known.
    ///
    /// # Errors
    /// [`CommandError::Over`]; [`CommandError::Unfit`] if we do not send it.
    pub fn publish_done(
        &mut self,
        now: Instant,
        request: RequestKey,
        code: DoneCode,
        streams: Option<u64>,
        reason: &str,
    ) -> Result<(), CommandError> {
        match &self.open(request)?.request {
            Request::Serve(serve) if serve.state != ServeState::Asked => {}
            _ => return Err(CommandError::Unfit { request, expected: "a track that we send" }),
        }
        let stream_count = streams.unwrap_or(STREAMS_UNKNOWN);
        let done = PublishDone { code, stream_count, reason: reason.to_owned() };
        self.send_last(now, request.stream(), &Message::PublishDone(done))
    }

    /// Whether the alias stands for no other track that the peer receives from us.
    fn check_own_alias(&self, alias: u64, name: &FullTrackName) -> Result<(), CommandError> {
        let mut serves = self.streams.values().filter_map(|stream| match &stream.request {
            Request::Serve(serve) => Some(serve),
            _ => None,
        });
        let taken =
            serves.any(|it| it.state.place().is_some_and(|place| place.alias == alias) && it.name != *name);
        if taken { Err(CommandError::AliasInUse(alias)) } else { Ok(()) }
    }
}

// What the peer says.
impl Session {
    pub(super) fn on_subscribe(
        &mut self,
        key: StreamKey,
        message: Subscribe,
        credentials: Vec<Credential>,
    ) -> Result<(), Fault> {
        let name = detached_track(&message.track);
        if self.serves_of(&name).next().is_some() {
            return Err(duplicate().into());
        }
        let mut options = SubscribeOptions::from_parameters(&message.parameters);
        // It asks for what comes next and decodes from key frames only, so it would wait for the next group.
        if self.config.version == Version::Draft18MoqLiteJs && options.filter == Some(Filter::Largest) {
            options.filter = None;
        }
        let serve = Serve { name: name.clone(), options: options.clone(), state: ServeState::Asked };
        self.set_request(key, Request::Serve(serve));
        self.emit(Event::Subscribe { request: RequestKey(key), name, options, credentials });
        Ok(())
    }

    pub(super) fn on_publish(
        &mut self,
        key: StreamKey,
        message: Publish,
        credentials: Vec<Credential>,
    ) -> Result<(), Fault> {
        let name = detached_track(&message.track);
        if self.pulls_of(&name).any(|other| self.pull_state(other) != Some(PullState::Asked)) {
            return Err(duplicate().into());
        }
        let (request, alias) = (RequestKey(key), message.alias);
        self.claim(alias, request, &name)?;
        if message.properties.mandatory().is_some() {
            return Err(unsupported().into());
        }
        self.set_request(
            key,
            Request::Pull(Pull { name: name.clone(), state: PullState::Offered { alias } }),
        );
        self.aliases.insert(alias, request);
        let forward = message.parameters.forward.unwrap_or(true);
        let track = TrackInfo::read(&message.parameters, message.properties);
        self.emit(Event::Publish { request, name, alias, forward, track, credentials });
        Ok(())
    }

    pub(super) fn on_subscribe_ok(
        &mut self,
        now: Instant,
        key: StreamKey,
        ok: SubscribeOk,
    ) -> Result<(), SessionError> {
        let (request, alias) = (RequestKey(key), ok.alias);
        let Some(name) = self.asked_track(key) else {
            return Err(self.unexpected(key, &Message::SubscribeOk(ok)).into());
        };
        self.take_awaited(key, &Message::SubscribeOk(ok.clone()))?;
        self.claim(alias, request, &name)?;
        if ok.properties.mandatory().is_some() {
            self.abort(now, key, ResetCode::CANCELLED);
            let refusal = unsupported();
            self.emit(refusal.event(request));
            return Ok(());
        }
        self.aliases.insert(alias, request);
        self.set_pull_state(request, PullState::Live { alias });
        let track = TrackInfo::read(&ok.parameters, ok.properties);
        self.emit(Event::Subscribed { request, alias, track });
        Ok(())
    }

    /// The answer to our PUBLISH.
    pub(super) fn on_publish_ok(
        &mut self,
        now: Instant,
        key: StreamKey,
        parameters: &Parameters,
    ) -> Result<(), PeerMisbehaved> {
        if parameters.largest.is_some() {
            return Err(PeerMisbehaved::Parameter("PUBLISH_OK"));
        }
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(()) };
        let Request::Serve(serve) = &mut stream.request else { return Ok(()) };
        if let ServeState::Offered(place) = serve.state {
            serve.state = ServeState::Live(place);
        }
        serve.options = SubscribeOptions::from_parameters(parameters);
        let (request, options) = (RequestKey(key), serve.options.clone());
        self.emit(Event::PublishAccepted { request, options, expires: expires(parameters) });
        self.settle_joining(now, request);
        Ok(())
    }

    pub(super) fn on_publish_done(
        &mut self,
        now: Instant,
        key: StreamKey,
        done: PublishDone,
    ) -> Result<(), SessionError> {
        let state = self.pull_state(RequestKey(key));
        let Some(state) = state.filter(|it| !matches!(it, PullState::Asked | PullState::Draining { .. }))
        else {
            return Err(self.unexpected(key, &Message::PublishDone(done)).into());
        };
        let request = RequestKey(key);
        // A PUBLISH that is done before it was answered needs no answer.
        self.send_bytes(key, bytes::Bytes::new(), true);
        let until = after(now, self.config.limits.linger);
        self.set_pull_state(request, PullState::Draining { alias: state.alias(), until });
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.awaited.clear();
            stream.updates.clear();
            stream.early.clear();
        }
        let streams = Some(done.stream_count).filter(|count| *count != STREAMS_UNKNOWN);
        self.emit(Event::Done { request, code: done.code, streams, reason: done.reason });
        Ok(())
    }

    /// Merges an update of the peer's into what it wants; whether objects begin to be sent with it.
    pub(super) fn merge_options(
        &mut self,
        key: StreamKey,
        update: &Parameters,
    ) -> Option<(SubscribeOptions, Turn)> {
        let Request::Serve(serve) = &mut self.streams.get_mut(&key)?.request else { return None };
        let before = serve.options.forward;
        serve.options.merge(update);
        let turn = if serve.options.forward && !before { Turn::On } else { Turn::Same };
        Some((serve.options.clone(), turn))
    }

    /// Objects are sent again, from after `largest` on: FETCHes join there.
    pub(super) fn rejoin(&mut self, request: RequestKey, largest: Option<Location>) {
        if let Ok(stream) = self.open(request)
            && let Request::Serve(serve) = &mut stream.request
            && let ServeState::Live(place) = &mut serve.state
        {
            place.joining = largest;
        }
    }

    /// Whether the alias may stand for the track: the peer uses it for no other one (11.1).
    fn claim(&self, alias: u64, request: RequestKey, new: &FullTrackName) -> Result<(), PeerMisbehaved> {
        let holder = self.aliases.find(alias).filter(|holder| *holder != request);
        let stream = holder.and_then(|holder| self.streams.get(&holder.stream()));
        match stream.map(|stream| &stream.request) {
            Some(Request::Pull(Pull { name, state })) if name != new => match state {
                // It is over for the publisher, who may use the alias again.
                PullState::Draining { .. } => Ok(()),
                _ => Err(PeerMisbehaved::DuplicateAlias { alias, old: name.clone(), new: new.clone() }),
            },
            _ => Ok(()),
        }
    }

    /// The track that our SUBSCRIBE on this stream asks for, if it is not answered.
    fn asked_track(&self, key: StreamKey) -> Option<FullTrackName> {
        match &self.streams.get(&key)?.request {
            Request::Pull(Pull { name, state: PullState::Asked }) => Some(name.clone()),
            _ => None,
        }
    }

    /// Subscriptions to the track that are not over, with us as the subscriber.
    fn pulls_of<'a>(&'a self, name: &'a FullTrackName) -> impl Iterator<Item = RequestKey> + 'a {
        self.streams.iter().filter_map(move |(key, stream)| match &stream.request {
            Request::Pull(pull) if pull.draining().is_none() && pull.name == *name => Some(RequestKey(*key)),
            _ => None,
        })
    }

    /// Subscriptions to the track that are not over, with us as the publisher.
    fn serves_of<'a>(&'a self, name: &'a FullTrackName) -> impl Iterator<Item = RequestKey> + 'a {
        self.streams.iter().filter_map(move |(key, stream)| match &stream.request {
            Request::Serve(serve) if serve.name == *name => Some(RequestKey(*key)),
            _ => None,
        })
    }

    fn pull_state(&self, request: RequestKey) -> Option<PullState> {
        match &self.streams.get(&request.stream())?.request {
            Request::Pull(pull) => Some(pull.state),
            _ => None,
        }
    }

    fn set_pull_state(&mut self, request: RequestKey, state: PullState) {
        if let Some(stream) = self.streams.get_mut(&request.stream())
            && let Request::Pull(pull) = &mut stream.request
        {
            pull.state = state;
        }
    }

    fn set_serve_state(&mut self, request: RequestKey, state: ServeState) {
        if let Some(stream) = self.streams.get_mut(&request.stream())
            && let Request::Serve(serve) = &mut stream.request
        {
            serve.state = state;
        }
    }
}

/// Whether an update makes objects flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    On,
    Same,
}

fn duplicate() -> Refusal {
    Refusal::new(RequestCode::DUPLICATE_SUBSCRIPTION, "the track has a subscription")
}

/// We understand no property that a track may demand to be understood (2.5.1).
pub(super) fn unsupported() -> Refusal {
    Refusal::new(RequestCode::UNSUPPORTED_EXTENSION, "the track needs an extension that is not known here")
}
