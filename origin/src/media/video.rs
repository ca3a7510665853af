//! A picture on its way to its track: one access unit, one object; one group from key frame to key frame.

use bytes::Bytes;

use super::avc::{Avc, AvcError};
use super::cmaf::{self, ChunkSample};
use super::facts::Fact;
use super::timeline::{self, Timeline};
use super::{Sample, VideoConfig};

/// The picture's side of a packager.
#[derive(Debug)]
pub(super) struct Video {
    pub(super) avc: Avc,
    pub(super) timescale: u32,
    pub(super) init: Bytes,
    record: Bytes,
    /// What has to come before anything can be sent.
    wait: Wait,
    /// Of the last picture: its decode time as the host gave it, and as it was sent.
    last: Option<(i64, i64)>,
    /// Ticks between the last two pictures.
    step: u32,
    gop: Option<Gop>,
    sequence: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Nothing,
    Key,
}

/// The group that is being sent.
#[derive(Debug)]
struct Gop {
    began: i64,
    frames: u32,
    shown: i64,
    /// Pictures in a row that are shown before one that was sent earlier, and the longest such run.
    run: u32,
    longest: u32,
}

/// What became of a picture.
pub(super) enum Packaged {
    Object { starts_group: bool, payload: Bytes },
    Nothing,
}

impl Video {
    pub(super) fn new(config: &VideoConfig) -> Result<Self, AvcError> {
        let avc = Avc::read(&config.avcc)?;
        let timescale = config.timescale.max(1);
        let init = cmaf::video_init(&avc, timescale).map_err(|_| AvcError::Record)?;
        // A thirtieth of a second, until two pictures say what it is.
        let step = (timescale / 30).max(1);
        let record = config.avcc.clone();
        Ok(Self { avc, timescale, init, record, wait: Wait::Key, last: None, step, gop: None, sequence: 0 })
    }

    /// Whether this is the configuration that is in use.
    pub(super) fn has(&self, config: &VideoConfig) -> bool {
        self.record == config.avcc && self.timescale == config.timescale.max(1)
    }

    /// What follows does not continue what came before.
    pub(super) fn interrupt(&mut self) {
        self.wait = Wait::Key;
        self.last = None;
        self.gop = None;
    }

    /// Whether the clock of the host has jumped with this picture.
    pub(super) fn is_jump(&self, sample: &Sample) -> bool {
        let last = self.last.map(|(host, _)| host);
        last.is_some_and(|last| timeline::is_jump(sample.dts.saturating_sub(last), self.timescale))
    }

    pub(super) fn package(
        &mut self,
        sample: &Sample,
        timeline: &mut Timeline,
        facts: &mut impl FnMut(Fact),
    ) -> Packaged {
        if self.wait == Wait::Key && !sample.key {
            facts(Fact::Dropped { what: "before_key" });
            return Packaged::Nothing;
        }
        let Ok(lean) = self.avc.lean(&sample.data) else {
            facts(Fact::Dropped { what: "malformed" });
            return Packaged::Nothing;
        };
        if lean.stripped() > 0 {
            facts(Fact::FillerStripped { bytes: lean.stripped() as u64 });
        }
        if lean.is_empty() {
            return Packaged::Nothing;
        }
        let decode = self.decode_time(sample, timeline);
        // Some writers do not know it of the last picture before a fragment ends.
        let duration = sample.duration.filter(|&duration| duration > 0).unwrap_or(self.step);
        let offset = i32::try_from(sample.pts.saturating_sub(sample.dts)).unwrap_or(0);
        let chunk = ChunkSample { duration, len: lean.len(), key: sample.key, offset };
        let Ok(payload) = cmaf::chunk(self.sequence, decode as u64, &[chunk], |out| lean.write(out)) else {
            facts(Fact::Dropped { what: "malformed" });
            return Packaged::Nothing;
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.wait = Wait::Nothing;
        // As it is shown, or what follows an interruption would be shown before it.
        let shown = decode.saturating_add(i64::from(offset).max(0));
        timeline.reached(shown.saturating_add(duration.into()), self.timescale);
        self.measure(decode, decode.saturating_add(offset.into()), sample.key, facts);
        Packaged::Object { starts_group: sample.key, payload }
    }

    /// The decode time in the event, never before the last one's.
    fn decode_time(&mut self, sample: &Sample, timeline: &mut Timeline) -> i64 {
        let decode = sample.dts.saturating_add(timeline.offset(sample.dts, self.timescale)).max(0);
        let decode = match self.last {
            Some((host, sent)) => {
                let step = sample.dts.saturating_sub(host).max(1);
                self.step = u32::try_from(step).unwrap_or(self.step);
                decode.max(sent + 1)
            }
            None => decode,
        };
        self.last = Some((sample.dts, decode));
        decode
    }

    fn measure(&mut self, decode: i64, shown: i64, key: bool, facts: &mut impl FnMut(Fact)) {
        if key {
            if let Some(gop) = &self.gop {
                let seconds = timeline::nanos(decode - gop.began, self.timescale) as f64 / 1e9;
                facts(Fact::Gop { seconds, frames: gop.frames });
                facts(Fact::Reorder { frames: gop.longest });
            }
            self.gop = Some(Gop { began: decode, frames: 0, shown, run: 0, longest: 0 });
        }
        if let Some(gop) = &mut self.gop {
            gop.frames += 1;
            gop.run = if shown < gop.shown { gop.run + 1 } else { 0 };
            gop.longest = gop.longest.max(gop.run);
            gop.shown = gop.shown.max(shown);
        }
    }
}
