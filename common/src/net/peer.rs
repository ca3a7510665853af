//! One peer: the shell around its [`Session`], the streams it has open, and what flows over them.
//!
//! The same for everybody. A viewer subscribes, a host publishes, a child node does what many viewers
//! do at once, and the parent is the peer that this node subscribes to. The session decides what the
//! protocol allows, [`Pass`] what the peer may do, [`Tracks`](super::tracks::Tracks) what there is;
//! here is only the loop that brings them together.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use url::Url;
use web_transport_quinn::{RecvStream, SendStream, SessionError as TransportError};

use super::door::Pass;
use super::endpoint::{Transport, trust_with_objects};
use super::feed::{Feed, Outgoing, Terms};
use super::intake::{Intake, IntakeEnd, IntakeFault};
use super::log::Private;
use super::node::Shared;
use super::token::TokenError;
use super::tracks::{Announcement, Entry, Interest, Namespaces, Refusal};
use super::{now, stream_code};
use crate::model::{FullTrackName, GroupOrder, Location, Namespace};
use crate::session::{
    self, Event, FetchOffer, Input, Output, RequestKey, Role, Session, SessionError, StreamKey,
    SubscribeOptions, SubscribeTerms,
};
use crate::track::{End, Start};
use crate::wire::code::{DoneCode, RequestCode, ResetCode, SessionCode};
use crate::wire::message::Filter;

/// A source answers within this, or who waits is refused: three redials of a parent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest that a request is held for a track that nobody has yet, whatever it asks for.
const RENDEZVOUS_MAX: Duration = Duration::from_secs(30);

/// How often a peer looks after what is idle, late or unanswered.
const TICK: Duration = Duration::from_secs(1);

/// Control bytes that may wait for a peer that does not read its request streams: the largest
/// control message is 64 KiB, and one is enough.
const CONTROL_BYTES_MAX: usize = 128 << 10;

/// Unidirectional streams of one peer being read at once: as many as it may open.
const INTAKES_MAX: usize = 512;

/// Which end of the connection we are, and what we know of it.
#[derive(Debug, Clone)]
pub(super) enum Side {
    /// The peer came to us: by WebTransport with this path, by raw QUIC without.
    Server { path: Option<String> },
    /// We went to the peer.
    Client { url: Url, token: Option<Private<String>> },
}

/// A connection and all that is going on over it.
pub(super) struct Peer {
    shared: Arc<Shared>,
    transport: Transport,
    side: Side,
    session: Session,
    pass: Option<Pass>,
    control: Sending,
    requests: HashMap<StreamKey, RequestStream>,
    intakes: Vec<Intake>,
    /// What the peer is served.
    feeds: HashMap<RequestKey, Feed>,
    fetches: HashMap<RequestKey, Outgoing>,
    /// Requests that wait for a track.
    held: FuturesUnordered<Pin<Box<dyn Future<Output = Held> + Send>>>,
    /// What the peer serves us.
    pulls: HashMap<RequestKey, Pull>,
    announced: HashMap<RequestKey, Announcement>,
    /// Namespaces that the parent told us, by the request and the suffix it used.
    learnt: HashMap<(RequestKey, Namespace), Announcement>,
    /// Namespaces that the peer wants to hear of.
    watches: HashMap<RequestKey, Watch>,
    asks: Option<mpsc::Sender<Arc<Entry>>>,
}

struct Held {
    request: RequestKey,
    wanted: Wanted,
    outcome: Result<Interest, Refusal>,
}

enum Wanted {
    Subscribe(SubscribeOptions),
    Status,
    Fetch(FetchOffer),
}

/// A track that the peer sends us.
pub(super) struct Pull {
    pub(super) entry: Arc<Entry>,
    /// Data streams of it that have come so far.
    pub(super) streams: u64,
    /// How many there are in all and until when they may come, once the peer is done.
    done: Option<(u64, Instant)>,
}

struct Watch {
    prefix: Namespace,
    told: BTreeSet<Namespace>,
}

struct RequestStream {
    sending: Sending,
    receiving: Option<RecvStream>,
    opening: Option<Opening>,
}

type Opening = Pin<Box<dyn Future<Output = Result<(SendStream, RecvStream), TransportError>> + Send>>;

/// The sending half of a control or request stream, with what waits for it.
#[derive(Default)]
struct Sending {
    stream: Option<SendStream>,
    chunks: Vec<Bytes>,
    bytes: usize,
    fin: bool,
}

/// Something that the loop must act on.
enum Happening {
    Request { key: StreamKey, heard: Heard },
    Control { bytes: Bytes },
    ControlClosed,
    FeedEnded { request: RequestKey, end: End },
    Held(Held),
    Fault(IntakeFault),
}

enum Heard {
    Bytes { bytes: Bytes, fin: bool },
    Reset(u64),
    Stopped(u64),
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
}

impl Peer {
    pub(super) fn new(shared: Arc<Shared>, transport: Transport, side: Side) -> Self {
        let config = session::Config::from_side(&side, &shared);
        Self {
            session: Session::new(now(), config),
            shared,
            transport,
            side,
            pass: None,
            control: Sending::default(),
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
        }
    }
}

impl Peer {
    /// Serves the peer until one of the two has had enough. `asked` brings the tracks wanted of it.
    pub(super) async fn run(mut self, asked: &mut mpsc::Receiver<Arc<Entry>>) -> Ended {
        let ended = self.drive(asked).await;
        if let Some((code, reason)) = ended.closing() {
            self.transport.close(code.0 as u32, reason.as_bytes());
        }
        self.shared.tracks.orphan(self.pulls.drain().map(|(_, pull)| pull.entry), now());
        ended
    }

    /// Serves a peer that nobody asks for tracks unless it announces a namespace.
    pub(super) async fn serve(mut self) -> Ended {
        let (asks, mut asked) = mpsc::channel(super::tracks::TRACKS_MAX);
        self.asks = Some(asks);
        self.run(&mut asked).await
    }

    async fn drive(&mut self, asked: &mut mpsc::Receiver<Arc<Entry>>) -> Ended {
        let transport = self.transport.clone();
        let mut namespaces = self.shared.tracks.namespaces();
        let mut tick = pin!(sleep_until(tokio::time::Instant::now() + TICK));
        match timeout(ANSWER_TIMEOUT, transport.open_uni()).await {
            Ok(Ok(control)) => self.control.stream = Some(control),
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
                Some(entry) = asked.recv(), if self.pass.is_some() => self.pull(entry),
                Ok(()) = namespaces.changed(), if !self.watches.is_empty() => {
                    let known = namespaces.borrow_and_update().clone();
                    self.tell_namespaces(&known)
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
        self.control.poll(cx);
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
        self.fetches.retain(|_, fetch| fetch.poll(cx, &self.shared.metrics).is_pending());
        match self.held.poll_next_unpin(cx) {
            Poll::Ready(Some(held)) => Poll::Ready(Happening::Held(held)),
            _ => Poll::Pending,
        }
    }

    fn poll_intakes(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Happening> {
        let mut at = 0;
        while let Some(intake) = self.intakes.get_mut(at) {
            match intake.poll(cx, now, &self.session, &mut self.pulls, &self.shared) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(IntakeEnd::Over)) => drop(self.intakes.swap_remove(at)),
                Poll::Ready(Ok(IntakeEnd::Control(bytes))) => {
                    return Poll::Ready(Happening::Control { bytes });
                }
                Poll::Ready(Ok(IntakeEnd::ControlClosed)) => return Poll::Ready(Happening::ControlClosed),
                Poll::Ready(Err(fault)) => return Poll::Ready(Happening::Fault(fault)),
            }
        }
        Poll::Pending
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let feeds = self.feeds.values().filter_map(Feed::poll_timeout);
        feeds.chain(self.session.poll_timeout()).min()
    }

    fn act(&mut self, happening: Happening) -> Result<(), Ended> {
        match happening {
            Happening::Request { key, heard } => self.hear(key, heard),
            Happening::Control { bytes } => Ok(self.session.handle(now(), Input::ControlBytes(bytes))?),
            Happening::ControlClosed => Ok(self.session.handle(now(), Input::ControlClosed)?),
            Happening::FeedEnded { request, end } => {
                let streams = self.feeds.remove(&request).map_or(0, |feed| feed.stream_count());
                let (code, reason) = done(end);
                self.session.publish_done(now(), request, code, streams, reason);
                Ok(())
            }
            Happening::Held(held) => self.answer(held),
            Happening::Fault(fault) => Err(Ended::Intake(fault)),
        }
    }

    fn hear(&mut self, key: StreamKey, heard: Heard) -> Result<(), Ended> {
        let input = match heard {
            Heard::Bytes { bytes, fin } => {
                if fin && let Some(stream) = self.requests.get_mut(&key) {
                    stream.receiving = None;
                }
                Input::StreamBytes { key, bytes, fin }
            }
            Heard::Reset(code) => {
                if let Some(stream) = self.requests.get_mut(&key) {
                    stream.receiving = None;
                }
                Input::StreamReset { key, code }
            }
            Heard::Stopped(code) => {
                if let Some(stream) = self.requests.get_mut(&key) {
                    stream.sending = Sending::default();
                }
                Input::StreamStopped { key, code }
            }
        };
        Ok(self.session.handle(now(), input)?)
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
        let key = self.session.accept();
        self.requests.insert(key, RequestStream::accepted(send, recv));
        Ok(())
    }

    fn accept_datagram(&mut self, datagram: Result<Bytes, TransportError>) -> Result<(), Ended> {
        let bytes = datagram.map_err(Ended::Transport)?;
        super::datagram::take(bytes, now(), &self.session, &self.pulls, &self.shared.metrics)
            .map_err(Ended::Intake)
    }

    /// Carries out what the session has decided.
    fn settle(&mut self) -> Result<(), Ended> {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Control(bytes) => self.control.push(bytes)?,
                Output::Open { key } => {
                    self.requests.insert(key, RequestStream::opening(&self.transport));
                }
                Output::Send { key, bytes, fin } => {
                    if let Some(stream) = self.requests.get_mut(&key) {
                        stream.sending.push(bytes)?;
                        stream.sending.fin |= fin;
                    }
                }
                Output::Reset { key, code } => {
                    if let Some(stream) = self.requests.get_mut(&key) {
                        stream.sending.reset(code);
                    }
                }
                Output::Stop { key, code } => {
                    if let Some(stream) = self.requests.get_mut(&key)
                        && let Some(mut receiving) = stream.receiving.take()
                    {
                        let _ = receiving.stop(stream_code(code));
                    }
                }
                Output::Event(event) => self.on_event(event)?,
            }
        }
        self.requests.retain(|_, stream| !stream.is_over());
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> Result<(), Ended> {
        match event {
            Event::Ready(peer) => self.on_ready(&peer)?,
            Event::Subscribe { request, name, options } => {
                let rendezvous = options.rendezvous_timeout;
                self.on_wanted(request, name, rendezvous, Wanted::Subscribe(options));
            }
            Event::TrackStatus { request, name } => self.on_wanted(request, name, None, Wanted::Status),
            Event::Fetch { request, offer } => {
                let name = offer.name.clone();
                self.on_wanted(request, name, None, Wanted::Fetch(offer));
            }
            Event::SubscribeUpdated { request, options } => self.on_update(request, &options),
            Event::Unsubscribed { request } => drop(self.feeds.remove(&request)),
            Event::FetchCancelled { request } => drop(self.fetches.remove(&request)),
            Event::Publish { request, name, properties, largest } => {
                self.on_publish(request, &name, properties, largest);
            }
            Event::PublishNamespace { request, namespace } => self.on_announce(request, namespace),
            Event::PublishNamespaceEnded { request } => drop(self.announced.remove(&request)),
            Event::SubscribeNamespace { request, prefix } => self.on_watch(request, prefix)?,
            Event::SubscribeNamespaceEnded { request } => drop(self.watches.remove(&request)),
            Event::SubscribeTracks { request, .. } => {
                self.session.reject(now(), request, RequestCode::NOT_SUPPORTED, "SUBSCRIBE_TRACKS is not offered");
            }
            Event::Subscribed { request, largest, properties } => {
                self.on_subscribed(request, largest, properties);
            }
            Event::Rejected { request, code, reason } => self.on_rejected(request, code, reason),
            Event::Done { request, streams } => {
                if let Some(pull) = self.pulls.get_mut(&request) {
                    pull.done = Some((streams, now() + ANSWER_TIMEOUT));
                }
            }
            Event::NamespaceAnnounced { request, namespace, suffix } => {
                if let Ok(announcement) = self.shared.tracks.announce(namespace, None) {
                    self.learnt.insert((request, suffix), announcement);
                }
            }
            Event::NamespaceWithdrawn { request, suffix } => drop(self.learnt.remove(&(request, suffix))),
            Event::Closed { request } => self.on_closed(request),
            _ => {}
        }
        Ok(())
    }
}

// What the peer asks of us.
impl Peer {
    /// The peer has said who it is: let it in, or say why not.
    fn on_ready(&mut self, peer: &session::PeerSetup) -> Result<(), Ended> {
        if let Side::Client { .. } = &self.side {
            self.pass = Some(Pass::Anybody);
            return self.begin_pulling();
        }
        let path = match &self.side {
            Side::Server { path: Some(path) } => Some(path.clone()),
            _ => peer.path.clone(),
        };
        let token = path.as_deref().and_then(token_in).or_else(|| peer.tokens.first().and_then(text));
        let pass = self.shared.door.admit(SystemTime::now(), token.as_deref()).map_err(Ended::Refused)?;
        if pass.carries_objects() {
            trust_with_objects(&self.transport);
        }
        self.pass = Some(pass);
        Ok(())
    }

    fn may_read(&self, namespace: &Namespace) -> bool {
        self.pass.as_ref().is_some_and(|pass| pass.may_read(namespace))
    }

    fn may_publish(&self, namespace: &Namespace) -> bool {
        self.pass.as_ref().is_some_and(|pass| pass.may_publish(namespace))
    }

    fn refuse(&mut self, request: RequestKey, code: RequestCode, reason: &str) {
        self.session.reject(now(), request, code, reason);
    }

    /// A request that needs a track: holds it until the track is there, or is not to be had.
    fn on_wanted(
        &mut self,
        request: RequestKey,
        name: FullTrackName,
        rendezvous: Option<Duration>,
        wanted: Wanted,
    ) {
        if !self.may_read(name.namespace()) {
            return self.refuse(request, RequestCode::UNAUTHORIZED, "the token is for another event");
        }
        let tracks = self.shared.tracks.clone();
        let patience = rendezvous.unwrap_or_default().min(RENDEZVOUS_MAX);
        self.held.push(Box::pin(async move {
            let outcome = find_track(tracks, &name, patience).await;
            Held { request, wanted, outcome }
        }));
    }

    fn answer(&mut self, held: Held) -> Result<(), Ended> {
        let Held { request, wanted, outcome } = held;
        let interest = match outcome {
            Ok(interest) => interest,
            Err(refusal) => {
                let (code, reason) = rejection(&refusal);
                self.refuse(request, code, &reason);
                return Ok(());
            }
        };
        let entry = interest.entry().clone();
        let largest = entry.track().largest();
        let properties = entry.properties().unwrap_or_default();
        match wanted {
            Wanted::Status => self.session.accept_track_status(now(), request, largest, properties),
            Wanted::Subscribe(options) => {
                let terms = self.terms(&options, largest);
                let accepted =
                    self.session.accept_subscribe(now(), request, entry.alias(), largest, properties);
                // It may have been cancelled while it was held.
                if accepted {
                    self.feeds.insert(request, Feed::new(interest, terms, options.forward));
                }
            }
            Wanted::Fetch(offer) => self.answer_fetch(request, &offer, &entry, largest),
        }
        Ok(())
    }

    fn answer_fetch(
        &mut self,
        request: RequestKey,
        offer: &FetchOffer,
        entry: &Entry,
        largest: Option<Location>,
    ) {
        let Some(largest) = largest.filter(|largest| offer.start <= *largest) else {
            return self.refuse(request, RequestCode::INVALID_RANGE, "nothing has been published there yet");
        };
        let last = offer.end.min(largest);
        let objects = entry.track().cached(offer.start, last);
        let chunks = super::intake::fetch_chunks(offer.request_id, &objects, offer.order);
        let properties = entry.properties().unwrap_or_default();
        if self.session.accept_fetch(now(), request, last, false, properties) {
            self.fetches.insert(request, Outgoing::fetched(&self.transport, chunks, offer.priority));
        }
    }

    fn terms(&self, options: &SubscribeOptions, largest: Option<Location>) -> Terms {
        let next = largest.map_or_else(Location::default, |at| Location::new(at.group, at.object + 1));
        let (start, end_group) = match options.filter {
            // "All objects": from the first object of the newest group, so that a late joiner
            // starts at once.
            None => (Start::Newest, None),
            Some(Filter::NextGroup) => (Start::NextGroup, None),
            Some(Filter::Largest) => (Start::At(next), None),
            Some(Filter::From(start)) => (Start::At(start), None),
            Some(Filter::Range { start, end_group }) => (Start::At(start), Some(end_group)),
        };
        let own = self.shared.latency_max;
        Terms {
            start,
            end_group,
            priority: options.priority,
            order: options.order.unwrap_or(GroupOrder::Ascending),
            latency_max: options.delivery_timeout.map_or(own, |asked| asked.min(own)),
            default_priority: 128,
        }
    }

    fn on_update(&mut self, request: RequestKey, options: &SubscribeOptions) {
        let Some(feed) = self.feeds.get(&request) else { return };
        let now_at = feed.terms();
        let mut terms = self.terms(options, None);
        if options.filter.is_none() {
            terms.start = now_at.start;
        }
        if let Some(feed) = self.feeds.get_mut(&request) {
            feed.update(terms, options.forward);
        }
    }

    fn on_publish(
        &mut self,
        request: RequestKey,
        name: &FullTrackName,
        properties: Bytes,
        largest: Option<Location>,
    ) {
        if !self.may_publish(name.namespace()) {
            return self.refuse(request, RequestCode::UNAUTHORIZED, "the token does not allow to publish this");
        }
        match self.shared.tracks.publish(name, properties) {
            Ok(entry) => {
                if let (Some(largest), Some(writer)) = (largest, entry.writer().as_mut()) {
                    writer.observe(largest);
                }
                self.pulls.insert(request, Pull::new(entry));
                self.session.accept_publish(now(), request);
            }
            Err(refusal) => {
                let (code, reason) = rejection(&refusal);
                self.refuse(request, code, &reason);
            }
        }
    }

    fn on_announce(&mut self, request: RequestKey, namespace: Namespace) {
        if !self.may_publish(&namespace) {
            return self.refuse(request, RequestCode::UNAUTHORIZED, "the token does not allow to publish this");
        }
        match self.shared.tracks.announce(namespace.clone(), self.asks.clone()) {
            Ok(announcement) => {
                self.announced.insert(request, announcement);
                self.session.accept_request(now(), request);
                for entry in self.shared.tracks.adopt(&namespace) {
                    self.resume(entry);
                }
            }
            Err(refusal) => {
                let (code, reason) = rejection(&refusal);
                self.refuse(request, code, &reason);
            }
        }
    }

    fn on_watch(&mut self, request: RequestKey, prefix: Namespace) -> Result<(), Ended> {
        self.session.accept_request(now(), request);
        self.watches.insert(request, Watch { prefix, told: BTreeSet::new() });
        let known = self.shared.tracks.namespaces().borrow().clone();
        self.tell_namespaces(&known)
    }

    fn tell_namespaces(&mut self, known: &Namespaces) -> Result<(), Ended> {
        let Some(pass) = &self.pass else { return Ok(()) };
        for (request, watch) in &mut self.watches {
            let matching = known.keys().filter(|namespace| pass.may_read(namespace));
            let wanted: BTreeSet<_> =
                matching.filter_map(|namespace| namespace.suffix(&watch.prefix)).collect();
            for gone in watch.told.difference(&wanted) {
                self.session.namespace_done(now(), *request, gone);
            }
            for new in wanted.difference(&watch.told) {
                self.session.namespace(now(), *request, new);
            }
            watch.told = wanted;
        }
        Ok(())
    }

    fn on_closed(&mut self, request: RequestKey) {
        self.feeds.remove(&request);
        self.fetches.remove(&request);
        self.announced.remove(&request);
        self.watches.remove(&request);
        self.learnt.retain(|(learnt, _), _| *learnt != request);
        if let Some(pull) = self.pulls.remove(&request) {
            self.shared.tracks.orphan([pull.entry], now());
        }
    }
}

// What we ask of the peer.
impl Peer {
    /// The parent is there: learn what it has, and take up what was being read from it.
    fn begin_pulling(&mut self) -> Result<(), Ended> {
        self.shared.upstream_up(true);
        let everything = Namespace::default();
        self.session.subscribe_namespace(now(), self.shared.scope.clone());
        for entry in self.shared.tracks.adopt(&everything) {
            self.resume(entry);
        }
        Ok(())
    }

    /// Asks for a track that somebody here wants.
    fn pull(&mut self, entry: Arc<Entry>) -> Result<(), Ended> {
        self.ask(entry, None);
        Ok(())
    }

    /// Asks for a track again, from the first object that is not in its log.
    fn resume(&mut self, entry: Arc<Entry>) {
        let from = entry.writer().as_ref().and_then(|writer| writer.next_unseen());
        self.shared.metrics.upstream_resumes.inc();
        self.ask(entry, from.map(Filter::From));
    }

    fn ask(&mut self, entry: Arc<Entry>, filter: Option<Filter>) {
        let terms = SubscribeTerms { filter, ..SubscribeTerms::default() };
        match self.session.subscribe(now(), entry.name().clone(), terms) {
            Ok(request) => drop(self.pulls.insert(request, Pull::new(entry))),
            Err(error) => {
                tracing::debug!(track = %entry.name(), %error, "cannot ask for a track");
                self.shared.tracks.fail(&entry, Refusal::Full);
            }
        }
    }

    fn on_subscribed(&mut self, request: RequestKey, largest: Option<Location>, properties: Bytes) {
        let Some(pull) = self.pulls.get(&request) else { return };
        if let (Some(largest), Some(writer)) = (largest, pull.entry.writer().as_mut()) {
            writer.observe(largest);
        }
        pull.entry.go_live(properties);
    }

    fn on_rejected(&mut self, request: RequestKey, code: RequestCode, reason: String) {
        if let Some(pull) = self.pulls.remove(&request) {
            if pull.entry.properties().is_some() {
                // It was live before: its publisher may be on its way back.
                self.shared.tracks.orphan([pull.entry], now());
            } else {
                self.shared.tracks.fail(&pull.entry, Refusal::Upstream { code: code.0, reason });
            }
        }
    }

    /// Looks after what time does: tracks that nobody wants any more, publishers that are done.
    fn tick(&mut self) -> Result<(), Ended> {
        let now = now();
        self.session.handle(now, Input::Timeout)?;
        let tracks = &self.shared.tracks;
        let idle_before = now.checked_sub(self.shared.linger).unwrap_or(now);
        let mut over = Vec::new();
        for (request, pull) in &self.pulls {
            let reading = self.intakes.iter().any(|intake| intake.reads(*request));
            if pull.is_done(now, reading) {
                tracks.end(&pull.entry, End::Finished);
                over.push((*request, false));
            } else if matches!(self.side, Side::Client { .. }) && tracks.release(&pull.entry, idle_before) {
                over.push((*request, true));
            }
        }
        for (request, ours) in over {
            self.pulls.remove(&request);
            if ours {
                self.session.unsubscribe(now, request);
            }
        }
        self.adopt_strays();
        Ok(())
    }

    /// Tracks whose publisher went and may be back by now.
    fn adopt_strays(&mut self) {
        if let (Side::Client { .. }, Some(_)) = (&self.side, &self.pass) {
            for entry in self.shared.tracks.adopt(&Namespace::default()) {
                self.resume(entry);
            }
        }
    }
}

impl Pull {
    fn new(entry: Arc<Entry>) -> Self {
        Self { entry, streams: 0, done: None }
    }

    /// Whether everything the publisher announced has come, or its time is up.
    fn is_done(&self, now: Instant, reading: bool) -> bool {
        self.done.is_some_and(|(streams, until)| (self.streams >= streams && !reading) || now >= until)
    }
}

impl RequestStream {
    fn accepted(send: SendStream, recv: RecvStream) -> Self {
        let sending = Sending { stream: Some(send), ..Sending::default() };
        Self { sending, receiving: Some(recv), opening: None }
    }

    fn opening(transport: &Transport) -> Self {
        let transport = transport.clone();
        let opening: Opening = Box::pin(async move { transport.open_bi().await });
        Self { sending: Sending::default(), receiving: None, opening: Some(opening) }
    }

    fn is_over(&self) -> bool {
        self.opening.is_none() && self.sending.stream.is_none() && self.receiving.is_none()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        if let Some(opening) = &mut self.opening {
            match opening.as_mut().poll(cx) {
                Poll::Ready(Ok((send, recv))) => {
                    self.sending.stream = Some(send);
                    self.receiving = Some(recv);
                    self.opening = None;
                }
                // The connection has gone; the loop hears it from the transport.
                Poll::Ready(Err(_)) | Poll::Pending => return Poll::Pending,
            }
        }
        if let Poll::Ready(code) = self.sending.poll(cx) {
            return Poll::Ready(Heard::Stopped(code));
        }
        let Some(receiving) = &mut self.receiving else { return Poll::Pending };
        super::poll_chunk(receiving, cx).map(|chunk| match chunk {
            Ok(Some(bytes)) => Heard::Bytes { bytes, fin: false },
            Ok(None) => Heard::Bytes { bytes: Bytes::new(), fin: true },
            Err(code) => Heard::Reset(code),
        })
    }
}

impl Sending {
    fn push(&mut self, bytes: Bytes) -> Result<(), Ended> {
        self.bytes += bytes.len();
        if self.bytes > CONTROL_BYTES_MAX {
            return Err(Ended::Deaf);
        }
        if !bytes.is_empty() {
            self.chunks.push(bytes);
        }
        Ok(())
    }

    fn reset(&mut self, code: u64) {
        if let Some(mut stream) = self.stream.take() {
            let _ = stream.reset(stream_code(code));
        }
        self.chunks.clear();
    }

    /// Ready with a code when the peer does not want to hear any more of this stream.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<u64> {
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        while !self.chunks.is_empty() {
            match super::poll_write(stream, cx, &mut self.chunks) {
                Poll::Ready(Ok(written)) => self.bytes -= written,
                Poll::Ready(Err(code)) => {
                    self.stream = None;
                    return Poll::Ready(code);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.fin {
            let _ = stream.finish();
            self.stream = None;
        }
        Poll::Pending
    }
}

impl Ended {
    /// What the peer is told, where it is still there to hear it.
    fn closing(&self) -> Option<(SessionCode, String)> {
        match self {
            Self::Transport(_) => None,
            Self::Session(error) => Some((error.code(), error.to_string())),
            Self::Intake(fault) => Some((fault.code(), fault.to_string())),
            Self::Refused(error) => Some((SessionCode::UNAUTHORIZED, error.to_string())),
            Self::Deaf => Some((SessionCode::CONTROL_MESSAGE_TIMEOUT, self.to_string())),
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
        }
    }
}

impl From<SessionError> for Ended {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

/// Waits for a track to be live; where nobody has it, for as long as `patience` for somebody to.
async fn find_track(
    tracks: super::tracks::Tracks,
    name: &FullTrackName,
    patience: Duration,
) -> Result<Interest, Refusal> {
    let mut changes = tracks.changes();
    let found = timeout(patience, async {
        loop {
            match tracks.want(name) {
                Err(Refusal::NoSource) if !patience.is_zero() => {}
                outcome => return outcome,
            }
            if changes.changed().await.is_err() {
                return Err(Refusal::NoSource);
            }
        }
    });
    let interest = found.await.map_err(|_| Refusal::TimedOut(patience))??;
    timeout(ANSWER_TIMEOUT, interest.ready()).await.map_err(|_| Refusal::TimedOut(ANSWER_TIMEOUT))??;
    Ok(interest)
}

fn rejection(refusal: &Refusal) -> (RequestCode, String) {
    let code = match refusal {
        Refusal::NoSource => RequestCode::DOES_NOT_EXIST,
        Refusal::Full => RequestCode::EXCESSIVE_LOAD,
        Refusal::TimedOut(_) => RequestCode::TIMEOUT,
        Refusal::Upstream { code, .. } => RequestCode(*code),
    };
    (code, refusal.to_string())
}

fn done(end: End) -> (DoneCode, &'static str) {
    match end {
        End::Finished => (DoneCode::TRACK_ENDED, "the track has ended"),
        End::Malformed => (DoneCode::MALFORMED_TRACK, "the track is malformed"),
        _ => (DoneCode::TRACK_ENDED, "the publisher has gone"),
    }
}

/// The value of `t` in the query of a path: the join token of a viewer's link.
fn token_in(path: &str) -> Option<String> {
    let (_, query) = path.split_once('?')?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == "t").map(|(_, value)| value.into_owned())
}

fn text(bytes: &Bytes) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}
