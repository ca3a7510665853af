//! A MoQT session as a state machine (draft-18, 3, 5, 6 and 10): it decides, and holds no payload.
//!
//! Both halves are one type, since a relay's peer subscribes and publishes at once. A driver runs it so:
//!
//! 1. Make a [`Session`] when the connection is there, open a unidirectional stream for control, and do
//!    steps 5 and 6.
//! 2. For each bidirectional stream that the peer opens, take a key from [`Session::accept_stream`] and
//!    hand what comes on it to [`Session::handle`].
//! 3. Look at the first bytes of each unidirectional stream of the peer. The one that begins with
//!    [`SETUP`](crate::wire::message::SETUP) is its control stream: hand all of it over, from its first
//!    byte. The others carry objects, and are not the session's business:
//!    [`Session::incoming_alias`] and [`Session::fetch_of`] say what they belong to.
//! 4. Call the methods for requests and answers as the application wants.
//! 5. After each of these, carry out what [`Session::poll`] says until it says nothing.
//! 6. Hand in [`Input::Timeout`] at [`Session::poll_timeout`].
//!
//! An error of [`Session::handle`] ends the session: close the connection with its code and reason.

mod admission;
mod alias;
mod answer;
mod error;
mod event;
mod fetch;
mod limits;
mod name;
mod namespace;
mod request;
mod request_id;
mod setup;
mod status;
mod subscription;
mod token;
mod update;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use error::{CommandError, PeerMisbehaved, SessionError, TimedOut};
pub use event::{
    Event, FetchOffer, FetchRequest, PRIORITY_DEFAULT, PeerSetup, Publication, Span, SubscribeOptions,
    SubscribeUpdate, TrackInfo,
};
pub use limits::{Limits, NAMESPACE_OVERHEAD};
pub use request::{RequestKey, StreamKey};
pub use setup::{Carrier, Config, Role, SetupOptions};
pub use token::Credential;

use alias::Aliases;
use request::{Receiving, Request, Stream};
use request_id::{OwnIds, PeerIds};
use token::TokenCache;

use crate::wire::code::ResetCode;
use crate::wire::message::{Decoder, GoAway, Message, Setup};
use crate::wire::{MOQ_LITE_JS, Version};

/// What a session hears from the transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Bytes of the peer's control stream, which begins with SETUP.
    ControlBytes(Bytes),
    /// The peer's control stream has ended, or was reset.
    ControlClosed,
    /// Bytes of a request stream.
    StreamBytes {
        /// The stream.
        key: StreamKey,
        /// What has come, perhaps nothing.
        bytes: Bytes,
        /// Whether the peer's half ends with it.
        fin: bool,
    },
    /// The peer has reset its half of a request stream.
    StreamReset {
        /// The stream.
        key: StreamKey,
        /// The peer's code.
        code: u64,
    },
    /// The peer does not read our half of a request stream any more.
    StreamStopped {
        /// The stream.
        key: StreamKey,
        /// The peer's code.
        code: u64,
    },
    /// The time of [`Session::poll_timeout`] has come.
    Timeout,
}

/// What a session wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this on our control stream.
    Control(Bytes),
    /// Open a bidirectional stream, known by this key from now on.
    Open {
        /// The stream.
        key: StreamKey,
    },
    /// Send this on a request stream.
    Send {
        /// The stream.
        key: StreamKey,
        /// What, perhaps nothing.
        bytes: Bytes,
        /// Whether our half ends with it.
        fin: bool,
    },
    /// Reset our half of a request stream.
    Reset {
        /// The stream.
        key: StreamKey,
        /// With this code.
        code: u64,
    },
    /// Ask the peer to stop sending on a request stream.
    Stop {
        /// The stream.
        key: StreamKey,
        /// With this code.
        code: u64,
    },
    /// Tell the application.
    Event(Event),
}

/// One MoQT session, as one of its ends sees it.
#[derive(Debug)]
pub struct Session {
    config: Config,
    phase: Phase,
    control: Decoder,
    own_ids: OwnIds,
    peer_ids: PeerIds,
    tokens: TokenCache,
    aliases: Aliases,
    /// Ordered, so that what happens to several at once does not depend on a hash.
    streams: BTreeMap<StreamKey, Stream>,
    by_id: HashMap<u64, RequestKey>,
    last_key: u64,
    /// Bytes of namespaces announced to us.
    announced_bytes: usize,
    departure: Departure,
    peer_departure: Departure,
    outputs: VecDeque<Output>,
}

/// How far the session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The peer's SETUP has to come until then. What comes on request streams waits.
    Opening {
        by: Instant,
    },
    Open,
}

/// Whether one of the two has said that it will leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Departure {
    Stays,
    /// It waits for open requests, at most until then.
    Leaves {
        by: Option<Instant>,
    },
    /// No request was open.
    Drained,
}

impl Session {
    /// A session over a connection that is there. Our SETUP is the first output.
    ///
    /// # Errors
    /// [`CommandError::TooLong`] if what we say of ourselves does not fit into SETUP.
    pub fn new(now: Instant, config: Config) -> Result<Self, CommandError> {
        let setup = Message::Setup(config.message()).encode(config.version)?;
        let (role, limits) = (config.role, config.limits);
        Ok(Self {
            config,
            phase: Phase::Opening { by: request::after(now, limits.setup_timeout) },
            control: Decoder::default(),
            own_ids: OwnIds::new(role),
            peer_ids: PeerIds::new(role.peer()),
            tokens: TokenCache::new(limits.token_cache_bytes_max),
            aliases: Aliases::default(),
            streams: BTreeMap::new(),
            by_id: HashMap::new(),
            last_key: 0,
            announced_bytes: 0,
            departure: Departure::Stays,
            peer_departure: Departure::Stays,
            outputs: VecDeque::from([Output::Control(setup)]),
        })
    }

    /// Takes what the transport has to say.
    ///
    /// # Errors
    /// The session is over: close the connection with the error's code and reason.
    pub fn handle(&mut self, now: Instant, input: Input) -> Result<(), SessionError> {
        match input {
            Input::ControlBytes(bytes) => self.on_control_bytes(now, &bytes)?,
            Input::ControlClosed => return Err(PeerMisbehaved::ControlClosed.into()),
            Input::StreamBytes { key, bytes, fin } => self.on_stream_bytes(now, key, &bytes, fin)?,
            Input::StreamReset { key, code } => self.on_reset(now, key, code),
            Input::StreamStopped { key, code } => self.on_stopped(now, key, code),
            Input::Timeout => self.on_timeout(now)?,
        }
        Ok(())
    }

    /// The next thing to do, if there is one.
    pub fn poll(&mut self) -> Option<Output> {
        if self.outputs.is_empty() && matches!(self.departure, Departure::Leaves { .. }) && self.is_idle() {
            self.departure = Departure::Drained;
            self.emit(Event::Drained);
        }
        self.outputs.pop_front()
    }

    /// When to hand in [`Input::Timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let setup = match self.phase {
            Phase::Opening { by } => Some(by),
            Phase::Open => None,
        };
        let departure = match self.departure {
            Departure::Leaves { by } => by,
            _ => None,
        };
        let streams = self.streams.values().filter_map(Stream::deadline);
        streams.chain(setup).chain(departure).min()
    }

    /// Which request of ours, or PUBLISH of the peer, data streams and datagrams with this alias belong to.
    /// Objects may overtake the answer that names their alias.
    pub fn incoming_alias(&self, alias: u64) -> Option<RequestKey> {
        self.aliases.find(alias)
    }

    /// Whether this alias stood for a subscription that is over: what still comes under it can go.
    pub fn is_retired_alias(&self, alias: u64) -> bool {
        self.aliases.is_retired(alias)
    }

    /// Says that we will leave: GOAWAY. New requests of the peer are refused from now on.
    /// [`Event::Drained`] follows once none is open. `uri` is where a client is to go on, and empty for the
    /// same place; `timeout` is how long we wait.
    ///
    /// # Errors
    /// [`CommandError::Leaving`] if we have said so; [`CommandError::AddressForServer`] if we are a client
    /// and name a place; [`CommandError::TooLong`] for a place that is no use to anybody.
    pub fn go_away(
        &mut self,
        now: Instant,
        uri: &str,
        timeout: Option<Duration>,
    ) -> Result<(), CommandError> {
        if self.departure != Departure::Stays {
            return Err(CommandError::Leaving);
        }
        if self.config.role == Role::Client && !uri.is_empty() {
            return Err(CommandError::AddressForServer);
        }
        let goaway = GoAway {
            uri: uri.to_owned(),
            timeout_ms: timeout.map_or(0, event::millis),
            request_id: Some(self.peer_ids.next()),
        };
        let bytes = Message::GoAway(goaway).encode(self.config.version)?;
        self.outputs.push_back(Output::Control(bytes));
        self.departure = Departure::Leaves { by: timeout.map(|timeout| request::after(now, timeout)) };
        Ok(())
    }

    /// Whether no request is open, of either side.
    fn is_idle(&self) -> bool {
        !self.streams.values().any(Stream::is_open)
    }
}

// The control stream.
impl Session {
    fn on_control_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), SessionError> {
        self.control.push(bytes);
        while let Some(message) = self.control.next(self.config.version)? {
            match (self.phase, message) {
                (Phase::Opening { .. }, Message::Setup(setup)) => self.on_setup(now, setup)?,
                (Phase::Open, Message::GoAway(goaway)) => self.on_goaway(goaway)?,
                (_, message) => return Err(PeerMisbehaved::OnControlStream(message.kind()).into()),
            }
        }
        Ok(())
    }

    fn on_setup(&mut self, now: Instant, setup: Setup) -> Result<(), SessionError> {
        let peer = self.config.accept(setup, &mut self.tokens)?;
        // It says who it is before it asks for anything, and nothing is read before it has.
        if peer.implementation.as_deref().is_some_and(|name| name.starts_with(MOQ_LITE_JS)) {
            self.config.version = Version::Draft18MoqLiteJs;
        }
        self.phase = Phase::Open;
        self.emit(Event::Ready(peer));
        // Requests may have overtaken SETUP.
        let waiting: Vec<_> = self.streams.keys().copied().collect();
        waiting.into_iter().try_for_each(|key| self.read_stream(now, key))
    }

    fn on_goaway(&mut self, goaway: GoAway) -> Result<(), PeerMisbehaved> {
        if self.peer_departure != Departure::Stays {
            return Err(PeerMisbehaved::SecondGoAway);
        }
        let request_id = goaway.request_id.ok_or(PeerMisbehaved::GoAwayForm)?;
        if !self.own_ids.may_be(request_id) {
            return Err(PeerMisbehaved::RequestIdParity(request_id));
        }
        let timeout = self.check_goaway(&goaway)?;
        self.peer_departure = Departure::Leaves { by: None };
        self.emit(Event::GoAway { uri: goaway.uri, timeout, request_id });
        Ok(())
    }

    /// How long the sender of a GOAWAY waits, if it says so and may send it.
    fn check_goaway(&self, goaway: &GoAway) -> Result<Option<Duration>, PeerMisbehaved> {
        if self.config.role == Role::Server && !goaway.uri.is_empty() {
            return Err(PeerMisbehaved::AddressForServer);
        }
        Ok(Some(goaway.timeout_ms).filter(|&ms| ms > 0).map(Duration::from_millis))
    }

    fn on_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        if let Phase::Opening { by } = self.phase
            && by <= now
        {
            return Err(TimedOut::Setup(self.config.limits.setup_timeout).into());
        }
        self.on_stream_timeouts(now)?;
        match self.departure {
            Departure::Leaves { by: Some(by) } if by <= now && !self.is_idle() => {
                let open = self.streams.values().filter(|stream| stream.is_open()).count();
                Err(TimedOut::GoAway(open).into())
            }
            _ => Ok(()),
        }
    }
}

// Request streams.
impl Session {
    fn on_stream_bytes(
        &mut self,
        now: Instant,
        key: StreamKey,
        bytes: &[u8],
        fin: bool,
    ) -> Result<(), SessionError> {
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(()) };
        if stream.receiving != Receiving::Open {
            return Ok(());
        }
        if fin {
            stream.receiving = Receiving::Complete;
        }
        // What comes after the end of a request is of no interest.
        if !matches!(stream.request, Request::Over { .. }) {
            stream.decoder.push(bytes);
        }
        if self.phase == Phase::Open {
            self.read_stream(now, key)?;
        }
        self.bound_buffers(now, key);
        Ok(())
    }

    /// Reads what has come on a stream.
    fn read_stream(&mut self, now: Instant, key: StreamKey) -> Result<(), SessionError> {
        while let Some(stream) = self.streams.get_mut(&key) {
            if matches!(stream.request, Request::Over { .. }) {
                break;
            }
            let Some(message) = stream.decoder.next(self.config.version)? else { break };
            self.on_message(now, key, message)?;
        }
        let Some(stream) = self.streams.get(&key) else { return Ok(()) };
        if stream.receiving != Receiving::Complete {
            return Ok(());
        }
        if stream.decoder.buffered() > 0 && !matches!(stream.request, Request::Over { .. }) {
            return Err(PeerMisbehaved::EndedInside.into());
        }
        self.on_fin(now, key);
        Ok(())
    }

    /// Ends the stream that makes the peer's unread bytes too many.
    fn bound_buffers(&mut self, now: Instant, key: StreamKey) {
        let buffered: usize = self.streams.values().map(|stream| stream.decoder.buffered()).sum();
        if buffered > self.config.limits.buffered_bytes_max {
            let code = ResetCode::EXCESSIVE_LOAD;
            self.end(now, key, Some(code.0), code);
        }
    }

    fn on_message(&mut self, now: Instant, key: StreamKey, message: Message) -> Result<(), SessionError> {
        let Some(stream) = self.streams.get(&key) else { return Ok(()) };
        if matches!(stream.request, Request::Unknown) && !message.is_request() {
            return Err(PeerMisbehaved::FirstMessage(message.kind()).into());
        }
        match message {
            message if message.is_request() => self.on_request(now, key, message),
            Message::RequestUpdate(update) => self.on_request_update(now, key, update),
            Message::RequestOk(ok) => self.on_request_ok(now, key, ok),
            Message::RequestError(error) => self.on_request_error(now, key, error),
            Message::SubscribeOk(ok) => self.on_subscribe_ok(now, key, ok),
            Message::FetchOk(ok) => self.on_fetch_ok(now, key, ok),
            Message::PublishDone(done) => self.on_publish_done(now, key, done),
            Message::Namespace(suffix) => self.on_namespace(now, key, suffix),
            Message::NamespaceDone(suffix) => self.on_namespace_done(key, suffix),
            Message::PublishBlocked(blocked) => self.on_publish_blocked(key, blocked),
            Message::GoAway(goaway) => self.on_request_goaway(key, goaway),
            message => Err(self.unexpected(key, &message).into()),
        }
    }

    /// What is wrong with a message that does not belong on this stream, or not now.
    fn unexpected(&self, key: StreamKey, message: &Message) -> PeerMisbehaved {
        let expected = self.streams.get(&key).map_or("nothing", |stream| stream.request.what());
        PeerMisbehaved::Unexpected { kind: message.kind(), expected }
    }

    fn set_request(&mut self, key: StreamKey, request: Request) {
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.request = request;
        }
    }

    fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}
