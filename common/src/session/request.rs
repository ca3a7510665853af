//! A request and its stream: what every kind of request has, and how streams begin and end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::error::{CommandError, PeerMisbehaved, SessionError, TimedOut};
use super::event::Event;
use super::fetch::{Fetch, Offer};
use super::limits::WAIT_MAX;
use super::name::is_reserved;
use super::namespace::{Announcement, Watch};
use super::subscription::{Pull, Serve};
use super::update::PeerUpdate;
use super::{Departure, Output, Session};
use crate::model::Namespace;
use crate::wire::Version;
use crate::wire::code::{RequestCode, ResetCode};
use crate::wire::message::{Decoder, Message, RequestError};

/// A request stream, named by the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(pub(super) u64);

/// A request of either side. It names the request for as long as the session lives: keys are not used
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestKey(pub(super) StreamKey);

impl RequestKey {
    /// The request's stream.
    pub fn stream(self) -> StreamKey {
        self.0
    }
}

/// Who made a request, and so opened its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Us,
    Peer,
}

/// Our half of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    Open,
    Closed,
}

/// The peer's half of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receiving {
    Open,
    /// Everything has come, but may not have been looked at.
    Complete,
    Closed,
}

/// A request stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) owner: Owner,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    pub(super) decoder: Decoder,
    pub(super) request: Request,
    /// The request's id, once it is known and while it stands for this request.
    pub(super) request_id: Option<u64>,
    /// What the peer owes an answer to, in order.
    pub(super) awaited: VecDeque<Awaited>,
    /// Updates of the peer that the application owes an answer to, in order.
    pub(super) updates: VecDeque<PeerUpdate>,
    /// Events of updates that came before the application has answered the request itself.
    pub(super) early: Vec<Event>,
    pub(super) goaway: GoAwayHeard,
}

/// Whether GOAWAY has come on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GoAwayHeard {
    No,
    Yes,
}

/// What a stream is for.
#[derive(Debug)]
pub(super) enum Request {
    /// The peer has not said yet.
    Unknown,
    /// A track that we receive: our SUBSCRIBE or the peer's PUBLISH.
    Pull(Pull),
    /// A track that we send: the peer's SUBSCRIBE or our PUBLISH.
    Serve(Serve),
    /// Our FETCH.
    Fetch(Fetch),
    /// The peer's FETCH.
    Offer(Offer),
    /// TRACK_STATUS of either side, not answered.
    Status,
    /// PUBLISH_NAMESPACE of either side.
    Announcement(Announcement),
    /// SUBSCRIBE_NAMESPACE of either side.
    Namespaces(Watch),
    /// SUBSCRIBE_TRACKS of either side.
    Tracks(Watch),
    /// Nothing any more; the end of the peer's half is waited for until then.
    Over { until: Instant },
}

/// An answer that has to come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Awaited {
    pub(super) to: To,
    pub(super) by: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Request,
    Update,
}

impl Stream {
    pub(super) fn new(owner: Owner, request: Request) -> Self {
        Self {
            owner,
            sending: Sending::Open,
            receiving: Receiving::Open,
            decoder: Decoder::default(),
            request,
            request_id: None,
            awaited: VecDeque::new(),
            updates: VecDeque::new(),
            early: Vec::new(),
            goaway: GoAwayHeard::No,
        }
    }

    /// Whether a request is open on it.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.request, Request::Unknown | Request::Over { .. })
    }

    /// What a request for namespaces is about.
    pub(super) fn prefix(&self) -> Option<Namespace> {
        match &self.request {
            Request::Namespaces(watch) | Request::Tracks(watch) => Some(watch.prefix().clone()),
            _ => None,
        }
    }

    /// Whether the application has yet to answer the peer's request.
    pub(super) fn is_asked(&self) -> bool {
        self.owner == Owner::Peer && self.request.is_asked()
    }

    /// When something has to have happened on it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.request {
            Request::Over { until } => Some(*until),
            Request::Pull(pull) if pull.draining().is_some() => pull.draining(),
            _ => self.awaited.front().map(|awaited| awaited.by),
        }
    }
}

impl Request {
    fn is_asked(&self) -> bool {
        match self {
            Self::Pull(pull) => pull.is_asked(),
            Self::Serve(serve) => serve.is_asked(),
            Self::Fetch(fetch) => fetch.is_asked(),
            Self::Offer(offer) => offer.is_asked(),
            Self::Status => true,
            Self::Announcement(announcement) => *announcement == Announcement::Asked,
            Self::Namespaces(watch) | Self::Tracks(watch) => watch.is_asked(),
            Self::Unknown | Self::Over { .. } => false,
        }
    }

    /// What it is called in errors.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Unknown | Self::Over { .. } => "nothing",
            Self::Pull(_) | Self::Serve(_) => "a subscription",
            Self::Fetch(_) | Self::Offer(_) => "FETCH",
            Self::Status => "TRACK_STATUS",
            Self::Announcement(_) => "PUBLISH_NAMESPACE",
            Self::Namespaces(_) => "SUBSCRIBE_NAMESPACE",
            Self::Tracks(_) => "SUBSCRIBE_TRACKS",
        }
    }
}

// Commands for requests of any kind.
impl Session {
    /// Refuses a request of the peer that has not been answered: REQUEST_ERROR. `retry` is after how long
    /// the peer may ask again, if it may. A reason over 1 KiB is cut.
    ///
    /// # Errors
    /// [`CommandError::Over`] if the peer has cancelled it; [`CommandError::Unfit`] if it was answered.
    pub fn reject(
        &mut self,
        now: Instant,
        request: RequestKey,
        code: RequestCode,
        reason: &str,
        retry: Option<Duration>,
    ) -> Result<(), CommandError> {
        if !self.open(request)?.is_asked() {
            return Err(CommandError::Unfit { request, expected: "an unanswered request of the peer" });
        }
        self.send_error(now, request.stream(), code, reason, retry);
        Ok(())
    }

    /// Ends a request of either side at once, both halves of its stream reset with CANCELLED: our
    /// SUBSCRIBE, a PUBLISH that we had accepted, a FETCH, an announced namespace, anything. Says nothing
    /// if it is over already.
    pub fn cancel(&mut self, now: Instant, request: RequestKey) {
        if self.open(request).is_ok() {
            self.abort(now, request.stream(), ResetCode::CANCELLED);
        }
    }
}

// How streams begin.
impl Session {
    /// A stream of our own, with its first message, or none if that is too long.
    pub(super) fn open_stream(
        &mut self,
        request: Request,
        id: u64,
        by: Instant,
        message: &Message,
    ) -> Result<RequestKey, CommandError> {
        let bytes = message.encode(self.config.version)?;
        let key = self.next_key();
        let mut stream = Stream::new(Owner::Us, request);
        stream.request_id = Some(id);
        stream.awaited.push_back(Awaited { to: To::Request, by });
        self.streams.insert(key, stream);
        self.by_id.insert(id, RequestKey(key));
        self.outputs.push_back(Output::Open { key });
        self.outputs.push_back(Output::Send { key, bytes, fin: false });
        Ok(RequestKey(key))
    }

    /// Whether we may make another request, about this namespace.
    pub(super) fn check_request(&self, namespace: &Namespace) -> Result<(), CommandError> {
        if self.peer_departure != Departure::Stays {
            return Err(CommandError::PeerLeaves);
        }
        if is_reserved(namespace) {
            return Err(CommandError::ReservedNamespace);
        }
        let open = self.open_requests(Owner::Us);
        match open < self.config.limits.own_requests_max {
            true => Ok(()),
            false => Err(CommandError::TooManyRequests(open)),
        }
    }

    /// By when the answer to something has to come, which may take the peer `longer` by our own wish.
    pub(super) fn answer_by(&self, now: Instant, longer: Option<Duration>) -> Instant {
        after(now, self.config.limits.answer_timeout.saturating_add(longer.unwrap_or_default()))
    }

    pub(super) fn open_requests(&self, owner: Owner) -> usize {
        self.streams.values().filter(|stream| stream.owner == owner && stream.is_open()).count()
    }

    pub(super) fn next_key(&mut self) -> StreamKey {
        let key = StreamKey(self.last_key);
        self.last_key += 1;
        key
    }
}

// What goes over streams.
impl Session {
    /// The stream of an open request.
    pub(super) fn open(&mut self, request: RequestKey) -> Result<&mut Stream, CommandError> {
        let stream = self.streams.get_mut(&request.stream()).filter(|stream| stream.is_open());
        stream.ok_or(CommandError::Over(request))
    }

    pub(super) fn send(&mut self, key: StreamKey, message: &Message) -> Result<(), CommandError> {
        let bytes = message.encode(self.config.version)?;
        self.send_bytes(key, bytes, false);
        Ok(())
    }

    /// Sends the last message of a request, which is over then.
    pub(super) fn send_last(
        &mut self,
        now: Instant,
        key: StreamKey,
        message: &Message,
    ) -> Result<(), CommandError> {
        let bytes = message.encode(self.config.version)?;
        self.send_bytes(key, bytes, true);
        self.finish(now, key);
        Ok(())
    }

    /// Refuses a request, or an update that ends one.
    pub(super) fn send_error(
        &mut self,
        now: Instant,
        key: StreamKey,
        code: RequestCode,
        reason: &str,
        retry: Option<Duration>,
    ) {
        // Without a redirect it has little more than a reason, which is cut to 1 KiB.
        let _ = self.send_last(now, key, &refusal_message(code, reason, retry));
    }

    pub(super) fn send_bytes(&mut self, key: StreamKey, bytes: Bytes, fin: bool) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if stream.sending == Sending::Open {
            if fin {
                stream.sending = Sending::Closed;
            }
            self.outputs.push_back(Output::Send { key, bytes, fin });
        }
    }

    /// Takes the answer that a stream waits for.
    pub(super) fn take_awaited(&mut self, key: StreamKey, message: &Message) -> Result<To, PeerMisbehaved> {
        let awaited = self.streams.get_mut(&key).and_then(|stream| stream.awaited.pop_front());
        awaited.map(|awaited| awaited.to).ok_or_else(|| self.unexpected(key, message))
    }

    /// The application has answered a request: it hears of the updates that have come since.
    pub(super) fn flush_early(&mut self, request: RequestKey) {
        if let Some(stream) = self.streams.get_mut(&request.stream()) {
            self.outputs.extend(stream.early.drain(..).map(Output::Event));
        }
    }
}

// How streams end.
impl Session {
    /// Our half has ended well: the request is over, and its stream once the peer's half has ended too.
    pub(super) fn finish(&mut self, now: Instant, key: StreamKey) {
        self.release(key);
        let until = after(now, self.config.limits.linger);
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if stream.receiving == Receiving::Open {
            let (owner, sending) = (stream.owner, stream.sending);
            *stream = Stream { sending, ..Stream::new(owner, Request::Over { until }) };
        } else {
            self.streams.remove(&key);
        }
        self.settle_joining(now, RequestKey(key));
    }

    /// Ends a request and what is open of its stream.
    pub(super) fn abort(&mut self, now: Instant, key: StreamKey, code: ResetCode) {
        self.release(key);
        let Some(stream) = self.streams.remove(&key) else { return };
        let code = code.0;
        if stream.receiving == Receiving::Open {
            self.outputs.push_back(Output::Stop { key, code });
        }
        if stream.sending == Sending::Open {
            self.outputs.push_back(Output::Reset { key, code });
        }
        self.settle_joining(now, RequestKey(key));
    }

    /// The request's id and alias stand for it no more.
    fn release(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if let Some(id) = stream.request_id.take() {
            self.by_id.remove(&id);
        }
        match &stream.request {
            Request::Pull(Pull { state, .. }) => {
                if let Some(alias) = state.alias() {
                    self.aliases.retire(alias, RequestKey(key));
                }
            }
            Request::Namespaces(watch) if stream.owner == Owner::Us => {
                self.announced_bytes -= watch.announced_bytes();
            }
            _ => {}
        }
    }

    /// The peer has ended a request before its time, or passed a limit: `code` says how.
    pub(super) fn end(&mut self, now: Instant, key: StreamKey, code: Option<u64>, reset: ResetCode) {
        let Some(stream) = self.streams.get(&key) else { return };
        let events = ending(RequestKey(key), stream, code);
        self.abort(now, key, reset);
        self.outputs.extend(events.into_iter().map(Output::Event));
    }

    /// The peer's half has ended well.
    pub(super) fn on_fin(&mut self, now: Instant, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        stream.receiving = Receiving::Closed;
        // That is how it gives a track back; others have nothing more to say, and still want to hear.
        let gives_back = self.config.version == Version::Draft18MoqLiteJs;
        let goes_on = match (&stream.request, stream.owner) {
            (Request::Over { .. }, _) => return drop(self.streams.remove(&key)),
            (Request::Serve(_), Owner::Peer) if gives_back => false,
            // It has nothing more to say, but its data streams do.
            (Request::Pull(pull), _) => pull.draining().is_some(),
            (Request::Serve(_) | Request::Offer(_) | Request::Status, Owner::Peer) => true,
            (Request::Serve(_) | Request::Fetch(_) | Request::Announcement(_), Owner::Us) => {
                !stream.request.is_asked()
            }
            _ => false,
        };
        if !goes_on {
            self.end(now, key, None, ResetCode::CANCELLED);
        }
    }

    /// The peer has reset its half.
    pub(super) fn on_reset(&mut self, now: Instant, key: StreamKey, code: u64) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.receiving = Receiving::Closed;
            self.end(now, key, Some(code), ResetCode::CANCELLED);
        }
    }

    /// The peer does not want to hear our half.
    pub(super) fn on_stopped(&mut self, now: Instant, key: StreamKey, code: u64) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if stream.sending == Sending::Open {
            stream.sending = Sending::Closed;
            self.outputs.push_back(Output::Reset { key, code });
        }
        let goes_on = match (&stream.request, stream.owner) {
            (Request::Over { .. }, _) => true,
            (Request::Serve(_) | Request::Announcement(_), Owner::Us) => false,
            // Whoever answers may have read all that it wants to read. If it does not want to answer, it
            // resets its own half.
            (_, Owner::Us) => true,
            (_, Owner::Peer) => false,
        };
        if !goes_on {
            self.end(now, key, Some(code), ResetCode::CANCELLED);
        }
    }

    /// What time does to streams.
    pub(super) fn on_stream_timeouts(&mut self, now: Instant) -> Result<(), SessionError> {
        let due = |stream: &Stream| stream.deadline().is_some_and(|deadline| deadline <= now);
        let keys: Vec<_> =
            self.streams.iter().filter(|(_, stream)| due(stream)).map(|(key, _)| *key).collect();
        for key in keys {
            match self.streams.get(&key).map(|stream| &stream.request) {
                Some(Request::Over { .. }) => self.abort(now, key, ResetCode::CANCELLED),
                Some(Request::Pull(pull)) if pull.draining().is_some() => {
                    self.end(now, key, None, ResetCode::CANCELLED);
                }
                Some(request) => return Err(TimedOut::Answer(request.what()).into()),
                None => {}
            }
        }
        Ok(())
    }
}

/// What the application hears when the peer ends a request.
fn ending(request: RequestKey, stream: &Stream, code: Option<u64>) -> Vec<Event> {
    let closed = Event::Closed { request, code };
    match (&stream.request, stream.owner) {
        (Request::Unknown | Request::Over { .. }, _) => Vec::new(),
        (Request::Serve(_), _) => vec![Event::Unsubscribed { request }],
        // The application has not heard of it yet.
        (Request::Offer(offer), _) if offer.is_joining() => Vec::new(),
        (Request::Offer(_), _) => vec![Event::FetchCancelled { request }],
        (Request::Announcement(_), _) => vec![Event::PublishNamespaceEnded { request }],
        (Request::Namespaces(_), Owner::Peer) => vec![Event::SubscribeNamespaceEnded { request }],
        (Request::Tracks(_), Owner::Peer) => vec![Event::SubscribeTracksEnded { request }],
        (Request::Namespaces(watch), Owner::Us) => {
            let withdrawn =
                watch.announced().map(|namespace| Event::NamespaceWithdrawn { request, namespace });
            withdrawn.chain([closed]).collect()
        }
        _ => vec![closed],
    }
}

/// REQUEST_ERROR.
pub(super) fn refusal_message(code: RequestCode, reason: &str, retry: Option<Duration>) -> Message {
    let retry_interval = retry.map_or(0, |after| super::event::millis(after).saturating_add(1));
    Message::RequestError(RequestError { code, retry_interval, reason: reason.to_owned(), redirect: None })
}

/// `wait` from now, or the longest that anything is waited for.
pub(super) fn after(now: Instant, wait: Duration) -> Instant {
    now + wait.min(WAIT_MAX)
}
