//! What we ask of the peer.

use std::sync::Arc;

use super::{Peer, Side, now};
use crate::model::{Location, Namespace};
use crate::net::intake::{Pull, PullKind};
use crate::net::node::Link;
use crate::net::tracks::{Entry, Refusal};
use crate::session::{RequestKey, SubscribeOptions, TrackInfo};
use crate::track::End;
use crate::wire::code::{DoneCode, RequestCode};
use crate::wire::message::Filter;

impl Peer {
    /// The parent is there: learn what it has, and take up what was being read from it.
    pub(super) fn begin_pulling(&mut self) {
        self.shared.set_link(Link::Up);
        // A parent that tells of no namespaces still has tracks.
        let _ = self.session.subscribe_namespace(now(), Namespace::default(), &[]);
        self.adopt_strays();
    }

    /// Asks for a track that somebody here wants.
    pub(super) fn pull(&mut self, entry: Arc<Entry>) {
        let filter = entry.from().map(|group| Filter::From(Location::new(group, 0)));
        self.ask(entry, filter);
    }

    /// Asks for a track again, from the first object that is not in its log.
    pub(super) fn resume(&mut self, entry: Arc<Entry>) {
        let from = entry.writer().as_ref().and_then(|writer| writer.next_unseen());
        self.ask(entry, from.map(Filter::From));
    }

    fn ask(&mut self, entry: Arc<Entry>, filter: Option<Filter>) {
        let kind = if filter.is_some() { "resumed" } else { "new" };
        self.shared.metrics.upstream_subscriptions.with_label_values(&[kind]).inc();
        let options = SubscribeOptions { filter, ..SubscribeOptions::default() };
        match self.session.subscribe(now(), entry.name().clone(), &options, &[]) {
            Ok(request) => drop(self.pulls.insert(request, Pull::new(PullKind::Asked, entry))),
            Err(error) => {
                tracing::warn!(track = %entry.name(), %error, "cannot ask for a track");
                self.shared.tracks.fail(&entry, Refusal::Full);
            }
        }
    }

    pub(super) fn on_subscribed(&self, request: RequestKey, track: TrackInfo) {
        let Some(pull) = self.pulls.get(&request) else { return };
        if let (Some(largest), Some(writer)) = (track.largest, pull.entry.writer().as_mut()) {
            writer.observe(largest);
        }
        pull.entry.go_live(track.properties);
    }

    pub(super) fn on_rejected(&mut self, request: RequestKey, code: RequestCode, reason: String) {
        let Some(pull) = self.pulls.remove(&request) else { return };
        if pull.entry.properties().is_some() {
            // It was live before: its publisher may be on its way back.
            self.shared.tracks.orphan([pull.entry], now());
        } else {
            self.shared.tracks.fail(&pull.entry, Refusal::Upstream { code: code.0, reason });
        }
    }

    /// The peer has heard of a namespace. Nobody is to be asked for its tracks but this peer, whom they are
    /// asked of anyway.
    pub(super) fn on_namespace(&mut self, request: RequestKey, namespace: Namespace) {
        if let Ok(announcement) = self.shared.tracks.announce(namespace.clone(), None) {
            self.learnt.insert((request, namespace), announcement);
        }
    }

    pub(super) fn on_closed(&mut self, request: RequestKey) {
        if let Some(pull) = self.pulls.remove(&request) {
            self.part_with(pull);
        }
    }

    /// Nothing more comes of a track from this peer: it is over, or somebody else may have it.
    pub(super) fn part_with(&self, pull: Pull) {
        match pull.done {
            Some((DoneCode::TRACK_ENDED | DoneCode::SUBSCRIPTION_ENDED, _)) => {
                self.shared.tracks.end(&pull.entry, End::Finished);
            }
            _ => self.shared.tracks.orphan([pull.entry], now()),
        }
    }

    pub(super) fn give_up_malformed(&mut self, request: RequestKey) {
        if let Some(pull) = self.pulls.remove(&request) {
            tracing::warn!(track = %pull.entry.name(), "the track contradicts itself");
            self.shared.tracks.end(&pull.entry, End::Malformed);
        }
        self.session.cancel(now(), request);
    }

    /// Tracks of which the peer is done, and everything has come.
    pub(super) fn finish_pulls(&mut self) {
        let is_complete = |(request, pull): (&RequestKey, &Pull)| {
            let streams = pull.done.and_then(|(_, streams)| streams)?;
            let reading = || self.intakes.iter().any(|intake| intake.reads(*request));
            (pull.streams >= streams && !reading()).then_some(*request)
        };
        let complete: Vec<_> = self.pulls.iter().filter_map(is_complete).collect();
        for request in complete {
            self.on_closed(request);
            self.session.cancel(now(), request);
        }
    }

    /// Gives back tracks that nobody wants any more, and takes up those that somebody else has lost.
    pub(super) fn look_after_pulls(&mut self) {
        let now = now();
        let idle_before = now.checked_sub(self.shared.linger).unwrap_or(now);
        let idle = |(_, pull): &(&RequestKey, &Pull)| {
            pull.kind == PullKind::Asked && self.shared.tracks.release(&pull.entry, idle_before)
        };
        let idle: Vec<_> = self.pulls.iter().filter(idle).map(|(request, _)| *request).collect();
        for request in idle {
            self.pulls.remove(&request);
            self.session.cancel(now, request);
        }
        self.adopt_strays();
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
