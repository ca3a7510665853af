//! A track, its clock and the people watching, driven by hand.
//!
//! A [`Viewer`] does what the driver of a connection does: it polls only when its bell rang (or its timer
//! is due), opens what the cursor opens, and resets what the cursor calls late.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::model::Location;
use common::track::{
    self, Budget, Cursor, Datagram, End, Header, Limits, Object, Pushed, Reader, Start, Step, SubgroupEnd,
    SubgroupWriter, Track, WriteError,
};

/// Enough for every story that is not about the budget.
pub(super) const BUDGET: usize = 64 << 20;

/// Later than any story lasts: for viewers that shall never be late.
pub(super) const NEVER_LATE: Duration = Duration::from_secs(1 << 20);

/// What a viewer behind a webinar's edge is allowed to lag.
pub(super) const LATENCY: Duration = Duration::from_millis(500);

/// One track, one writer, viewers by number.
pub(super) struct Audience {
    pub(super) now: Instant,
    pub(super) budget: Budget,
    pub(super) writer: Option<track::Writer>,
    pub(super) track: Track,
    pub(super) viewers: Vec<Viewer>,
    open: BTreeMap<(u64, u64), SubgroupWriter>,
}

impl Audience {
    pub(super) fn new(limits: Limits) -> Self {
        Self::sharing(limits, &Budget::new(BUDGET))
    }

    /// A track that pays into a budget others use as well.
    pub(super) fn sharing(limits: Limits, budget: &Budget) -> Self {
        let (writer, track) = track::new(limits, budget);
        Self {
            now: epoch(),
            budget: budget.clone(),
            writer: Some(writer),
            track,
            viewers: Vec::new(),
            open: BTreeMap::new(),
        }
    }

    /// Someone joins; the answer is their number.
    pub(super) fn join(&mut self, start: Start) -> usize {
        self.join_with(start, None, LATENCY)
    }

    pub(super) fn join_with(&mut self, start: Start, end_group: Option<u64>, latency_max: Duration) -> usize {
        self.viewers.push(Viewer::new(self.track.cursor(start, end_group, latency_max)));
        self.viewers.len() - 1
    }

    pub(super) fn writer(&mut self) -> &mut track::Writer {
        self.writer.as_mut().expect("the story has not ended the track yet")
    }

    /// The host starts (or goes on with) a subgroup.
    pub(super) fn open(&mut self, group: u64, subgroup: u64) -> Result<(), WriteError> {
        let now = self.now;
        let writer = self.writer().open(now, header(group, subgroup))?;
        self.open.insert((group, subgroup), writer);
        Ok(())
    }

    /// The host writes one object into a subgroup it opened.
    pub(super) fn push(&mut self, group: u64, subgroup: u64, id: u64) -> Result<Pushed, WriteError> {
        let now = self.now;
        self.log(group, subgroup).push(now, object(group, subgroup, id))
    }

    pub(super) fn log(&mut self, group: u64, subgroup: u64) -> &mut SubgroupWriter {
        self.open.get_mut(&(group, subgroup)).expect("the story opened this subgroup")
    }

    /// Takes a subgroup's writer out: to finish, reset or just drop it.
    pub(super) fn take(&mut self, group: u64, subgroup: u64) -> SubgroupWriter {
        self.open.remove(&(group, subgroup)).expect("the story opened this subgroup")
    }

    /// A whole group with one subgroup: opened, `ids` written, finished.
    pub(super) fn group(&mut self, group: u64, ids: impl IntoIterator<Item = u64>) {
        self.open(group, 0).expect("within the limits");
        for id in ids {
            self.push(group, 0, id).expect("within the limits");
        }
        self.take(group, 0).finish();
    }

    /// Time passes. Viewers whose timer came due look again.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Everyone who was woken, or whose timer is due, does what there is to do.
    pub(super) fn drive(&mut self) {
        for viewer in &mut self.viewers {
            viewer.drive(self.now);
        }
    }

    pub(super) fn seen(&self, viewer: usize) -> &[Stream] {
        &self.viewers[viewer].streams
    }

    /// Everything `viewer` was given, in the order it came: (group, subgroup, ids).
    pub(super) fn ids(&self, viewer: usize) -> Vec<(u64, u64, Vec<u64>)> {
        self.seen(viewer).iter().map(|s| (s.group, s.subgroup, s.ids.clone())).collect()
    }
}

/// One stream that a viewer was sent.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) group: u64,
    pub(super) subgroup: u64,
    pub(super) starts_at_beginning: bool,
    pub(super) ids: Vec<u64>,
    pub(super) end: Option<StreamEnd>,
}

/// How a stream ended for a viewer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// The log ended.
    Log(SubgroupEnd),
    /// The lateness rule reset it, at this time, while it was unfinished.
    Late(Instant),
}

/// One viewer: a cursor, the streams it opened, and a bell.
pub(super) struct Viewer {
    pub(super) cursor: Option<Cursor>,
    pub(super) streams: Vec<Stream>,
    pub(super) datagrams: Vec<Arc<Datagram>>,
    pub(super) end: Option<End>,
    pub(super) bell: Arc<Bell>,
    /// A viewer whose connection takes nothing: it is not driven.
    pub(super) asleep: bool,
    readers: Vec<(usize, Reader)>,
}

impl Viewer {
    pub(super) fn new(cursor: Cursor) -> Self {
        Self {
            cursor: Some(cursor),
            streams: Vec::new(),
            datagrams: Vec::new(),
            end: None,
            bell: Arc::new(Bell { rung: AtomicBool::new(true) }),
            asleep: false,
            readers: Vec::new(),
        }
    }

    pub(super) fn drive(&mut self, now: Instant) {
        if self.asleep || !(self.bell.answer() || self.timer_due(now)) {
            return;
        }
        self.reset_late(now);
        let waker = Waker::from(self.bell.clone());
        let cx = Context::from_waker(&waker);
        self.step(&cx);
        self.readers.retain_mut(|(index, reader)| drain(&mut self.streams[*index], reader, &cx));
    }

    /// The viewer goes: nothing of it stays behind.
    pub(super) fn leave(&mut self) {
        self.cursor = None;
        self.readers.clear();
    }

    fn timer_due(&self, now: Instant) -> bool {
        let Some(cursor) = &self.cursor else { return false };
        self.readers
            .iter()
            .any(|(_, reader)| cursor.late_at(reader.header().group).is_some_and(|at| at <= now))
    }

    fn reset_late(&mut self, now: Instant) {
        let Some(oldest) = self.readers.iter().map(|(_, reader)| reader.header().group).min() else { return };
        let Some(cursor) = &mut self.cursor else { return };
        let Some(below) = cursor.late_below(oldest, now) else { return };
        self.readers.retain(|(index, _)| {
            let stream = &mut self.streams[*index];
            if stream.group < below {
                stream.end = Some(StreamEnd::Late(now));
            }
            stream.group >= below
        });
    }

    fn step(&mut self, cx: &Context<'_>) {
        while let Some(cursor) = &mut self.cursor {
            match cursor.poll_next(cx) {
                Poll::Pending => return,
                Poll::Ready(Step::Datagram(datagram)) => self.datagrams.push(datagram),
                Poll::Ready(Step::End(end)) => {
                    self.end = Some(end);
                    self.cursor = None;
                }
                Poll::Ready(Step::Open(reader)) => {
                    self.readers.push((self.streams.len(), reader));
                    let reader = &self.readers.last().expect("pushed above").1;
                    self.streams.push(Stream {
                        group: reader.header().group,
                        subgroup: reader.header().subgroup,
                        starts_at_beginning: reader.starts_at_beginning(),
                        ids: Vec::new(),
                        end: None,
                    });
                }
            }
        }
    }
}

/// Remembers that it was rung.
#[derive(Debug)]
pub(super) struct Bell {
    rung: AtomicBool,
}

impl Bell {
    /// Whether it was rung since it was last answered.
    pub(super) fn answer(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
    }
}

/// The start of every story. No other line of these tests reads a clock.
#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin, and only differences count")]
pub(super) fn epoch() -> Instant {
    Instant::now()
}

pub(super) fn header(group: u64, subgroup: u64) -> Header {
    Header { group, subgroup, framing: Bytes::from_static(b"header"), ..Header::default() }
}

/// An object whose payload says where it belongs, so that a mix-up shows.
pub(super) fn object(group: u64, subgroup: u64, id: u64) -> Object {
    Object {
        id,
        framing: Bytes::from_static(b"framing"),
        payload: Bytes::from(format!("{group}/{subgroup}/{id}")),
        ..Object::default()
    }
}

pub(super) fn datagram(group: u64, object: u64) -> Datagram {
    Datagram {
        location: Location::new(group, object),
        payload: Bytes::from(format!("{group}/{object}")),
        ..Datagram::default()
    }
}

/// Reads what there is; whether the stream goes on.
fn drain(stream: &mut Stream, reader: &mut Reader, cx: &Context<'_>) -> bool {
    loop {
        match reader.poll_next(cx) {
            Poll::Pending => return true,
            Poll::Ready(Err(end)) => {
                stream.end = Some(StreamEnd::Log(end));
                return false;
            }
            Poll::Ready(Ok(got)) => {
                assert_eq!(got.payload, object(stream.group, stream.subgroup, got.id).payload);
                stream.ids.push(got.id);
            }
        }
    }
}
