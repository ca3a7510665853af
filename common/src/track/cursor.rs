//! A reader's way through a track: which subgroups it reads, and which it gives up.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::lateness;
use super::log::Reader;
use super::parking::Ticket;
use super::window::{Item, Shared};
use super::{Datagram, End};
use crate::model::Location;

/// Where a cursor starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the first object of the newest group, at once; where there is none yet, with the first
    /// to come.
    Newest,
    /// With this object, or the first after it that is there.
    At(Location),
    /// With the group after the newest.
    NextGroup,
}

/// What a cursor found.
#[derive(Debug)]
pub enum Step {
    /// A subgroup to read.
    Open(Reader),
    /// An object that travels in a datagram.
    Datagram(Arc<Datagram>),
    /// The track is over, and everything of it has been found.
    End(End),
}

/// Finds each subgroup and datagram of a track once, in the order in which they came.
#[derive(Debug)]
pub struct Cursor {
    shared: Arc<Shared>,
    next: u64,
    from: Location,
    end_group: Option<u64>,
    latency_max: Duration,
    ticket: Ticket,
}

impl Cursor {
    pub(super) fn new(
        shared: Arc<Shared>,
        start: Start,
        end_group: Option<u64>,
        latency_max: Duration,
    ) -> Self {
        let (from, next) = shared.begin(|newest| match start {
            Start::At(location) => location,
            Start::Newest => Location::new(newest.unwrap_or(0), 0),
            Start::NextGroup => Location::new(newest.map_or(0, |newest| newest.saturating_add(1)), 0),
        });
        Self { shared, next, from, end_group, latency_max, ticket: Ticket::default() }
    }

    /// The next subgroup or datagram, once it is there.
    pub fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Step> {
        loop {
            // Both looked at before the items: what comes while we look is for the next round.
            let end = self.shared.end();
            let arrivals = self.shared.arrivals();
            while self.next < arrivals {
                // What is missing has left the window.
                let Some((arrival, item)) = self.shared.item_from(self.next) else { break };
                self.next = arrival + 1;
                if let Some(step) = self.admit(item) {
                    return Poll::Ready(step);
                }
            }
            self.next = self.next.max(arrivals);
            if let Some(end) = end {
                return Poll::Ready(Step::End(end));
            }
            let Self { shared, next, ticket, .. } = self;
            let ready = || shared.arrivals() > *next || shared.end().is_some();
            if shared.parking.park(ticket, cx, ready) {
                return Poll::Pending;
            }
        }
    }

    /// The lateness rule, for a reader whose oldest unfinished group is `oldest`: the group below
    /// which everything unfinished must be given up. The cursor passes it over too.
    pub fn late_below(&mut self, oldest: u64, now: Instant) -> Option<u64> {
        let newest = self.shared.newest().filter(|newest| oldest < *newest)?;
        if !lateness::is_late(self.shared.newer_since(oldest), self.latency_max, now) {
            return None;
        }
        self.from = self.from.max(Location::new(newest, 0));
        Some(newest)
    }

    /// When `group`, unfinished, becomes late; `None` while it is the newest.
    pub fn late_at(&self, group: u64) -> Option<Instant> {
        self.shared.newest().filter(|newest| group < *newest)?;
        lateness::late_at(self.shared.newer_since(group), self.latency_max)
    }

    /// Reads to the end of this group from now on, or on without an end. What was passed over is not found
    /// again.
    pub fn set_end_group(&mut self, end_group: Option<u64>) {
        self.end_group = end_group;
    }

    /// The last group that this cursor reads, if there is one.
    pub fn end_group(&self) -> Option<u64> {
        self.end_group
    }

    fn admit(&self, item: Item) -> Option<Step> {
        let group = item.group();
        if group < self.from.group || self.end_group.is_some_and(|end| group > end) {
            return None;
        }
        let from = if group == self.from.group { self.from.object } else { 0 };
        match item {
            Item::Subgroup(log) => {
                // Complete before the start: nothing of it is wanted.
                let passed = log.is_over() && log.last_id().is_none_or(|last| last < from) && from > 0;
                (!passed).then(|| Step::Open(Reader::new(log, from)))
            }
            Item::Datagram(datagram) if datagram.location.object >= from => Some(Step::Datagram(datagram)),
            Item::Datagram(_) => None,
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.shared.parking.leave(&mut self.ticket);
    }
}
