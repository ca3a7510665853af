//! One rendition: its segments and parts, as lists of handles to objects.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::channel::Track;
use super::chunk::{ChunkError, Init, Span};
use super::page::Page;
use super::schedule::{self, Cut, HOLE, Place, Schedule};
use super::{Role, Settings};

/// Objects of a part at most: a second at 240 a second. What has more is cut into shorter parts.
const PART_OBJECTS_MAX: usize = 256;

/// Parts of a segment at most: 4.5 s of 0.1 s. Objects beyond them are dropped until the next segment.
const PARTS_MAX: usize = 48;

/// Bytes that one rendition keeps: 17 segments of 4 s at 11 Mb/s. Beyond it, what is no longer listed goes
/// first, and then the oldest that is.
const BYTES_MAX: usize = 96 << 20;

/// Segments that stay whatever they weigh: live playback begins 3 target durations from the end.
const SEGMENTS_MIN: usize = 3;

/// Objects of a follower that wait for the leader: 2 s at 60 a second.
const WAITING_MAX: usize = 120;

/// One rendition.
#[derive(Debug)]
pub(super) struct Rendition {
    pub(super) track: Track,
    /// What it is called in URLs.
    pub(super) slug: String,
    /// The playlist as it was rendered last.
    pub(super) full: Page,
    /// The same without what a player has already.
    pub(super) delta: Page,
    init: Arc<Init>,
    /// What the catalog says now, where it is something else than what is in use.
    next_init: Option<Arc<Init>>,
    /// Complete segments without a hole in their numbers.
    segments: VecDeque<Segment>,
    open: Option<Open>,
    /// Where the last object ended.
    end: Option<Duration>,
    era: u64,
    waiting: VecDeque<Arrival>,
    /// An object was longer than a part may be.
    is_coarse: bool,
    bytes: usize,
    /// Bits a second, of the segment that had most.
    peak: u64,
}

/// What stands before a segment in a playlist.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) msn: u64,
    pub(super) init: Arc<Init>,
    pub(super) discontinuity: bool,
    pub(super) discontinuities: u64,
    /// When it was captured, since the Unix epoch.
    pub(super) wall: Duration,
}

/// A segment that is complete.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) head: Head,
    pub(super) duration: Duration,
    pub(super) parts: Vec<Part>,
    /// `None` where it was lost.
    pub(super) objects: Option<Arc<[Bytes]>>,
    bytes: usize,
}

/// The segment that is being made.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) head: Head,
    pub(super) parts: Vec<Part>,
    part: Draft,
}

/// A part that is complete.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) duration: Duration,
    /// Whether decoding can start in it.
    pub(super) independent: bool,
    pub(super) objects: Arc<[Bytes]>,
}

/// The part that is being made.
#[derive(Debug)]
struct Draft {
    start: Duration,
    end: Duration,
    independent: bool,
    objects: Vec<Bytes>,
}

/// An object as it came.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) span: Span,
    pub(super) starts_group: bool,
    pub(super) lost: bool,
    pub(super) payload: Bytes,
}

// What comes in.
impl Rendition {
    pub(super) fn new(track: Track, slug: String) -> Result<Self, ChunkError> {
        let init = Arc::new(Init::read(track.init.clone())?);
        Ok(Self {
            track,
            slug,
            full: Page::default(),
            delta: Page::default(),
            init,
            next_init: None,
            segments: VecDeque::new(),
            open: None,
            end: None,
            era: 0,
            waiting: VecDeque::new(),
            is_coarse: false,
            bytes: 0,
            peak: 0,
        })
    }

    /// What the catalog says now; true where decoders will have to be set up anew.
    pub(super) fn renew(&mut self, track: Track) -> Result<bool, ChunkError> {
        let init = Init::read(track.init.clone())?;
        self.track = track;
        self.next_init = (init != *self.init).then(|| Arc::new(init));
        Ok(self.next_init.is_some())
    }

    /// What an object of this rendition says about its time.
    pub(super) fn span(&self, payload: &[u8], settings: &Settings) -> Result<Span, ChunkError> {
        let init = self.next_init.as_ref().unwrap_or(&self.init);
        let span = init.span(payload)?;
        if span.duration() > settings.target_duration {
            return Err(ChunkError::TooLong(span.duration()));
        }
        Ok(span)
    }

    /// Takes an object of a follower, which may have to wait for the leader.
    pub(super) fn take(&mut self, arrival: Arrival) {
        self.waiting.push_back(arrival);
    }

    /// Takes an object of the leader, whose jumps are the schedule's.
    pub(super) fn take_as_leader(&mut self, arrival: Arrival, schedule: &Schedule) {
        self.era = schedule.era();
        self.end = Some(arrival.span.start);
        self.waiting.push_back(arrival);
    }

    /// Places what waits, as far as the schedule is known; true if a part or segment was completed.
    pub(super) fn settle(&mut self, schedule: &Schedule, settings: &Settings) -> bool {
        let mut changed = false;
        while let Some(arrival) = self.waiting.pop_front() {
            let era = self.era_of(&arrival, settings);
            let place = match schedule.place(era, arrival.span.middle()) {
                // It waits for a leader that does not jump, or does not come: so it goes by its clock.
                Place::Later if self.waiting.len() >= WAITING_MAX => {
                    self.era = schedule.era();
                    continue;
                }
                Place::Later => {
                    self.waiting.push_front(arrival);
                    break;
                }
                place => place,
            };
            self.era = era;
            self.end = Some(arrival.span.end);
            match place {
                Place::At(cut) if self.overflows(cut, settings) => self.era = schedule.era(),
                Place::At(cut) => {
                    changed |= self.enter(cut, arrival.span.start, schedule, settings);
                    changed |= self.push(arrival, settings);
                }
                Place::Later | Place::Earlier => self.era = schedule.era(),
            }
        }
        changed
    }

    /// Completes what is being made: the event is over.
    pub(super) fn finish(&mut self, settings: &Settings) {
        self.close_segment(settings);
        self.waiting.clear();
    }

    fn era_of(&self, arrival: &Arrival, settings: &Settings) -> u64 {
        let Some(end) = self.end else { return self.era };
        let is_jump = schedule::is_jump(end, arrival.span.start, arrival.lost, settings.target_duration);
        self.era + u64::from(is_jump)
    }

    /// A follower that has missed a jump would go on with a segment that has long been over.
    fn overflows(&self, cut: &Cut, settings: &Settings) -> bool {
        let Some(open) = &self.open else { return false };
        let is_long = open.duration() > settings.target_duration + Duration::from_secs(1);
        cut.msn < open.head.msn || (cut.msn == open.head.msn && (is_long || open.parts.len() >= PARTS_MAX))
    }

    /// Goes to this segment, over those that were lost.
    fn enter(&mut self, cut: &Cut, start: Duration, schedule: &Schedule, settings: &Settings) -> bool {
        let last = self.open.as_ref().map(|open| open.head.msn);
        if last.is_some_and(|last| last >= cut.msn) {
            return false;
        }
        let end = self.open.as_ref().map(|open| open.part.end);
        self.close_segment(settings);
        if let Some(last) = last {
            self.skip(last, cut.msn, schedule, settings);
        }
        if let Some(init) = self.next_init.take_if(|_| cut.discontinuity || last.is_none()) {
            self.init = init;
        }
        let mut head = self.head(cut);
        // What begins in the middle has the date of its middle.
        let late = start.saturating_sub(cut.start);
        head.wall += if late > HOLE { late } else { Duration::ZERO };
        self.open = Some(Open { head, parts: Vec::new(), part: Draft::new(end.unwrap_or(cut.start)) });
        true
    }

    /// Lists what lies between these segments as lost.
    fn skip(&mut self, last: u64, next: u64, schedule: &Schedule, settings: &Settings) {
        if schedule.between(last, next).count() as u64 + last + 1 != next {
            // It was away for longer than anybody remembers, so it begins again.
            self.segments.clear();
            self.bytes = 0;
            return;
        }
        for lost in schedule.between(last, next) {
            let duration = lost.length.unwrap_or(settings.target_duration);
            let (head, parts) = (self.head(lost), Vec::new());
            self.keep(Segment { head, duration, parts, objects: None, bytes: 0 }, settings);
        }
    }

    fn head(&self, cut: &Cut) -> Head {
        Head {
            msn: cut.msn,
            init: self.init.clone(),
            discontinuity: cut.discontinuity,
            discontinuities: cut.discontinuities,
            wall: cut.wall,
        }
    }

    fn push(&mut self, arrival: Arrival, settings: &Settings) -> bool {
        let (target, is_sound) = (settings.part_target(), self.track.role == Role::Audio);
        // 85 % of the target, or a player takes the part for the segment's last (4.4.4.9).
        let enough = target.mul_f64(0.85);
        let Some(open) = &mut self.open else { return false };
        let Arrival { span, starts_group, payload, .. } = arrival;
        self.is_coarse |= span.duration() > target;
        self.bytes += payload.len();
        let draft = &open.part;
        let is_too_much = span.end.saturating_sub(draft.start) > target;
        let is_enough = starts_group && draft.duration() >= enough;
        let mut completed = (is_too_much || is_enough) && open.close_part();
        open.part.add(span, starts_group || is_sound, payload);
        // What objects are too long or too short is made up by the next part, not left for a last one.
        let due = settings.part * (open.parts.len() as u32 + 1);
        let length = open.duration() + open.part.duration();
        let is_due = length + span.duration() / 2 >= due && open.part.duration() >= enough;
        if is_due || open.part.objects.len() >= PART_OBJECTS_MAX {
            completed |= open.close_part();
        }
        completed
    }

    fn close_segment(&mut self, settings: &Settings) {
        let Some(mut open) = self.open.take() else { return };
        open.close_part();
        let duration = open.duration();
        let objects = open.parts.iter().flat_map(|part| part.objects.iter().cloned()).collect();
        let bytes = open.bytes();
        self.peak = self.peak.max(rate(bytes, duration.max(settings.target_duration / 2)));
        let segment = Segment { head: open.head, duration, parts: open.parts, objects: Some(objects), bytes };
        self.keep(segment, settings);
    }

    fn keep(&mut self, segment: Segment, settings: &Settings) {
        self.segments.push_back(segment);
        let is_too_much = |rendition: &Self| {
            rendition.segments.len() > settings.kept()
                || (rendition.bytes > BYTES_MAX && rendition.segments.len() > SEGMENTS_MIN)
        };
        while is_too_much(self) {
            let oldest = self.segments.pop_front();
            self.bytes -= oldest.map_or(0, |oldest| oldest.bytes);
        }
    }
}

// What is there.
impl Rendition {
    /// The segments that are listed, the oldest first.
    pub(super) fn listed(&self, settings: &Settings) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter().skip(self.segments.len().saturating_sub(settings.window))
    }

    /// The segment that is being made.
    pub(super) fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// The number of the segment that is next to be complete.
    pub(super) fn next_msn(&self) -> Option<u64> {
        let after = self.segments.back().map(|last| last.head.msn + 1);
        self.open.as_ref().map(|open| open.head.msn).or(after)
    }

    /// The last part, by the numbers of its segment and in it.
    pub(super) fn last_part(&self) -> Option<(u64, usize)> {
        let open = self.open.iter().map(|open| (open.head.msn, open.parts.len()));
        let closed = self.segments.iter().rev().map(|segment| (segment.head.msn, segment.parts.len()));
        open.chain(closed).find(|(_, parts)| *parts > 0).map(|(msn, parts)| (msn, parts - 1))
    }

    /// The parts of a segment, and whether it is complete.
    pub(super) fn parts(&self, msn: u64) -> Option<(&[Part], bool)> {
        match &self.open {
            Some(open) if open.head.msn == msn => Some((&open.parts, false)),
            _ => self.segment(msn).map(|segment| (&segment.parts[..], true)),
        }
    }

    /// A segment that is complete.
    pub(super) fn segment(&self, msn: u64) -> Option<&Segment> {
        let first = self.segments.front()?.head.msn;
        self.segments.get(usize::try_from(msn.checked_sub(first)?).ok()?)
    }

    /// An initialization segment that is in use.
    pub(super) fn init(&self, id: u64) -> Option<&Bytes> {
        let heads = self.segments.iter().map(|segment| &segment.head.init);
        heads.chain([&self.init]).find(|init| init.id == id).map(|init| &init.bytes)
    }

    /// Whether parts can be listed.
    pub(super) fn has_parts(&self, settings: &Settings) -> bool {
        settings.low_latency && !self.is_coarse
    }

    /// Bits a second at most, as seen and as its publisher says.
    pub(super) fn bandwidth(&self) -> u64 {
        // What a talk has at 720p, and sound; only where there is nothing yet.
        let guess = if self.track.role == Role::Audio { 128_000 } else { 2_500_000 };
        let open = self.open.as_ref().filter(|open| self.peak == 0 && !open.parts.is_empty());
        let seen = open.map_or(self.peak, |open| rate(open.bytes(), open.duration()));
        match seen.max(self.track.bitrate.unwrap_or(0)) {
            0 => guess,
            bits => bits,
        }
    }
}

impl Open {
    /// How long its complete parts are.
    pub(super) fn duration(&self) -> Duration {
        self.parts.iter().map(|part| part.duration).sum()
    }

    fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }

    fn close_part(&mut self) -> bool {
        let next = Draft::new(self.part.end);
        if self.part.objects.is_empty() {
            return false;
        }
        let done = std::mem::replace(&mut self.part, next);
        let duration = done.duration();
        self.parts.push(Part { duration, independent: done.independent, objects: done.objects.into() });
        true
    }
}

impl Part {
    pub(super) fn bytes(&self) -> usize {
        self.objects.iter().map(Bytes::len).sum()
    }
}

impl Draft {
    fn new(start: Duration) -> Self {
        Self { start, end: start, independent: false, objects: Vec::new() }
    }

    fn add(&mut self, span: Span, independent: bool, payload: Bytes) {
        // Small differences are of rounding and would add up; across a hole or a jump time begins anew.
        let hole = span.start.saturating_sub(self.end).max(self.end.saturating_sub(span.start));
        if self.objects.is_empty() && hole > HOLE {
            (self.start, self.end) = (span.start, span.start);
        }
        self.end = span.end.max(self.end + Duration::from_micros(1));
        self.independent |= independent;
        self.objects.push(payload);
    }

    fn duration(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }
}

fn rate(bytes: usize, duration: Duration) -> u64 {
    (bytes as f64 * 8.0 / duration.as_secs_f64().max(0.001)) as u64
}
