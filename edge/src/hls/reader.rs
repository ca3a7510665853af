//! A track, object by object and in order.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use common::model::Location;
use common::net::now;
use common::net::tracks::Interest;
use common::track::{Cursor, End, Object, Reader, Start, Step, SubgroupEnd};

/// How long a group may be unfinished when a newer one has begun: about what players hold back.
const LATENCY_MAX: Duration = Duration::from_secs(3);

/// Reads a track's groups one after the other.
#[derive(Debug)]
pub(super) struct TrackReader {
    // Holds the track at its source.
    _interest: Interest,
    cursor: Cursor,
    /// Groups that have been found, the oldest first; as many as a track keeps.
    groups: Vec<Reader>,
    /// The last object: its group and its number in it.
    last: Option<(u64, u64)>,
    /// Something was given up since.
    lost: bool,
    end: Option<End>,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Sight {
    /// An object.
    Object {
        /// Whether it is the first of its group.
        starts_group: bool,
        /// Whether objects or groups before it are missing.
        lost: bool,
        object: Object,
    },
    /// The track is over.
    End(End),
}

impl TrackReader {
    /// Reads from so many groups before the newest on, as far as they are there.
    pub(super) fn new(interest: Interest, groups_before: u64) -> Self {
        let track = interest.entry().track();
        let start = track.largest().map_or(Start::Newest, |largest| {
            Start::At(Location::new(largest.group.saturating_sub(groups_before), 0))
        });
        let cursor = track.cursor(start, None, LATENCY_MAX);
        Self { cursor, _interest: interest, groups: Vec::new(), last: None, lost: false, end: None }
    }

    /// When to poll again although nothing has come.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.groups.first().and_then(|reader| self.cursor.late_at(reader.header().group))
    }

    pub(super) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Sight> {
        loop {
            self.find(cx);
            let Some(reader) = self.groups.first_mut() else {
                return self.end.map_or(Poll::Pending, |end| Poll::Ready(Sight::End(end)));
            };
            let group = reader.header().group;
            match reader.poll_next(cx) {
                Poll::Ready(Ok(object)) => {
                    let object = object.clone();
                    return Poll::Ready(self.see(group, object));
                }
                Poll::Ready(Err(end)) => {
                    self.groups.remove(0);
                    self.lost |= end != SubgroupEnd::Finished;
                }
                Poll::Pending => {
                    let first =
                        ready!(self.cursor.late_below(group, now()).map_or(Poll::Pending, Poll::Ready));
                    self.groups.retain(|reader| reader.header().group >= first);
                    self.lost = true;
                }
            }
        }
    }

    /// Looks for groups that have come.
    fn find(&mut self, cx: &Context<'_>) {
        while self.end.is_none() {
            match self.cursor.poll_next(cx) {
                Poll::Ready(Step::Open(reader)) => {
                    let group = reader.header().group;
                    let at = self.groups.partition_point(|known| known.header().group <= group);
                    self.groups.insert(at, reader);
                }
                // Media travels on streams here.
                Poll::Ready(Step::Datagram(_)) => {}
                Poll::Ready(Step::End(end)) => self.end = Some(end),
                Poll::Pending => break,
            }
        }
    }

    fn see(&mut self, group: u64, object: Object) -> Sight {
        let starts_group = self.last.is_none_or(|(last, _)| last != group);
        let follows = match self.last {
            None => true,
            Some((last, number)) if last == group => object.id <= number + 1,
            Some((last, _)) => group <= last + 1 && object.id == 0,
        };
        let lost = std::mem::take(&mut self.lost) || !follows;
        self.last = Some((group, object.id));
        Sight::Object { starts_group, lost, object }
    }
}
