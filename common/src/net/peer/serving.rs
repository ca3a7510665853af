//! What the peer asks of us, and what it offers.

use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::{Ended, Peer, Side, Watch, now};
use crate::model::{FullTrackName, Location, Namespace};
use crate::net::door::Pass;
use crate::net::endpoint::trust_with_objects;
use crate::net::feed::{Feed, FeedEnd, Outgoing, Terms};
use crate::net::framing;
use crate::net::intake::{Pull, PullKind};
use crate::net::tracks::{Interest, Namespaces, Refusal, Tracks};
use crate::session::{Credential, FetchOffer, PeerSetup, RequestKey, SubscribeOptions, TrackInfo};
use crate::track::{End, Start};
use crate::wire::code::{DoneCode, RequestCode};
use crate::wire::message::Filter;

/// A source answers within this, or who waits is refused: three redials of a parent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest that a request is held for a track that nobody has yet, whatever it asks for.
const RENDEZVOUS_MAX: Duration = Duration::from_secs(30);

/// How far a child may fall behind before groups are dropped for it, in units of a viewer's allowance: the
/// child's own viewers are judged by the child, which is closer to them.
const CHILD_ALLOWANCE: u32 = 3;

/// A request that has waited for a track.
pub(super) struct Held {
    request: RequestKey,
    wanted: Wanted,
    outcome: Result<Interest, Refusal>,
}

enum Wanted {
    Subscribe(SubscribeOptions),
    Status,
    Fetch(FetchOffer),
}

impl Peer {
    /// The peer has said who it is: let it in, or say why not.
    pub(super) fn on_ready(&mut self, peer: &PeerSetup) -> Result<(), Ended> {
        let role = match &self.side {
            Side::Client { .. } => {
                self.pass = Some(Pass::Anybody);
                self.begin_pulling();
                "parent"
            }
            Side::Server { path } => {
                let path = path.as_ref().or(peer.path.as_ref());
                let token = path.and_then(|path| token_in(path)).or_else(|| token_of(&peer.credentials));
                let pass =
                    self.shared.door.admit(SystemTime::now(), token.as_deref()).map_err(Ended::Refused)?;
                if pass.carries_objects() {
                    trust_with_objects(&self.transport);
                }
                let role = pass.role();
                self.pass = Some(pass);
                role
            }
        };
        self.counted.role = Some(role);
        self.shared.metrics.sessions.with_label_values(&[role]).inc();
        Ok(())
    }

    fn may_read(&self, namespace: &Namespace) -> bool {
        self.pass.as_ref().is_some_and(|pass| pass.may_read(namespace))
    }

    fn may_publish(&self, namespace: &Namespace) -> bool {
        self.pass.as_ref().is_some_and(|pass| pass.may_publish(namespace))
    }

    fn refuse(&mut self, request: RequestKey, code: RequestCode, reason: &str) {
        let name = code.name().unwrap_or("OTHER");
        self.shared.metrics.requests_refused.with_label_values(&[name]).inc();
        let retry = (code == RequestCode::EXCESSIVE_LOAD).then_some(Duration::from_secs(1));
        // It may have been cancelled while it was held.
        let _ = self.session.reject(now(), request, code, reason, retry);
    }

    fn refuse_for(&mut self, request: RequestKey, refusal: &Refusal) {
        let code = match refusal {
            Refusal::NoSource => RequestCode::DOES_NOT_EXIST,
            Refusal::Full => RequestCode::EXCESSIVE_LOAD,
            Refusal::TimedOut(_) => RequestCode::TIMEOUT,
            Refusal::Upstream { code, .. } => RequestCode(*code),
        };
        self.refuse(request, code, &refusal.to_string());
    }
}

// Tracks that the peer wants.
impl Peer {
    pub(super) fn on_subscribe(
        &mut self,
        request: RequestKey,
        name: FullTrackName,
        options: SubscribeOptions,
    ) {
        let patience = options.rendezvous_timeout;
        self.hold(request, name, patience, Wanted::Subscribe(options));
    }

    pub(super) fn on_track_status(&mut self, request: RequestKey, name: FullTrackName) {
        self.hold(request, name, None, Wanted::Status);
    }

    pub(super) fn on_fetch(&mut self, request: RequestKey, offer: FetchOffer) {
        let name = offer.name.clone();
        self.hold(request, name, None, Wanted::Fetch(offer));
    }

    /// Holds a request until its track is there, or is not to be had.
    fn hold(&mut self, request: RequestKey, name: FullTrackName, patience: Option<Duration>, wanted: Wanted) {
        if !self.may_read(name.namespace()) {
            return self.refuse(request, RequestCode::UNAUTHORIZED, "the token is for another event");
        }
        let tracks = self.shared.tracks.clone();
        let from = match &wanted {
            Wanted::Subscribe(SubscribeOptions {
                filter: Some(Filter::From(start) | Filter::Range { start, .. }),
                ..
            }) => Some(start.group),
            _ => None,
        };
        let patience = patience.unwrap_or_default().min(RENDEZVOUS_MAX);
        self.held.push(Box::pin(async move {
            let outcome = find_track(tracks, &name, from, patience).await;
            Held { request, wanted, outcome }
        }));
    }

    pub(super) fn answer(&mut self, held: Held) {
        let Held { request, wanted, outcome } = held;
        let interest = match outcome {
            Ok(interest) => interest,
            Err(refusal) => return self.refuse_for(request, &refusal),
        };
        match wanted {
            Wanted::Status => {
                // It may have been cancelled while it was held, and so may the others.
                let _ = self.session.accept_track_status(now(), request, &info(&interest));
            }
            Wanted::Subscribe(options) => {
                let (track, alias) = (info(&interest), interest.entry().alias());
                let terms = self.terms(&options, &track);
                if self.session.accept_subscribe(now(), request, alias, &track).is_ok() {
                    self.feeds.insert(request, Feed::new(interest, terms, options.forward));
                    self.shared.metrics.subscriptions.inc();
                }
            }
            Wanted::Fetch(offer) => self.answer_fetch(request, &offer, &interest),
        }
    }

    fn answer_fetch(&mut self, request: RequestKey, offer: &FetchOffer, interest: &Interest) {
        let TrackInfo { largest, properties, .. } = info(interest);
        let Some(largest) = largest.filter(|largest| offer.start <= *largest) else {
            return self.refuse(request, RequestCode::INVALID_RANGE, "nothing has been published there yet");
        };
        let last = offer.last.min(largest);
        let cached = interest.entry().track().cached(offer.start, last);
        let priority = properties.default_priority();
        let chunks = framing::fetch_answer(offer.request_id, &cached, offer.order, priority);
        let end_of_track = interest.entry().track().ended().is_some();
        if self.session.accept_fetch(request, last, end_of_track, properties).is_ok() {
            self.fetches.insert(request, Outgoing::fetched(&self.transport, chunks, offer.priority));
        }
    }

    fn terms(&self, options: &SubscribeOptions, track: &TrackInfo) -> Terms {
        let next = track.largest.map_or_else(Location::default, |at| Location::new(at.group, at.object + 1));
        let (start, end_group) = match options.filter {
            // "All objects": from the first object of the newest group, so that a late joiner starts at once.
            None => (Start::Newest, None),
            Some(Filter::NextGroup) => (Start::NextGroup, None),
            Some(Filter::Largest) => (Start::At(next), None),
            Some(Filter::From(start)) => (Start::At(start), None),
            Some(Filter::Range { start, end_group }) => (Start::At(start), Some(end_group)),
        };
        let carries = self.pass.as_ref().is_some_and(Pass::carries_objects);
        let own = self.shared.latency_max * if carries { CHILD_ALLOWANCE } else { 1 };
        Terms {
            start,
            end_group,
            priority: options.priority,
            order: options.order.unwrap_or_else(|| track.properties.group_order()),
            latency_max: options.object_timeout.map_or(own, |asked| asked.min(own)),
            default_priority: track.properties.default_priority(),
        }
    }

    pub(super) fn on_subscribe_updated(&mut self, request: RequestKey, options: &SubscribeOptions) {
        let Some(feed) = self.feeds.get(&request) else { return };
        let track = info(feed.interest());
        let terms = self.terms(options, &track);
        if let Some(feed) = self.feeds.get_mut(&request) {
            feed.update(terms, options.forward);
        }
        let _ = self.session.accept_update(now(), request, track.largest, None);
    }

    pub(super) fn accept_update(&mut self, request: RequestKey) {
        let _ = self.session.accept_update(now(), request, None, None);
    }

    pub(super) fn end_feed(&mut self, request: RequestKey) -> Option<Feed> {
        let feed = self.feeds.remove(&request)?;
        self.shared.metrics.subscriptions.dec();
        Some(feed)
    }

    pub(super) fn finish_feed(&mut self, request: RequestKey, end: FeedEnd) {
        let streams = self.end_feed(request).map(|feed| feed.stream_count());
        let (code, reason) = match end {
            FeedEnd::Range => (DoneCode::SUBSCRIPTION_ENDED, "that was the last group asked for"),
            FeedEnd::Track(End::Finished) => (DoneCode::TRACK_ENDED, "the track has ended"),
            FeedEnd::Track(End::Malformed) => (DoneCode::MALFORMED_TRACK, "the track is malformed"),
            FeedEnd::Track(_) => (DoneCode::TRACK_ENDED, "the publisher has gone"),
        };
        let _ = self.session.publish_done(now(), request, code, streams, reason);
    }
}

// Tracks that the peer has.
impl Peer {
    pub(super) fn on_publish(&mut self, request: RequestKey, name: &FullTrackName, track: TrackInfo) {
        if !self.may_publish(name.namespace()) {
            return self.refuse(
                request,
                RequestCode::UNAUTHORIZED,
                "the token does not allow to publish this",
            );
        }
        match self.shared.tracks.publish(name, track.properties) {
            Ok(entry) => {
                if let (Some(largest), Some(writer)) = (track.largest, entry.writer().as_mut()) {
                    writer.observe(largest);
                }
                let options = SubscribeOptions::default();
                if self.session.accept_publish(now(), request, &options).is_ok() {
                    self.pulls.insert(request, Pull::new(PullKind::Offered, entry));
                } else {
                    self.shared.tracks.orphan([entry], now());
                }
            }
            Err(refusal) => self.refuse_for(request, &refusal),
        }
    }

    pub(super) fn on_announce(&mut self, request: RequestKey, namespace: Namespace) {
        if !self.may_publish(&namespace) {
            return self.refuse(
                request,
                RequestCode::UNAUTHORIZED,
                "the token does not allow to publish this",
            );
        }
        match self.shared.tracks.announce(namespace.clone(), self.asks.clone()) {
            Ok(announcement) => {
                self.announced.insert(request, announcement);
                let _ = self.session.accept_request(request);
                for entry in self.shared.tracks.adopt(&namespace) {
                    self.resume(entry);
                }
            }
            Err(refusal) => self.refuse_for(request, &refusal),
        }
    }
}

// Namespaces that the peer wants to hear of.
impl Peer {
    pub(super) fn on_watch(&mut self, request: RequestKey, prefix: Namespace) {
        if self.session.accept_request(request).is_ok() {
            self.watches.insert(request, Watch { prefix, told: Default::default() });
            self.tell_known_namespaces();
        }
    }

    pub(super) fn on_watch_moved(&mut self, request: RequestKey, prefix: Namespace) {
        self.accept_update(request);
        if let Some(watch) = self.watches.get_mut(&request) {
            watch.told.retain(|namespace| namespace.starts_with(&prefix));
            watch.prefix = prefix;
        }
        self.tell_known_namespaces();
    }

    fn tell_known_namespaces(&mut self) {
        let known = self.shared.tracks.namespaces().borrow().clone();
        self.tell_namespaces(&known);
    }

    pub(super) fn tell_namespaces(&mut self, known: &Namespaces) {
        let Some(pass) = &self.pass else { return };
        for (request, watch) in &mut self.watches {
            let covered = known.keys().filter(|namespace| namespace.starts_with(&watch.prefix));
            let wanted = covered.filter(|namespace| pass.may_read(namespace)).cloned().collect();
            // It may have gone; the event that says so is on its way.
            for gone in watch.told.difference(&wanted) {
                let _ = self.session.namespace_done(*request, gone);
            }
            for new in wanted.difference(&watch.told) {
                let _ = self.session.namespace(*request, new);
            }
            watch.told = wanted;
        }
    }

    pub(super) fn refuse_tracks(&mut self, request: RequestKey) {
        self.refuse(request, RequestCode::NOT_SUPPORTED, "ask with SUBSCRIBE_NAMESPACE and SUBSCRIBE here");
    }
}

/// What a track is like now.
fn info(interest: &Interest) -> TrackInfo {
    let entry = interest.entry();
    let (largest, properties) = (entry.track().largest(), entry.properties().unwrap_or_default());
    TrackInfo { largest, expires: None, properties }
}

/// Waits for a track to be live; where nobody has it, for as long as `patience` for somebody to.
async fn find_track(
    tracks: Tracks,
    name: &FullTrackName,
    from: Option<u64>,
    patience: Duration,
) -> Result<Interest, Refusal> {
    let mut changes = tracks.changes();
    let found = timeout(patience, async {
        loop {
            match tracks.want_from(name, from) {
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

/// The value of `t` in the query of a path: the join token of a viewer's link.
fn token_in(path: &str) -> Option<String> {
    let (_, query) = path.split_once('?')?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == "t").map(|(_, value)| value.into_owned())
}

fn token_of(credentials: &[Credential]) -> Option<String> {
    credentials.first().and_then(|credential| String::from_utf8(credential.value.to_vec()).ok())
}
