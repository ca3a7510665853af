//! One peer: the shell around its [`Session`], the streams it has open, and what flows over them.
//!
//! The same for everybody. A viewer subscribes, a host publishes, a child node does what many viewers
//! do at once, and the parent is the peer that this node subscribes to. The session decides what the
//! protocol allows, [`Pass`] what the peer may do, [`Tracks`](super::tracks::Tracks) what there is;
//! here is only the loop that brings them together.

mod pulling;
mod request_stream;
mod serving;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use url::Url;
use web_transport_quinn::{RecvStream, SendStream, SessionError as TransportError};

use self::request_stream::{Heard, RequestStream, Sending};
use self::serving::Held;
use super::door::Pass;
use super::endpoint::Transport;
use super::feed::{Feed, FeedEnd, Outgoing};
use super::intake::{Desk, Intake, IntakeFault, Pull, Taken};
use super::log::Private;
use super::node::Shared;
use super::now;
use super::stream::stream_code;
use super::token::TokenError;
use super::tracks::{Announcement, Entry, TRACKS_MAX};
use crate::model::Namespace;
use crate::session::{
    Carrier, CommandError, Config, Credential, Event, Input, Limits, Output, PeerMisbehaved, RequestKey,
    Role, Session, SessionError, SetupOptions, StreamKey,
};
use crate::wire::Version;
use crate::wire::code::{ResetCode, SessionCode};
use crate::wire::datagram::Datagram;

/// How often a peer looks after what is idle, late or unanswered.
const TICK: Duration = Duration::from_secs(1);

/// Until the peer lets us open the control stream, which it must.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);

/// Unidirectional streams of one peer being read at once: as many as it may open.
const INTAKES_MAX: usize = 512;

/// What we call ourselves.
const IMPLEMENTATION: &str = concat!("stentor/", env!("CARGO_PKG_VERSION"));

/// Which end of the connection we are, and what we know of it.
#[derive(Debug, Clone)]
pub(super) enum Side {
    /// The peer came to us: by WebTransport with this path, by raw QUIC without.
    Server { path: Option<String> },
    /// We went to the peer.
    Client { url: Url, token: Option<Private<String>> },
}

impl Side {
    fn config(&self) -> Config {
        let mut setup =
            SetupOptions { implementation: Some(IMPLEMENTATION.to_owned()), ..SetupOptions::default() };
        let (role, carrier) = match self {
            Self::Server { path: Some(_) } => (Role::Server, Carrier::WebTransport),
            Self::Server { path: None } => (Role::Server, Carrier::Quic),
            Self::Client { url, token } => {
                setup.path = Some(url[url::Position::BeforePath..url::Position::AfterQuery].to_owned());
                setup.authority = Some(url[url::Position::BeforeHost..url::Position::AfterPort].to_owned());
                let credential =
                    |token: &Private<String>| Credential { kind: 0, value: token.0.clone().into() };
                setup.credentials = token.iter().map(credential).collect();
                let carrier = if url.scheme() == "https" { Carrier::WebTransport } else { Carrier::Quic };
                (Role::Client, carrier)
            }
        };
        Config { role, carrier, version: Version::Draft18, setup, limits: Limits::default() }
    }
}

/// A connection and all that is going on over it.
pub(super) struct Peer {
    shared: Arc<Shared>,
    transport: Transport,
    side: Side,
    session: Session,
    pass: Option<Pass>,
    control: Sending,
    control_seen: bool,
    requests: HashMap<StreamKey, RequestStream>,
    intakes: Vec<Intake>,
    /// What the peer is served.
    feeds: HashMap<RequestKey, Feed>,
    fetches: HashMap<RequestKey, Outgoing>,
    /// Requests that wait for a track.
    held: FuturesUnordered<Pin<Box<dyn Future<Output = Held> + Send>>>,
    /// What the peer serves us.
    pulls: HashMap<RequestKey, Pull>,
    /// What the peer has told us of namespaces: its own, and those it has heard of.
    announced: HashMap<RequestKey, Announcement>,
    learnt: HashMap<(RequestKey, Namespace), Announcement>,
    /// Namespaces that the peer wants to hear of, and those it has been told.
    watches: HashMap<RequestKey, Watch>,
    asks: Option<mpsc::Sender<Arc<Entry>>>,
    counted: Counted,
}

struct Watch {
    prefix: Namespace,
    told: BTreeSet<Namespace>,
}

/// What has been counted of this peer.
#[derive(Default)]
struct Counted {
    role: Option<&'static str>,
    udp_received: u64,
    udp_sent: u64,
}

/// Something that the loop must act on.
enum Happening {
    Request { key: StreamKey, heard: Heard },
    Taken(Taken),
    FeedEnded { request: RequestKey, end: FeedEnd },
    FetchEnded(RequestKey),
    Held(Held),
    Fault(IntakeFault),
}

/// Why a session is over.
#[derive(Debug)]
pub(super) enum Ended {
    /// The transport said so: closed by the peer, timed out, or shut down here.
    Transport(TransportError),
    /// The peer broke the protocol.
    Session(SessionError),
    /// The peer sent data that cannot be right.
    Intake(IntakeFault),
    /// Its token is no good.
    Refused(TokenError),
    /// It does not read what it is told.
    Deaf,
    /// What we wanted to say cannot be said: our own settings are at fault.
    Ours(CommandError),
}

impl Peer {
    pub(super) fn new(shared: Arc<Shared>, transport: Transport, side: Side) -> Result<Self, Ended> {
        Ok(Self {
            session: Session::new(now(), side.config()).map_err(Ended::Ours)?,
            shared,
            transport,
            side,
            pass: None,
            control: Sending::default(),
            control_seen: false,
            requests: HashMap::new(),
            intakes: Vec::new(),
            feeds: HashMap::new(),
            fetches: HashMap::new(),
            held: FuturesUnordered::new(),
            pulls: HashMap::new(),
            announced: HashMap::new(),
            learnt: HashMap::new(),
            watches: HashMap::new(),
            asks: None,
            counted: Counted::default(),
        })
    }

    /// Serves the peer until one of the two has had enough. `asked` brings the tracks wanted of it.
    pub(super) async fn run(mut self, asked: &mut mpsc::Receiver<Arc<Entry>>) -> Ended {
        let ended = self.drive(asked).await;
        if let Some((code, reason)) = ended.closing() {
            self.transport.close(stream_code(code.0), reason.as_bytes());
        }
        self.count();
        ended
    }

    /// Serves a peer that nobody asks for tracks unless it announces a namespace.
    pub(super) async fn serve(mut self) -> Ended {
        let (asks, mut asked) = mpsc::channel(TRACKS_MAX);
        self.asks = Some(asks);
        self.run(&mut asked).await
    }

    async fn drive(&mut self, asked: &mut mpsc::Receiver<Arc<Entry>>) -> Ended {
        let transport = self.transport.clone();
        let mut namespaces = self.shared.tracks.namespaces();
        let mut tick = pin!(sleep_until(tokio::time::Instant::now() + TICK));
        match timeout(CONTROL_TIMEOUT, transport.open_uni()).await {
            Ok(Ok(control)) => self.control = Sending::new(control),
            Ok(Err(error)) => return Ended::Transport(error),
            Err(_) => return Ended::Deaf,
        }
        loop {
            if let Err(ended) = self.settle() {
                return ended;
            }
            let due = self.poll_timeout().map_or_else(|| now() + TICK, |at| at.min(now() + TICK));
            tick.as_mut().reset(due.into());
            let outcome = tokio::select! {
                happening = poll_fn(|cx| self.poll(cx)) => self.act(happening),
                stream = transport.accept_uni() => self.accept_uni(stream),
                streams = transport.accept_bi() => self.accept_bi(streams),
                datagram = transport.read_datagram() => self.accept_datagram(datagram),
                Some(entry) = asked.recv(), if self.pass.is_some() => {
                    self.pull(entry);
                    Ok(())
                }
                Ok(()) = namespaces.changed(), if !self.watches.is_empty() => {
                    let known = namespaces.borrow_and_update().clone();
                    self.tell_namespaces(&known);
                    Ok(())
                }
                () = &mut tick => self.tick(),
            };
            if let Err(ended) = outcome {
                return ended;
            }
        }
    }

    /// Moves everything that can move; ready when something has to be decided.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Happening> {
        let now = now();
        if self.control.poll(cx).is_ready() {
            // A control stream lasts as long as its session.
            return Poll::Ready(Happening::Taken(Taken::ControlClosed));
        }
        for (key, stream) in &mut self.requests {
            if let Poll::Ready(heard) = stream.poll(cx) {
                return Poll::Ready(Happening::Request { key: *key, heard });
            }
        }
        if let Poll::Ready(happening) = self.poll_intakes(cx, now) {
            return Poll::Ready(happening);
        }
        for (request, feed) in &mut self.feeds {
            if let Poll::Ready(end) = feed.poll(cx, now, &self.transport, &self.shared.metrics) {
                return Poll::Ready(Happening::FeedEnded { request: *request, end });
            }
        }
        for (request, fetch) in &mut self.fetches {
            if fetch.poll(cx, &self.shared.metrics).is_ready() {
                return Poll::Ready(Happening::FetchEnded(*request));
            }
        }
        match self.held.poll_next_unpin(cx) {
            Poll::Ready(Some(held)) => Poll::Ready(Happening::Held(held)),
            _ => Poll::Pending,
        }
    }

    fn poll_intakes(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Happening> {
        let mut desk = Desk {
            session: &self.session,
            pulls: &mut self.pulls,
            metrics: &self.shared.metrics,
            control: &mut self.control_seen,
        };
        let (mut at, mut control_closed) = (0, false);
        while let Some(intake) = self.intakes.get_mut(at) {
            match intake.poll(cx, now, &mut desk) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(taken)) => {
                    match taken {
                        // It ends the session, but what has come before it on other streams still counts.
                        Taken::ControlClosed => {
                            control_closed = true;
                            at += 1;
                        }
                        Taken::Control(_) => return Poll::Ready(Happening::Taken(taken)),
                        Taken::Over => drop(self.intakes.swap_remove(at)),
                        taken => {
                            self.intakes.swap_remove(at);
                            return Poll::Ready(Happening::Taken(taken));
                        }
                    }
                }
                Poll::Ready(Err(fault)) => return Poll::Ready(Happening::Fault(fault)),
            }
        }
        match control_closed {
            true => Poll::Ready(Happening::Taken(Taken::ControlClosed)),
            false => Poll::Pending,
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let feeds = self.feeds.values().filter_map(Feed::poll_timeout);
        feeds.chain(self.session.poll_timeout()).min()
    }

    fn act(&mut self, happening: Happening) -> Result<(), Ended> {
        match happening {
            Happening::Request { key, heard } => self.hear(key, heard)?,
            Happening::Taken(taken) => self.take(taken)?,
            Happening::FeedEnded { request, end } => self.finish_feed(request, end),
            Happening::FetchEnded(request) => {
                self.fetches.remove(&request);
                // It was accepted, or there would be no answer under way.
                let _ = self.session.fetch_done(now(), request);
            }
            Happening::Held(held) => self.answer(held),
            Happening::Fault(fault) => return Err(Ended::Intake(fault)),
        }
        Ok(())
    }

    fn hear(&mut self, key: StreamKey, heard: Heard) -> Result<(), Ended> {
        let input = match heard {
            Heard::Bytes { bytes, fin } => Input::StreamBytes { key, bytes, fin },
            Heard::Reset(code) => Input::StreamReset { key, code },
            Heard::Stopped(code) => Input::StreamStopped { key, code },
        };
        Ok(self.session.handle(now(), input)?)
    }

    fn take(&mut self, taken: Taken) -> Result<(), Ended> {
        match taken {
            Taken::Over => {}
            Taken::Control(bytes) => self.session.handle(now(), Input::ControlBytes(bytes))?,
            Taken::SecondControl => {
                return Err(SessionError::from(PeerMisbehaved::SecondControlStream).into());
            }
            Taken::ControlClosed => self.session.handle(now(), Input::ControlClosed)?,
            Taken::Malformed(request) => self.give_up_malformed(request),
        }
        Ok(())
    }

    fn accept_uni(&mut self, stream: Result<RecvStream, TransportError>) -> Result<(), Ended> {
        let mut stream = stream.map_err(Ended::Transport)?;
        if self.intakes.len() >= INTAKES_MAX {
            // An error here means the stream is closed already.
            let _ = stream.stop(stream_code(ResetCode::EXCESSIVE_LOAD.0));
            return Ok(());
        }
        self.intakes.push(Intake::new(stream, now()));
        Ok(())
    }

    fn accept_bi(&mut self, streams: Result<(SendStream, RecvStream), TransportError>) -> Result<(), Ended> {
        let (send, recv) = streams.map_err(Ended::Transport)?;
        let key = self.session.accept_stream();
        self.requests.insert(key, RequestStream::accepted(send, recv));
        Ok(())
    }

    fn accept_datagram(&self, datagram: Result<Bytes, TransportError>) -> Result<(), Ended> {
        let bytes = datagram.map_err(Ended::Transport)?;
        match Datagram::decode(bytes) {
            Ok(Datagram::Object(object)) => {
                let request = self.session.incoming_alias(object.alias);
                // Datagrams may be lost, so one that comes before its alias is.
                if let Some(pull) = request.and_then(|request| self.pulls.get(&request)) {
                    super::datagram::write(&pull.entry, object, now(), &self.shared.metrics);
                }
                Ok(())
            }
            Ok(Datagram::Padding) => Ok(()),
            Err(error) => Err(Ended::Intake(error.into())),
        }
    }

    /// Carries out what the session has decided.
    fn settle(&mut self) -> Result<(), Ended> {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Control(bytes) => self.control.push(bytes, false)?,
                Output::Open { key } => {
                    self.requests.insert(key, RequestStream::opening(&self.transport));
                }
                Output::Send { key, bytes, fin } => {
                    if let Some(stream) = self.requests.get_mut(&key) {
                        stream.send(bytes, fin)?;
                    }
                }
                Output::Reset { key, code } => {
                    if let Some(stream) = self.requests.get_mut(&key) {
                        stream.reset(code);
                    }
                }
                Output::Stop { key, code } => {
                    if let Some(stream) = self.requests.get_mut(&key) {
                        stream.stop(code);
                    }
                }
                Output::Event(event) => self.on_event(event)?,
            }
        }
        self.requests.retain(|_, stream| !stream.is_over());
        self.finish_pulls();
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> Result<(), Ended> {
        match event {
            Event::Ready(peer) => self.on_ready(&peer)?,
            Event::Subscribe { request, name, options, .. } => self.on_subscribe(request, name, options),
            Event::TrackStatus { request, name, .. } => self.on_track_status(request, name),
            Event::Fetch { request, offer, .. } => self.on_fetch(request, offer),
            Event::SubscribeUpdated { request, options, .. } => self.on_subscribe_updated(request, &options),
            Event::Unsubscribed { request } => drop(self.end_feed(request)),
            Event::FetchUpdated { request, .. }
            | Event::PublishUpdated { request, .. }
            | Event::PublishNamespaceUpdated { request, .. } => self.accept_update(request),
            Event::FetchCancelled { request } => drop(self.fetches.remove(&request)),
            Event::Publish { request, name, track, .. } => self.on_publish(request, &name, track),
            Event::PublishNamespace { request, namespace, .. } => self.on_announce(request, namespace),
            Event::PublishNamespaceEnded { request } => drop(self.announced.remove(&request)),
            Event::SubscribeNamespace { request, prefix, .. } => self.on_watch(request, prefix),
            Event::SubscribeNamespaceUpdated { request, prefix, .. } => self.on_watch_moved(request, prefix),
            Event::SubscribeNamespaceEnded { request } => drop(self.watches.remove(&request)),
            Event::SubscribeTracks { request, .. } => self.refuse_tracks(request),
            Event::Subscribed { request, track, .. } => self.on_subscribed(request, track),
            Event::Rejected { request, code, reason, .. } => self.on_rejected(request, code, reason),
            Event::Done { request, code, streams, .. } => {
                if let Some(pull) = self.pulls.get_mut(&request) {
                    pull.done = Some((code, streams));
                }
            }
            Event::NamespaceAnnounced { request, namespace } => self.on_namespace(request, namespace),
            Event::NamespaceWithdrawn { request, namespace } => {
                drop(self.learnt.remove(&(request, namespace)));
            }
            Event::Closed { request, .. } => self.on_closed(request),
            Event::GoAway { .. } => tracing::info!(side = self.side.name(), "the peer is about to leave"),
            _ => {}
        }
        Ok(())
    }

    /// Looks after what time does.
    fn tick(&mut self) -> Result<(), Ended> {
        self.session.handle(now(), Input::Timeout)?;
        let stopped =
            |(key, stream): (&StreamKey, &mut RequestStream)| stream.stopped().map(|code| (*key, code));
        let stopped: Vec<_> = self.requests.iter_mut().filter_map(stopped).collect();
        for (key, code) in stopped {
            self.session.handle(now(), Input::StreamStopped { key, code })?;
        }
        self.look_after_pulls();
        self.count();
        Ok(())
    }

    /// Brings the counters up to date that are not counted as things happen.
    fn count(&mut self) {
        let stats = quinn::Connection::stats(&self.transport);
        let (metrics, counted) = (&self.shared.metrics, &mut self.counted);
        metrics.udp_bytes_received.inc_by(stats.udp_rx.bytes - counted.udp_received);
        metrics.udp_bytes_sent.inc_by(stats.udp_tx.bytes - counted.udp_sent);
        (counted.udp_received, counted.udp_sent) = (stats.udp_rx.bytes, stats.udp_tx.bytes);
    }
}

impl Drop for Peer {
    /// However it ends: tracks that it sent are over if it said so, else orphans; and it is not counted any
    /// more.
    fn drop(&mut self) {
        let pulls: Vec<_> = self.pulls.drain().map(|(_, pull)| pull).collect();
        pulls.into_iter().for_each(|pull| self.part_with(pull));
        self.shared.metrics.subscriptions.sub(self.feeds.len() as i64);
        if let Some(role) = self.counted.role {
            self.shared.metrics.sessions.with_label_values(&[role]).dec();
        }
    }
}

impl Side {
    fn name(&self) -> &'static str {
        match self {
            Self::Server { .. } => "child",
            Self::Client { .. } => "parent",
        }
    }
}

impl Ended {
    /// What the peer is told, where it is still there to hear it.
    fn closing(&self) -> Option<(SessionCode, String)> {
        match self {
            Self::Transport(_) => None,
            Self::Session(error) => Some((error.code(), error.reason())),
            Self::Intake(fault) => Some((fault.code(), fault.to_string())),
            Self::Refused(error) => Some((SessionCode::UNAUTHORIZED, error.to_string())),
            Self::Deaf => Some((SessionCode::CONTROL_MESSAGE_TIMEOUT, self.to_string())),
            Self::Ours(error) => Some((SessionCode::INTERNAL_ERROR, error.to_string())),
        }
    }

    /// The label under which it is counted.
    pub(super) fn cause(&self) -> &'static str {
        match self {
            Self::Transport(_) => "transport",
            Self::Session(_) => "protocol",
            Self::Intake(_) => "data",
            Self::Refused(_) => "token",
            Self::Deaf => "deaf",
            Self::Ours(_) => "internal",
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => write!(f, "{error}"),
            Self::Session(error) => write!(f, "{error}"),
            Self::Intake(fault) => write!(f, "{fault}"),
            Self::Refused(error) => write!(f, "{error}"),
            Self::Deaf => f.write_str("the peer does not read its control streams"),
            Self::Ours(error) => write!(f, "{error}"),
        }
    }
}

impl From<SessionError> for Ended {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}
