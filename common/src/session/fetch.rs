//! FETCH: objects of the past, also those that join a subscription (draft-18, 10.12).
//!
//! Its data stream is the driver's business. A FETCH lasts until whoever drives it says
//! [`Session::fetch_done`], or either side cancels it.

use std::time::Instant;

use bytes::Bytes;

use super::Session;
use super::admission::{Fault, Refusal};
use super::error::{CommandError, PeerMisbehaved, SessionError};
use super::event::{Event, FetchOffer, FetchRequest, PRIORITY_DEFAULT, Span, millis};
use super::name::detached_track;
use super::request::{Request, RequestKey, StreamKey};
use super::subscription::{Pull, PullState, Serve, ServeState, unsupported};
use super::token::Credential;
use crate::model::{GroupOrder, Location};
use crate::wire::code::{RequestCode, ResetCode};
use crate::wire::message::{self, FetchOk, FetchRange, Message};
use crate::wire::parameter::Parameters;
use crate::wire::properties::Properties;

/// A FETCH of ours.
#[derive(Debug)]
pub(super) struct Fetch {
    /// The first object, as far as we know it: a relative start is the publisher's to compute.
    start: Location,
    state: FetchState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FetchState {
    Asked,
    Live,
}

/// A FETCH of the peer.
#[derive(Debug)]
pub(super) enum Offer {
    /// It joins a subscription that is not established, or whose update is not answered.
    Joining(Joining),
    /// The application has to answer.
    Asked { start: Location },
    /// Accepted.
    Live,
}

/// What is known of a FETCH that waits for its subscription.
#[derive(Debug, Clone)]
pub(super) struct Joining {
    subscription: RequestKey,
    start: JoiningStart,
    request_id: u64,
    options: FetchOptions,
    credentials: Vec<Credential>,
}

#[derive(Debug, Clone, Copy)]
enum JoiningStart {
    GroupsBefore(u64),
    Group(u64),
}

#[derive(Debug, Clone, Copy)]
struct FetchOptions {
    priority: u8,
    order: GroupOrder,
    fill_timeout: Option<std::time::Duration>,
}

impl Fetch {
    pub(super) fn is_asked(&self) -> bool {
        self.state == FetchState::Asked
    }
}

impl Offer {
    pub(super) fn is_asked(&self) -> bool {
        matches!(self, Self::Asked { .. } | Self::Joining(_))
    }

    pub(super) fn is_joining(&self) -> bool {
        matches!(self, Self::Joining(_))
    }
}

impl FetchOptions {
    fn read(parameters: &Parameters) -> Self {
        Self {
            priority: parameters.priority.unwrap_or(PRIORITY_DEFAULT),
            order: parameters.order.unwrap_or_default(),
            fill_timeout: parameters.fill_timeout.map(std::time::Duration::from_millis),
        }
    }
}

impl Session {
    /// Asks for objects of the past: FETCH. [`Event::FetchAccepted`] or [`Event::Rejected`] follows; the
    /// objects come on one data stream, whose header [`Session::fetch_of`] recognises, perhaps before.
    ///
    /// # Errors
    /// Whatever stands in the way of any request; [`CommandError::Backwards`]; and if it joins what is no
    /// subscription of ours, [`CommandError::Over`] or [`CommandError::Unfit`].
    pub fn fetch(&mut self, now: Instant, request: FetchRequest) -> Result<RequestKey, CommandError> {
        let FetchRequest { span, priority, order, fill_timeout, credentials } = request;
        let (range, start) = self.range(span)?;
        let request_id = self.own_ids.next();
        let parameters = Parameters {
            priority: (priority != PRIORITY_DEFAULT).then_some(priority),
            order: (order != GroupOrder::Ascending).then_some(order),
            fill_timeout: fill_timeout.map(millis),
            tokens: Credential::tokens(&credentials),
            ..Parameters::default()
        };
        let by = self.answer_by(now, fill_timeout);
        let message = Message::Fetch(message::Fetch { request_id, range, parameters });
        let fetch = Fetch { start, state: FetchState::Asked };
        self.open_stream(Request::Fetch(fetch), request_id, by, &message)
    }

    fn range(&mut self, span: Span) -> Result<(FetchRange, Location), CommandError> {
        match span {
            Span::Track { name, start, last } => {
                self.check_request(name.namespace())?;
                if last < start {
                    return Err(CommandError::Backwards);
                }
                let end = end_of(last);
                Ok((FetchRange::Standalone { track: name, start, end }, start))
            }
            Span::Before { subscription, groups } => {
                let joining = self.joined(subscription)?;
                Ok((FetchRange::Relative { joining, groups }, Location::default()))
            }
            Span::Since { subscription, group } => {
                let joining = self.joined(subscription)?;
                Ok((FetchRange::Absolute { joining, group }, Location::new(group, 0)))
            }
        }
    }

    /// The request id of a subscription that we may join.
    fn joined(&mut self, subscription: RequestKey) -> Result<u64, CommandError> {
        let unfit = CommandError::Unfit { request: subscription, expected: "a track that we receive" };
        let stream = self.open(subscription)?;
        let Request::Pull(Pull { name, state: PullState::Asked | PullState::Live { .. } }) = &stream.request
        else {
            return Err(unfit);
        };
        let (id, namespace) = (stream.request_id.ok_or(unfit)?, name.namespace().clone());
        self.check_request(&namespace)?;
        Ok(id)
    }

    /// Accepts the peer's FETCH: FETCH_OK. `last` is the last object that it gets, inclusive (object
    /// [`u64::MAX`] for all of the group), `end_of_track` whether the track has no later one. The objects go
    /// out on one data stream, which may have begun.
    ///
    /// # Errors
    /// [`CommandError::Over`] if it was cancelled; [`CommandError::Unfit`] if it is no FETCH or was
    /// answered; [`CommandError::Backwards`] if `last` is before its start.
    pub fn accept_fetch(
        &mut self,
        request: RequestKey,
        last: Location,
        end_of_track: bool,
        properties: Properties,
    ) -> Result<(), CommandError> {
        match self.open(request)?.request {
            Request::Offer(Offer::Asked { start }) if last < start => return Err(CommandError::Backwards),
            Request::Offer(Offer::Asked { .. }) => {}
            _ => return Err(CommandError::Unfit { request, expected: "an unanswered FETCH" }),
        }
        let (end, parameters) = (end_of(last), Parameters::default());
        self.send(
            request.stream(),
            &Message::FetchOk(FetchOk { end_of_track, end, parameters, properties }),
        )?;
        self.set_request(request.stream(), Request::Offer(Offer::Live));
        self.flush_early(request);
        Ok(())
    }

    /// The data stream of a FETCH has ended, ours or the peer's: the request is over. Says nothing if it is
    /// over already.
    ///
    /// # Errors
    /// [`CommandError::Unfit`] if it is no FETCH, or not accepted: cancel or reject it.
    pub fn fetch_done(&mut self, now: Instant, request: RequestKey) -> Result<(), CommandError> {
        let Ok(stream) = self.open(request) else { return Ok(()) };
        match &stream.request {
            Request::Offer(Offer::Live) => {}
            Request::Fetch(fetch) if !fetch.is_asked() => {}
            _ => return Err(CommandError::Unfit { request, expected: "an accepted FETCH" }),
        }
        self.send_bytes(request.stream(), Bytes::new(), true);
        self.finish(now, request.stream());
        Ok(())
    }

    /// Which FETCH of ours the data stream with this request id in its header answers.
    pub fn fetch_of(&self, request_id: u64) -> Option<RequestKey> {
        let request = *self.by_id.get(&request_id)?;
        let stream = self.streams.get(&request.stream())?;
        matches!(stream.request, Request::Fetch(_)).then_some(request)
    }

    pub(super) fn on_fetch(
        &mut self,
        now: Instant,
        key: StreamKey,
        message: message::Fetch,
        credentials: Vec<Credential>,
    ) -> Result<(), Fault> {
        let (request_id, options) = (message.request_id, FetchOptions::read(&message.parameters));
        let (joining, start) = match message.range {
            FetchRange::Standalone { track, start, end } => {
                let name = detached_track(&track);
                let FetchOptions { priority, order, fill_timeout } = options;
                let last = last_of(end);
                let offer = FetchOffer { request_id, name, start, last, priority, order, fill_timeout };
                self.offer(key, offer, credentials);
                return Ok(());
            }
            FetchRange::Relative { joining, groups } => (joining, JoiningStart::GroupsBefore(groups)),
            FetchRange::Absolute { joining, group } => (joining, JoiningStart::Group(group)),
        };
        let subscription = *self.by_id.get(&joining).ok_or_else(not_joinable)?;
        let joining = Joining { subscription, start, request_id, options, credentials };
        self.settle(key, joining)?;
        // An earlier FETCH that joins the same subscription may have waited as well.
        self.settle_joining(now, subscription);
        Ok(())
    }

    /// Something has happened to a subscription: FETCHes that wait for it go on, or are refused.
    pub(super) fn settle_joining(&mut self, now: Instant, subscription: RequestKey) {
        let waiting = self.streams.iter().filter_map(|(key, stream)| match &stream.request {
            Request::Offer(Offer::Joining(it)) if it.subscription == subscription => Some((*key, it.clone())),
            _ => None,
        });
        for (key, joining) in waiting.collect::<Vec<_>>() {
            if let Err(refusal) = self.settle(key, joining) {
                self.refuse(now, key, refusal);
            }
        }
    }

    /// Hands a FETCH that joins a subscription to the application, once what it joins is known.
    fn settle(&mut self, key: StreamKey, joining: Joining) -> Result<(), Refusal> {
        let stream = self.streams.get(&joining.subscription.stream());
        let Some(stream) = stream else { return Err(not_joinable()) };
        let Request::Serve(Serve { name, options, state }) = &stream.request else {
            return Err(not_joinable());
        };
        let place = match state {
            ServeState::Live(place) if stream.updates.is_empty() => *place,
            _ => {
                self.set_request(key, Request::Offer(Offer::Joining(joining)));
                return Ok(());
            }
        };
        let refused = |reason| Refusal::new(RequestCode::INVALID_RANGE, reason);
        if !options.forward {
            return Err(refused("the subscription is not forwarded"));
        }
        let last = place.joining.ok_or_else(|| refused("there is no object yet"))?;
        let group = match joining.start {
            JoiningStart::GroupsBefore(groups) => last.group.saturating_sub(groups),
            JoiningStart::Group(group) => group,
        };
        let start = Location::new(group, 0);
        if last < start {
            return Err(refused("the range begins after the subscription"));
        }
        let (request_id, name) = (joining.request_id, name.clone());
        let FetchOptions { priority, order, fill_timeout } = joining.options;
        let offer = FetchOffer { request_id, name, start, last, priority, order, fill_timeout };
        self.offer(key, offer, joining.credentials);
        Ok(())
    }

    fn offer(&mut self, key: StreamKey, offer: FetchOffer, credentials: Vec<Credential>) {
        self.set_request(key, Request::Offer(Offer::Asked { start: offer.start }));
        self.emit(Event::Fetch { request: RequestKey(key), offer, credentials });
    }

    pub(super) fn on_fetch_ok(
        &mut self,
        now: Instant,
        key: StreamKey,
        ok: FetchOk,
    ) -> Result<(), SessionError> {
        let message = Message::FetchOk(ok.clone());
        let start = match self.streams.get(&key).map(|stream| &stream.request) {
            Some(Request::Fetch(fetch)) if fetch.is_asked() => fetch.start,
            _ => return Err(self.unexpected(key, &message).into()),
        };
        self.take_awaited(key, &message)?;
        let (request, last) = (RequestKey(key), last_of(ok.end));
        if last < start {
            return Err(PeerMisbehaved::FetchEnd.into());
        }
        if ok.properties.mandatory().is_some() {
            self.abort(now, key, ResetCode::CANCELLED);
            self.emit(unsupported().event(request));
            return Ok(());
        }
        self.set_request(key, Request::Fetch(Fetch { start, state: FetchState::Live }));
        let FetchOk { end_of_track, properties, .. } = ok;
        self.emit(Event::FetchAccepted { request, last, end_of_track, properties });
        Ok(())
    }
}

/// The wire's end of a range: the object after the last, or 0 for all of the group.
fn end_of(last: Location) -> Location {
    Location::new(last.group, last.object.checked_add(1).unwrap_or(0))
}

/// The last object of a range, from the wire's end.
fn last_of(end: Location) -> Location {
    Location::new(end.group, end.object.checked_sub(1).unwrap_or(u64::MAX))
}

fn not_joinable() -> Refusal {
    Refusal::new(RequestCode::INVALID_JOINING_REQUEST_ID, "there is no such subscription")
}
