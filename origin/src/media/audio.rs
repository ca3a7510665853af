//! A sound on its way to its track: some frames to an object, and groups that begin where the picture's do.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes};

use super::cmaf::{self, ChunkSample, CmafError};
use super::facts::Fact;
use super::timeline::{Timeline, nanos, rescale};
use super::{AudioCodec, AudioConfig, Sample};

/// Samples in a frame of AAC-LC (ISO/IEC 14496-3, 4.5.1.1).
const AAC_FRAME_SAMPLES: u32 = 1024;

/// How far a host's clock may be off the count of frames before the count follows it: RTMP's times are
/// whole milliseconds, and encoders round and jitter by a frame of 21 ms or two.
const SLACK_NANOS: i64 = 60_000_000;

/// Without a picture a group lasts this long.
const GROUP_SECONDS: Duration = Duration::from_secs(2);

/// The sound's side of a packager.
#[derive(Debug)]
pub(super) struct Audio {
    pub(super) config: AudioConfig,
    /// Of the track: the sample rate, where the host's clock is too coarse for it.
    pub(super) timescale: u32,
    pub(super) init: Bytes,
    bundle_max: Duration,
    bundle: Vec<(ChunkSample, Bytes)>,
    bundle_began: i64,
    bundle_since: Option<Instant>,
    /// Where the next frame begins if none is missing, in ticks of the track.
    next: Option<i64>,
    /// Before this nothing can be sent any more.
    floor: i64,
    group_began: Option<i64>,
    sequence: u32,
}

/// A bundle that is ready.
pub(super) struct Bundle {
    pub(super) starts_group: bool,
    pub(super) payload: Bytes,
}

impl Audio {
    pub(super) fn new(config: AudioConfig, bundle_max: Duration) -> Result<Self, CmafError> {
        let timescale = if is_counted(&config) { config.sample_rate } else { config.timescale }.max(1);
        let init = cmaf::audio_init(&config, timescale)?;
        Ok(Self {
            config,
            timescale,
            init,
            bundle_max,
            bundle: Vec::new(),
            bundle_began: 0,
            bundle_since: None,
            next: None,
            floor: 0,
            group_began: None,
            sequence: 0,
        })
    }

    /// What follows does not continue what came before. Flush the bundle first.
    pub(super) fn interrupt(&mut self) {
        self.group_began = None;
        self.next = None;
    }

    /// When the bundle has to go although it is not full: the host has paused.
    pub(super) fn due(&self) -> Option<Instant> {
        self.bundle_since.map(|since| since + 2 * self.bundle_max)
    }

    /// A group of the picture has begun: with the next bundle one of the sound does.
    pub(super) fn begin_group(&mut self) {
        self.group_began = None;
    }

    /// Takes a frame; the bundle, when it is full.
    pub(super) fn take(
        &mut self,
        now: Instant,
        sample: &Sample,
        has_video: bool,
        timeline: &mut Timeline,
        facts: &mut impl FnMut(Fact),
    ) -> Option<Bundle> {
        let duration = self.duration(sample);
        let Some(decode) = self.decode_time(sample, duration, timeline) else {
            facts(Fact::Dropped { what: "late" });
            return None;
        };
        let gap = self.next.is_some_and(|next| next != decode);
        // One chunk has no gap in it.
        let flushed = if gap { self.flush(has_video, facts) } else { None };
        if self.bundle.is_empty() {
            self.bundle_began = decode;
            self.bundle_since = Some(now);
        }
        let chunk = ChunkSample { duration, len: sample.data.len(), key: true, offset: 0 };
        self.bundle.push((chunk, sample.data.clone()));
        let end = decode.saturating_add(duration.into());
        self.next = Some(end);
        self.floor = end;
        timeline.reached(end, self.timescale);
        let len = nanos(end - self.bundle_began, self.timescale);
        // One of the two is there, not both: after a gap the bundle has one frame.
        if flushed.is_none() && len as u128 >= self.bundle_max.as_nanos() {
            return self.flush(has_video, facts);
        }
        flushed
    }

    /// What there is of a bundle.
    pub(super) fn flush(&mut self, has_video: bool, facts: &mut impl FnMut(Fact)) -> Option<Bundle> {
        self.bundle_since = None;
        let bundle = std::mem::take(&mut self.bundle);
        if bundle.is_empty() {
            return None;
        }
        let samples: Vec<_> = bundle.iter().map(|(sample, _)| *sample).collect();
        let began = self.bundle_began;
        let write = |out: &mut bytes::BytesMut| bundle.iter().for_each(|(_, data)| out.put_slice(data));
        let Ok(payload) = cmaf::chunk(self.sequence, began as u64, &samples, write) else {
            facts(Fact::Dropped { what: "malformed" });
            return None;
        };
        self.sequence = self.sequence.wrapping_add(1);
        let is_long = |group: i64| nanos(began - group, self.timescale) as u128 >= GROUP_SECONDS.as_nanos();
        let starts_group = self.group_began.is_none_or(|group| !has_video && is_long(group));
        if starts_group {
            self.group_began = Some(began);
        }
        Some(Bundle { starts_group, payload })
    }

    /// How long a frame lasts. Some writers do not know it of the last one before a fragment ends.
    fn duration(&self, sample: &Sample) -> u32 {
        if let Some(duration @ 1..) = sample.duration {
            return duration;
        }
        let ticks = match self.config.codec {
            AudioCodec::Aac(_) => rescale(AAC_FRAME_SAMPLES.into(), self.config.sample_rate, self.timescale),
            // 20 ms, what Opus encoders choose.
            AudioCodec::Opus(_) => i64::from(self.timescale / 50),
        };
        u32::try_from(ticks).unwrap_or(1).max(1)
    }

    /// The decode time in the event; `None` for a frame that comes before one that was sent.
    fn decode_time(&self, sample: &Sample, duration: u32, timeline: &mut Timeline) -> Option<i64> {
        let host = self.config.timescale.max(1);
        let said = sample.dts.saturating_add(timeline.offset(sample.dts, host));
        let said = rescale(said, host, self.timescale).max(0);
        let Some(next) = self.next else { return (said >= self.floor).then_some(said) };
        let off = said.saturating_sub(next);
        let slack = if is_counted(&self.config) {
            rescale(SLACK_NANOS, 1_000_000_000, self.timescale)
        } else {
            // The host's own clock is exact, or has a gap.
            i64::from(duration) / 2
        };
        if off.abs() <= slack { Some(next) } else { (off > 0).then_some(said) }
    }
}

/// Whether times are counted in frames, because the host's are too coarse.
fn is_counted(config: &AudioConfig) -> bool {
    config.timescale == 1000 && config.sample_rate > 0 && matches!(config.codec, AudioCodec::Aac(_))
}
