//! Where segments begin, for all renditions of an event.
//!
//! One track leads: the first picture, or the first sound where there is none. Its groups decide; the other
//! renditions follow, so a segment has the same media sequence number in each. The first number is the media
//! time in target durations, and a new segment begins where a group enters the next of these slots: edges
//! that joined at other times, and one that was restarted, number the same segments the same, as long as
//! groups fit into slots.
//!
//! The first segment is an exception: players do not begin without a complete one, so it is one group. Where
//! more of its slot is to come, it has the number before.

use std::collections::VecDeque;
use std::time::Duration;

use super::Settings;
use super::chunk::Span;
use super::rendition::Arrival;

/// A host that jumps by more than this has another clock. The packager keeps time continuous within it.
const JUMP: Duration = Duration::from_secs(3);

/// A hole shorter than this is not worth a segment of its own; timestamps that are rounded to milliseconds
/// and frames that come irregularly make smaller ones.
pub(super) const HOLE: Duration = Duration::from_millis(250);

/// A host that was away for longer comes back with dates that have gone on, and media time that has not.
const AWAY: Duration = Duration::from_secs(1);

/// Cuts of a second at least, and 60 of them: a hole of a whole playlist and its length again.
const CUTS_MAX: usize = 60;

/// A segment of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    /// The media sequence number.
    pub(super) msn: u64,
    /// Where it begins, in the media time of its era.
    pub(super) start: Duration,
    /// How long it is, once the next one has begun.
    pub(super) length: Option<Duration>,
    /// When that was captured, since the Unix epoch.
    pub(super) wall: Duration,
    /// Media time began anew so often before.
    pub(super) era: u64,
    /// Whether the decoder or the clock changes here.
    pub(super) discontinuity: bool,
    /// How many did so up to and including this one.
    pub(super) discontinuities: u64,
}

/// Whether a track that ended at `end` and goes on at `start` has another clock. `lost` says that something
/// in between was lost; what is longer than a playlist is not worth segments of its own.
pub(super) fn is_jump(end: Duration, start: Duration, lost: bool, target: Duration) -> bool {
    let ahead_max = if lost { target * 6 } else { JUMP };
    end.saturating_sub(start) > HOLE || start.saturating_sub(end) > ahead_max
}

/// What to do with a follower's object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// It belongs here.
    At(&'a Cut),
    /// The leader is not as far.
    Later,
    /// It is older than all that is known.
    Earlier,
}

/// The segments of an event so far.
#[derive(Debug)]
pub(super) struct Schedule {
    target: Duration,
    cuts: VecDeque<Cut>,
    /// Where the leader's last object ended.
    end: Duration,
    /// A point in media time, and when it was captured.
    anchor: (Duration, Duration),
    group: Duration,
    group_length: Option<Duration>,
    /// The newest segment is the first, and is to be one group.
    is_first_alone: bool,
    /// Whether a segment had to begin without a key frame.
    split: bool,
}

impl Schedule {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            target: settings.target_duration,
            cuts: VecDeque::new(),
            end: Duration::ZERO,
            anchor: (Duration::ZERO, Duration::ZERO),
            group: Duration::ZERO,
            group_length: None,
            is_first_alone: false,
            split: false,
        }
    }

    /// The leader's next object, captured at `wall`. `renewed` says that decoders have to be set up anew.
    pub(super) fn lead(&mut self, arrival: &Arrival, wall: Duration, renewed: bool) {
        let &Arrival { span, starts_group, lost, .. } = arrival;
        let Some(open) = self.cuts.back().map(|cut| cut.start) else {
            self.anchor = (span.start, wall);
            // Groups are 2 s as a rule, half a slot.
            let half = self.slot(span.start + self.target / 2);
            self.is_first_alone = half == self.slot(span.start) && half > 0;
            self.begin(span.start, 0, false);
            self.extend(span, true);
            return;
        };
        let era = self.era();
        if is_jump(self.end, span.start, lost, self.target) {
            self.anchor = (span.start, wall);
            self.group_length = None;
            self.begin(span.start, era + 1, true);
        } else if lost && span.start.saturating_sub(self.end) > HOLE {
            while span.start.saturating_sub(self.end) > HOLE {
                let step = span.start.saturating_sub(self.end).min(self.target);
                self.begin(self.end, era, false);
                self.end += step;
            }
            self.begin(span.start, era, renewed);
        } else if starts_group && wall.saturating_sub(self.date(span.start)) > AWAY {
            self.anchor = (span.start, wall);
            self.begin(span.start, era, renewed);
        } else if starts_group && (renewed || self.is_due(open, span.start)) {
            self.begin(span.start, era, renewed);
        } else if span.end.saturating_sub(open) > self.longest() {
            self.split = true;
            self.begin(span.start, era, false);
        }
        self.extend(span, starts_group);
    }

    /// Where a follower's object with this middle belongs.
    pub(super) fn place(&self, era: u64, middle: Duration) -> Place<'_> {
        if self.cuts.is_empty() {
            return Place::Later;
        }
        let mut of_era = self.cuts.iter().filter(|cut| cut.era == era).peekable();
        if of_era.peek().is_none() {
            return if era > self.era() { Place::Later } else { Place::Earlier };
        }
        let is_known = era < self.era() || middle < self.end;
        match of_era.rfind(|cut| cut.start <= middle) {
            Some(cut) if is_known => Place::At(cut),
            Some(_) => Place::Later,
            None => Place::Earlier,
        }
    }

    /// The newest segment.
    pub(super) fn newest(&self) -> Option<&Cut> {
        self.cuts.back()
    }

    /// The segments after this one and before that one.
    pub(super) fn between(&self, after: u64, before: u64) -> impl Iterator<Item = &Cut> {
        self.cuts.iter().filter(move |cut| (after + 1..before).contains(&cut.msn))
    }

    /// The number of the newest era.
    pub(super) fn era(&self) -> u64 {
        self.cuts.back().map_or(0, |cut| cut.era)
    }

    /// Whether every segment so far begins with a key frame.
    pub(super) fn is_independent(&self) -> bool {
        !self.split
    }

    /// How long a segment is, once the next one has begun.
    pub(super) fn length(&self, msn: u64) -> Option<Duration> {
        self.cuts.iter().rev().find(|cut| cut.msn == msn).and_then(|cut| cut.length)
    }

    /// How long the newest segment will be if groups go on as they are.
    pub(super) fn expected_length(&self) -> Duration {
        let Some(open) = self.cuts.back().map(|cut| cut.start) else { return self.target };
        let Some(length) = self.group_length else { return self.target };
        let mut next = self.group + length;
        while !self.is_due(open, next) && next.saturating_sub(open) < self.target {
            next += length.max(HOLE);
        }
        next.saturating_sub(open)
    }

    fn is_due(&self, open: Duration, next: Duration) -> bool {
        let length = self.group_length.unwrap_or_default();
        self.is_first_alone
            || self.slot(next) != self.slot(open)
            || next.saturating_sub(open) + length > self.longest()
    }

    /// EXTINF is compared with the target duration rounded (4.4.3.1); what is left to a half is for
    /// followers, whose objects end elsewhere.
    fn longest(&self) -> Duration {
        self.target + Duration::from_millis(300)
    }

    /// Groups that begin a little early count as of the slot that follows.
    fn slot(&self, time: Duration) -> u64 {
        let target = self.target.as_nanos().max(1);
        u64::try_from((time + self.target / 8).as_nanos() / target).unwrap_or(u64::MAX >> 1)
    }

    /// When what is at this media time was captured.
    fn date(&self, media: Duration) -> Duration {
        let (anchor, captured) = self.anchor;
        (captured + media.saturating_sub(anchor)).saturating_sub(anchor.saturating_sub(media))
    }

    fn begin(&mut self, start: Duration, era: u64, discontinuity: bool) {
        let slot = self.slot(start);
        let end = self.end;
        let (msn, discontinuities) = match self.cuts.back_mut() {
            Some(last) => {
                let until = if last.era == era { start } else { end };
                last.length = Some(until.saturating_sub(last.start));
                self.is_first_alone = false;
                (last.msn + 1, last.discontinuities + u64::from(discontinuity))
            }
            None => (slot - u64::from(self.is_first_alone), 0),
        };
        let wall = self.date(start);
        self.cuts.push_back(Cut { msn, start, length: None, wall, era, discontinuity, discontinuities });
        if self.cuts.len() > CUTS_MAX {
            self.cuts.pop_front();
        }
        self.end = start;
    }

    fn extend(&mut self, span: Span, starts_group: bool) {
        if starts_group {
            let length = span.start.saturating_sub(self.group);
            let is_whole = self.group_length.is_some() || self.group > Duration::ZERO;
            self.group_length = (is_whole && length <= self.target * 2).then_some(length);
            self.group = span.start;
        }
        self.end = span.end.max(self.end);
    }
}
