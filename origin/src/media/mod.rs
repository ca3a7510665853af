//! One internal form for every ingest: access units with decode and presentation times.
//!
//! Whatever speaks to a host (RTMP, fMP4, later SRT and WHIP) turns it into [`Sample`]s; whatever
//! makes tracks of it reads nothing else. Times are ticks of the track's own timescale, so nothing
//! is rounded that the source did not round.

pub mod avc;
pub mod catalog;
pub mod cmaf;
pub mod packager;

mod audio;
mod facts;
mod timeline;
mod video;

use bytes::Bytes;

pub use facts::Fact;

/// What an ingest says, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The picture's configuration, at the start and whenever the encoder changes it.
    Video(VideoConfig),
    /// The sound's configuration, at the start and whenever the encoder changes it.
    Audio(AudioConfig),
    /// One access unit.
    Sample(Sample),
    /// The host has gone, or came back on a new connection: what follows does not continue what
    /// came before, and starts a new group.
    Break,
}

/// The picture's codec and its clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoConfig {
    /// `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15, 5.3.3.1), the body of an `avcC` box.
    pub avcc: Bytes,
    /// Ticks a second of this track's times: 1000 for RTMP, the track's own for fMP4.
    pub timescale: u32,
}

/// The sound's codec and its clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioConfig {
    /// Which codec, with what its decoder needs.
    pub codec: AudioCodec,
    /// Samples a second.
    pub sample_rate: u32,
    /// Channels: 1 or 2 in practice.
    pub channels: u16,
    /// Ticks a second of this track's times: 1000 for RTMP, the track's own for fMP4.
    pub timescale: u32,
}

/// Audio codecs that hosts send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioCodec {
    /// AAC, with its `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1).
    Aac(Bytes),
    /// Opus, with the body of its `dOps` box.
    Opus(Bytes),
}

/// Picture or sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The picture.
    Video,
    /// The sound.
    Audio,
}

/// One access unit: a coded picture, or one frame of sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Which track it belongs to.
    pub kind: Kind,
    /// Decode time in ticks.
    pub dts: i64,
    /// Presentation time in ticks.
    pub pts: i64,
    /// How long it lasts in ticks, where the source says so (fMP4 does, RTMP does not).
    pub duration: Option<u32>,
    /// Whether a decoder can start here. Always so for sound.
    pub key: bool,
    /// Length-prefixed NAL units for H.264 (prefix length as `avcC` says), one raw frame for sound.
    pub data: Bytes,
}
