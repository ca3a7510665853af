//! From access units to objects of tracks: CMAF chunks, groups, and the catalog that names them.
//!
//! Sans-IO: [`Packager::handle`] takes what a host says, [`Packager::poll`] gives objects in the order in
//! which they are to be published. No picture is held back; sound is bundled, so that an object is not
//! mostly its own head.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::audio::{Audio, Bundle};
use super::catalog::{self, Catalog, CatalogTrack};
use super::facts::Fact;
use super::timeline::{Timeline, is_jump};
use super::video::{Packaged, Video};
use super::{AudioCodec, AudioConfig, Input, Kind, Sample, VideoConfig};

/// The track of the picture as the host sent it.
pub const VIDEO: &str = "video/source";

/// The track of the sound.
pub const AUDIO: &str = "audio/main";

/// How long a catalog waits for the other of picture and sound.
const CATALOG_PATIENCE: Duration = Duration::from_secs(1);

/// How objects are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How much sound goes into an object: longer is cheaper, and later.
    pub audio_bundle: Duration,
    /// How often the catalog is published again: who joins at the wrong moment waits this long.
    pub catalog_interval: Duration,
    /// Milliseconds between capture and display that players are told to aim at.
    pub target_latency_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            audio_bundle: Duration::from_millis(100),
            catalog_interval: Duration::from_secs(1),
            target_latency_ms: 1_000,
        }
    }
}

/// What a packager says.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Publish this.
    Object {
        /// On which track.
        track: &'static str,
        /// Whether it is the first of a group.
        starts_group: bool,
        /// A CMAF chunk, or a catalog.
        payload: Bytes,
    },
    /// This was noticed.
    Fact(Fact),
}

/// Makes objects of what one event's hosts send.
#[derive(Debug)]
pub struct Packager {
    settings: Settings,
    timeline: Timeline,
    video: Option<Video>,
    audio: Option<Audio>,
    catalog: CatalogState,
    /// The last decode time of the sound, as the host gave it.
    heard: Option<i64>,
    outputs: VecDeque<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CatalogState {
    /// Nothing is known that could be in it.
    Empty,
    /// It is due then: the first time, or again.
    Due(Instant),
}

impl Packager {
    /// A packager that has heard nothing.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            timeline: Timeline::default(),
            video: None,
            audio: None,
            catalog: CatalogState::Empty,
            heard: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes what a host says.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Video(config) => self.on_video_config(now, &config),
            Input::Audio(config) => self.on_audio_config(now, config),
            Input::Sample(sample) => match sample.kind {
                Kind::Video => self.on_video(&sample),
                Kind::Audio => self.on_audio(now, &sample),
            },
            Input::Break => self.interrupt("break"),
        }
        self.handle_timeout(now);
    }

    /// The next object to publish, or fact to note.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Packager::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let catalog = match self.catalog {
            CatalogState::Due(at) => Some(at),
            CatalogState::Empty => None,
        };
        catalog.into_iter().chain(self.audio.as_ref().and_then(Audio::due)).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.audio.as_ref().and_then(Audio::due).is_some_and(|due| due <= now) {
            self.flush_audio();
        }
        if let CatalogState::Due(at) = self.catalog
            && at <= now
        {
            self.publish_catalog(now);
        }
    }
}

// What hosts say.
impl Packager {
    fn on_video_config(&mut self, now: Instant, config: &VideoConfig) {
        if self.video.as_ref().is_some_and(|video| video.has(config)) {
            return;
        }
        match Video::new(config) {
            Ok(video) => {
                if self.video.replace(video).is_some() {
                    self.fact(Fact::Discontinuity { cause: "config" });
                }
                self.change_catalog(now);
            }
            // The picture that is there goes on, in case the host meant it.
            Err(_) => self.fact(Fact::Dropped { what: "malformed" }),
        }
    }

    fn on_audio_config(&mut self, now: Instant, config: AudioConfig) {
        if self.audio.as_ref().is_some_and(|audio| audio.config == config) {
            return;
        }
        self.flush_audio();
        match Audio::new(config, self.settings.audio_bundle) {
            Ok(audio) => {
                self.audio = Some(audio);
                self.heard = None;
                self.change_catalog(now);
            }
            Err(_) => self.fact(Fact::Dropped { what: "malformed" }),
        }
    }

    fn on_video(&mut self, sample: &Sample) {
        if self.video.as_ref().is_some_and(|video| video.is_jump(sample)) {
            self.interrupt("jump");
        }
        let (timeline, outputs) = (&mut self.timeline, &mut self.outputs);
        let Some(video) = &mut self.video else {
            return self.fact(Fact::Dropped { what: "no_config" });
        };
        let packaged = video.package(sample, timeline, &mut |fact| outputs.push_back(Output::Fact(fact)));
        if let Packaged::Object { starts_group, payload } = packaged {
            if starts_group {
                self.flush_audio();
                self.audio.iter_mut().for_each(Audio::begin_group);
            }
            self.outputs.push_back(Output::Object { track: VIDEO, starts_group, payload });
        }
    }

    fn on_audio(&mut self, now: Instant, sample: &Sample) {
        let Some(audio) = &self.audio else {
            return self.fact(Fact::Dropped { what: "no_config" });
        };
        let host_timescale = audio.config.timescale;
        let step = self.heard.map(|heard| sample.dts.saturating_sub(heard));
        if step.is_some_and(|step| is_jump(step, host_timescale)) {
            self.interrupt("jump");
        }
        self.heard = Some(sample.dts);
        let has_video = self.video.is_some();
        let (timeline, outputs) = (&mut self.timeline, &mut self.outputs);
        let Some(audio) = &mut self.audio else { return };
        let mut facts = |fact| outputs.push_back(Output::Fact(fact));
        if let Some(bundle) = audio.take(now, sample, has_video, timeline, &mut facts) {
            self.push_audio(bundle);
        }
    }

    /// What follows has other times, and begins with a key frame.
    fn interrupt(&mut self, cause: &'static str) {
        self.flush_audio();
        self.timeline.interrupt();
        self.heard = None;
        if let Some(video) = &mut self.video {
            video.interrupt();
        }
        if let Some(audio) = &mut self.audio {
            audio.interrupt();
        }
        self.fact(Fact::Discontinuity { cause });
    }

    fn flush_audio(&mut self) {
        let (has_video, outputs) = (self.video.is_some(), &mut self.outputs);
        let Some(audio) = &mut self.audio else { return };
        if let Some(bundle) = audio.flush(has_video, &mut |fact| outputs.push_back(Output::Fact(fact))) {
            self.push_audio(bundle);
        }
    }

    fn push_audio(&mut self, bundle: Bundle) {
        let Bundle { starts_group, payload } = bundle;
        self.outputs.push_back(Output::Object { track: AUDIO, starts_group, payload });
    }

    fn fact(&mut self, fact: Fact) {
        self.outputs.push_back(Output::Fact(fact));
    }
}

// The catalog.
impl Packager {
    /// A track has come or changed: at once if it is the second or was known, else after a while.
    fn change_catalog(&mut self, now: Instant) {
        let is_whole = self.video.is_some() && self.audio.is_some();
        self.catalog = match self.catalog {
            CatalogState::Empty if !is_whole => CatalogState::Due(now + CATALOG_PATIENCE),
            _ => CatalogState::Due(now),
        };
    }

    fn publish_catalog(&mut self, now: Instant) {
        self.catalog = CatalogState::Due(now + self.settings.catalog_interval);
        let latency = self.settings.target_latency_ms;
        let video = self.video.as_ref().map(|video| (video_entry(video, latency), video.init.clone()));
        let audio = self.audio.as_ref().map(|audio| (audio_entry(audio, latency), audio.init.clone()));
        // There is no number in it that JSON does not have.
        let Ok(payload) = Catalog::new(video.into_iter().chain(audio)).write() else { return };
        self.outputs.push_back(Output::Object { track: catalog::TRACK, starts_group: true, payload });
    }
}

fn video_entry(video: &Video, target_latency: u64) -> CatalogTrack {
    let (width, height) = video.avc.size();
    CatalogTrack {
        name: VIDEO.into(),
        role: Some("video".into()),
        codec: Some(video.avc.codec()),
        width: Some(width),
        height: Some(height),
        framerate: video.avc.frame_rate(),
        timescale: Some(video.timescale),
        render_group: Some(1),
        alt_group: Some(1),
        target_latency: Some(target_latency),
        bitrate: Some(u64::from(width) * u64::from(height) * BITS_PER_PIXEL_SECOND),
        ..CatalogTrack::default()
    }
}

/// What a webinar's picture takes, as players want to know before they have measured: 1280x720 is 2.8 Mb/s.
const BITS_PER_PIXEL_SECOND: u64 = 3;

/// What a channel of AAC takes.
const BITS_PER_CHANNEL_SECOND: u64 = 64_000;

fn audio_entry(audio: &Audio, target_latency: u64) -> CatalogTrack {
    let AudioConfig { codec, sample_rate, channels, .. } = &audio.config;
    CatalogTrack {
        name: AUDIO.into(),
        role: Some("audio".into()),
        codec: Some(audio_codec(codec)),
        samplerate: Some(*sample_rate),
        channel_config: Some(channels.to_string()),
        timescale: Some(audio.timescale),
        render_group: Some(1),
        target_latency: Some(target_latency),
        bitrate: Some(u64::from(*channels) * BITS_PER_CHANNEL_SECOND),
        ..CatalogTrack::default()
    }
}

/// The codec as RFC 6381 writes it.
fn audio_codec(codec: &AudioCodec) -> String {
    match codec {
        AudioCodec::Aac(specific) => {
            let first = specific.first().copied().unwrap_or_default();
            let second = specific.get(1).copied().unwrap_or_default();
            // Five bits; 31 says that six more follow (ISO/IEC 14496-3, 1.6.2.1).
            let kind = match first >> 3 {
                31 => 32 + (((first & 7) << 3) | (second >> 5)),
                kind => kind,
            };
            format!("mp4a.40.{kind}")
        }
        AudioCodec::Opus(_) => "opus".into(),
    }
}
