//! A track as a viewer reads it: object by object, in order, and what is wrong with it.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use common::net::now;
use common::net::tracks::Interest;
use common::track::{Cursor, Object, Reader, Start, Step, SubgroupEnd};

/// Reads a track's groups one after the other.
#[derive(Debug)]
pub(crate) struct TrackReader {
    // Holds the track at its source.
    _interest: Interest,
    cursor: Cursor,
    /// Groups that have been found, the oldest first.
    groups: Vec<Reader>,
    /// The last object of the group that is being read.
    previous: Option<u64>,
    /// The group that was read before.
    last_group: Option<u64>,
    ended: bool,
}

/// What a viewer sees next.
#[derive(Debug)]
pub(crate) enum Sight {
    /// An object.
    Object {
        /// Whether it is the first of its group.
        starts_group: bool,
        /// Objects or groups that should have been before it, and were not: at least so many.
        missing: u64,
        object: Object,
    },
    /// A group that was not completed, because it came too late or its publisher gave it up.
    CutShort,
    /// The track is over.
    End,
}

impl TrackReader {
    /// Reads from the first object of the newest group. A group that is later than `latency_max` is given up.
    pub(crate) fn new(interest: Interest, latency_max: Duration) -> Self {
        let cursor = interest.entry().track().cursor(Start::Newest, None, latency_max);
        let groups = Vec::new();
        Self { _interest: interest, cursor, groups, previous: None, last_group: None, ended: false }
    }

    /// When to poll again although nothing has come.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.groups.first().and_then(|reader| self.cursor.late_at(reader.header().group))
    }

    pub(crate) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Sight> {
        loop {
            while !self.ended {
                match self.cursor.poll_next(cx) {
                    Poll::Ready(Step::Open(reader)) => {
                        let group = reader.header().group;
                        let at = self.groups.partition_point(|known| known.header().group <= group);
                        self.groups.insert(at, reader);
                    }
                    // Media travels on streams here.
                    Poll::Ready(Step::Datagram(_)) => {}
                    Poll::Ready(Step::End(_)) => self.ended = true,
                    Poll::Pending => break,
                }
            }
            let Some(reader) = self.groups.first_mut() else {
                return if self.ended { Poll::Ready(Sight::End) } else { Poll::Pending };
            };
            let group = reader.header().group;
            match reader.poll_next(cx) {
                Poll::Ready(Ok(object)) => {
                    let object = object.clone();
                    return Poll::Ready(self.see(group, object));
                }
                Poll::Ready(Err(end)) => {
                    self.groups.remove(0);
                    self.leave(group);
                    if end != SubgroupEnd::Finished {
                        return Poll::Ready(Sight::CutShort);
                    }
                }
                Poll::Pending => {
                    ready!(self.give_up(group));
                    return Poll::Ready(Sight::CutShort);
                }
            }
        }
    }

    /// Gives up a group that is too late.
    fn give_up(&mut self, oldest: u64) -> Poll<()> {
        let Some(first) = self.cursor.late_below(oldest, now()) else { return Poll::Pending };
        self.groups.retain(|reader| reader.header().group >= first);
        self.leave(oldest);
        Poll::Ready(())
    }

    fn leave(&mut self, group: u64) {
        self.last_group = Some(group);
        self.previous = None;
    }

    fn see(&mut self, group: u64, object: Object) -> Sight {
        let starts_group = self.previous.is_none();
        let missing = match self.previous {
            Some(previous) => object.id.saturating_sub(previous + 1),
            None => {
                let groups = self.last_group.map_or(0, |last| group.saturating_sub(last + 1));
                groups.saturating_add(object.id)
            }
        };
        self.previous = Some(object.id);
        Sight::Object { starts_group, missing, object }
    }
}
