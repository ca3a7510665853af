//! FLV tag bodies as RTMP carries them, made into the internal form. Sans-IO and pure.
//!
//! Legacy AVC and AAC (Adobe FLV 10.1, annex E.4.2 and E.4.3), and the same two codecs with a FourCC
//! (Enhanced RTMP v2). Written here because the composition time is signed, and a library that reads it
//! unsigned puts a picture 16.7 million milliseconds into the future.
//!
//! RTMP has one clock of 32-bit milliseconds for all tracks of a session. It is unwrapped here, once,
//! for both tracks, so that they stay together across 2^32; each new session starts a new [`Demuxer`].

use bytes::{Buf, Bytes};

use crate::media::{AudioCodec, AudioConfig, Input, Kind, Sample, VideoConfig};

/// Ticks a second of RTMP's clock.
pub const TIMESCALE: u32 = 1000;

/// Bytes of an AVC or AAC configuration at most: 32 SPS and 255 PPS of a hundred bytes each.
pub const CONFIG_BYTES_MAX: usize = 32 << 10;

/// Turns the tags of one session into inputs.
#[derive(Debug, Default)]
pub struct Demuxer {
    clock: Clock,
    video: bool,
    audio: bool,
}

impl Demuxer {
    /// A video tag's body with its RTMP timestamp. `None` if it says nothing that viewers need.
    ///
    /// # Errors
    /// If the body is malformed, of a codec that viewers cannot play, or comes before its header.
    pub fn video(&mut self, timestamp: u32, mut body: Bytes) -> Result<Option<Input>, FlvError> {
        let dts = self.clock.unwrap(timestamp);
        let first = take_u8(&mut body, "a video tag")?;
        let frame = (first >> 4) & 0b111;
        if frame == FRAME_COMMAND {
            return Ok(None);
        }
        let packet = if first & EXTENDED == 0 {
            legacy_video(first & 0x0f, &mut body)?
        } else {
            extended_video(first & 0x0f, &mut body)?
        };
        match packet {
            VideoPacket::Header => self.video_header(body).map(Some),
            VideoPacket::Frame { .. } if !self.video => Err(FlvError::BeforeHeader),
            VideoPacket::Frame { composition } if !body.is_empty() => Ok(Some(Input::Sample(Sample {
                kind: Kind::Video,
                dts,
                pts: dts + i64::from(composition),
                duration: None,
                key: frame == FRAME_KEY || frame == FRAME_GENERATED_KEY,
                data: body,
            }))),
            VideoPacket::Frame { .. } | VideoPacket::Other => Ok(None),
        }
    }

    /// An audio tag's body with its RTMP timestamp. `None` if it says nothing that viewers need.
    ///
    /// # Errors
    /// If the body is malformed, of a codec that viewers cannot play, or comes before its header.
    pub fn audio(&mut self, timestamp: u32, mut body: Bytes) -> Result<Option<Input>, FlvError> {
        let time = self.clock.unwrap(timestamp);
        let first = take_u8(&mut body, "an audio tag")?;
        let packet = match first >> 4 {
            SOUND_AAC => match take_u8(&mut body, "an AAC tag")? {
                0 => AudioPacket::Header,
                1 => AudioPacket::Frame,
                other => return Err(FlvError::PacketType(other)),
            },
            SOUND_EXTENDED => extended_audio(first & 0x0f, &mut body)?,
            _ => return Err(FlvError::Unsupported(Unsupported::Audio)),
        };
        match packet {
            AudioPacket::Header => self.audio_header(body).map(Some),
            AudioPacket::Frame if !self.audio => Err(FlvError::BeforeHeader),
            AudioPacket::Frame if !body.is_empty() => Ok(Some(Input::Sample(Sample {
                kind: Kind::Audio,
                dts: time,
                pts: time,
                duration: None,
                key: true,
                data: body,
            }))),
            AudioPacket::Frame | AudioPacket::Other => Ok(None),
        }
    }

    fn video_header(&mut self, avcc: Bytes) -> Result<Input, FlvError> {
        // Version, profile, compatibility, level, length size, and the two counts of parameter sets.
        if avcc.len() < 7 || avcc[0] != 1 || avcc.len() > CONFIG_BYTES_MAX {
            return Err(FlvError::VideoHeader);
        }
        self.video = true;
        Ok(Input::Video(VideoConfig { avcc, timescale: TIMESCALE }))
    }

    fn audio_header(&mut self, asc: Bytes) -> Result<Input, FlvError> {
        if asc.len() > CONFIG_BYTES_MAX {
            return Err(FlvError::AudioHeader);
        }
        let (sample_rate, channels) = rate_and_channels(&asc).ok_or(FlvError::AudioHeader)?;
        self.audio = true;
        Ok(Input::Audio(AudioConfig {
            codec: AudioCodec::Aac(asc),
            sample_rate,
            channels,
            timescale: TIMESCALE,
        }))
    }
}

/// What is wrong with a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlvError {
    /// The body ends inside what it names.
    #[error("the encoder sent {0} that ends too early")]
    Truncated(&'static str),
    /// A packet type that no specification has.
    #[error("the encoder sent a packet of the unknown type {0}")]
    PacketType(u8),
    /// Not an `AVCDecoderConfigurationRecord`.
    #[error("the encoder sent a video header that is not H.264 configuration")]
    VideoHeader,
    /// Not an `AudioSpecificConfig` of mono to 7.1.
    #[error("the encoder sent an audio header that is not AAC configuration")]
    AudioHeader,
    /// A frame before the header without which nobody can decode it. It is dropped; nothing else is lost.
    #[error("the encoder sent a frame before its header")]
    BeforeHeader,
    /// A codec or mode that viewers cannot play.
    #[error("{0}")]
    Unsupported(Unsupported),
}

/// What an encoder must not choose, and what to choose instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// H.265.
    #[error("H.265 (HEVC) is not supported: in OBS choose an H.264 encoder under Settings > Output")]
    Hevc,
    /// AV1.
    #[error("AV1 is not supported: in OBS choose an H.264 encoder under Settings > Output")]
    Av1,
    /// Any other picture.
    #[error("this video codec is not supported: in OBS choose an H.264 encoder under Settings > Output")]
    Video,
    /// Any sound but AAC.
    #[error("this audio codec is not supported: in OBS choose AAC under Settings > Output > Audio Encoder")]
    Audio,
    /// Several tracks in one message.
    #[error("several tracks at once are not supported: in OBS turn off Enhanced Broadcasting")]
    Multitrack,
    /// `ModEx` prefixes, which an encoder may only send where the server offered them.
    #[error("the encoder uses an RTMP extension (ModEx) that was not offered")]
    Extension,
}

/// The session's clock: 32 bits on the wire, counted on across 2^32.
#[derive(Debug, Default)]
struct Clock {
    last: Option<i64>,
}

impl Clock {
    /// The time nearest to the last one that has these low 32 bits.
    fn unwrap(&mut self, timestamp: u32) -> i64 {
        let time = match self.last {
            None => i64::from(timestamp),
            Some(last) => last + i64::from(timestamp.wrapping_sub(last as u32) as i32),
        };
        self.last = Some(time);
        time
    }
}

enum VideoPacket {
    Header,
    Frame { composition: i32 },
    Other,
}

enum AudioPacket {
    Header,
    Frame,
    Other,
}

fn legacy_video(codec: u8, body: &mut Bytes) -> Result<VideoPacket, FlvError> {
    match codec {
        CODEC_AVC => {}
        CODEC_HEVC_UNOFFICIAL => return Err(FlvError::Unsupported(Unsupported::Hevc)),
        _ => return Err(FlvError::Unsupported(Unsupported::Video)),
    }
    let packet = take_u8(body, "an AVC tag")?;
    let composition = take_i24(body)?;
    match packet {
        0 => Ok(VideoPacket::Header),
        1 => Ok(VideoPacket::Frame { composition }),
        2 => Ok(VideoPacket::Other),
        other => Err(FlvError::PacketType(other)),
    }
}

fn extended_video(packet: u8, body: &mut Bytes) -> Result<VideoPacket, FlvError> {
    match packet {
        6 => return Err(FlvError::Unsupported(Unsupported::Multitrack)),
        7 => return Err(FlvError::Unsupported(Unsupported::Extension)),
        8.. => return Err(FlvError::PacketType(packet)),
        _ => {}
    }
    match &take_fourcc(body)? {
        b"avc1" => {}
        b"hvc1" => return Err(FlvError::Unsupported(Unsupported::Hevc)),
        b"av01" => return Err(FlvError::Unsupported(Unsupported::Av1)),
        _ => return Err(FlvError::Unsupported(Unsupported::Video)),
    }
    Ok(match packet {
        0 => VideoPacket::Header,
        1 => VideoPacket::Frame { composition: take_i24(body)? },
        3 => VideoPacket::Frame { composition: 0 },
        // Sequence end, metadata, and a start for MPEG-TS, which AVC does not use.
        _ => VideoPacket::Other,
    })
}

fn extended_audio(packet: u8, body: &mut Bytes) -> Result<AudioPacket, FlvError> {
    match packet {
        5 => return Err(FlvError::Unsupported(Unsupported::Multitrack)),
        7 => return Err(FlvError::Unsupported(Unsupported::Extension)),
        3 | 6 | 8.. => return Err(FlvError::PacketType(packet)),
        _ => {}
    }
    if &take_fourcc(body)? != b"mp4a" {
        return Err(FlvError::Unsupported(Unsupported::Audio));
    }
    Ok(match packet {
        0 => AudioPacket::Header,
        1 => AudioPacket::Frame,
        // Sequence end, and a channel order that the configuration also gives.
        _ => AudioPacket::Other,
    })
}

/// Samples a second of the core coder, and channels (ISO/IEC 14496-3, 1.6.2.1). For HE-AAC that is half
/// the rate that is heard, and the rate by which 1024 samples make a frame.
fn rate_and_channels(asc: &[u8]) -> Option<(u32, u16)> {
    let mut bits = Bits { bytes: asc, at: 0 };
    if bits.take(5)? == 31 {
        bits.take(6)?;
    }
    let rate = match bits.take(4)? {
        15 => bits.take(24)?,
        index => *SAMPLE_RATES.get(index as usize)?,
    };
    let channels = match bits.take(4)? {
        count @ 1..=6 => count as u16,
        7 => 8,
        _ => return None,
    };
    (rate > 0).then_some((rate, channels))
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}

fn take_u8(body: &mut Bytes, what: &'static str) -> Result<u8, FlvError> {
    body.try_get_u8().map_err(|_| FlvError::Truncated(what))
}

/// Sign-extended here: `Buf::try_get_int` (bytes 1) does not do it for three bytes.
fn take_i24(body: &mut Bytes) -> Result<i32, FlvError> {
    let value = body.try_get_uint(3).map_err(|_| FlvError::Truncated("a composition time"))?;
    Ok(((value as i32) << 8) >> 8)
}

fn take_fourcc(body: &mut Bytes) -> Result<[u8; 4], FlvError> {
    body.try_get_u32().map(u32::to_be_bytes).map_err(|_| FlvError::Truncated("a FourCC"))
}

const EXTENDED: u8 = 0x80;
const FRAME_KEY: u8 = 1;
const FRAME_GENERATED_KEY: u8 = 4;
const FRAME_COMMAND: u8 = 5;
const CODEC_AVC: u8 = 7;
/// Never in Adobe's text, but what some encoders send for H.265 without a FourCC.
const CODEC_HEVC_UNOFFICIAL: u8 = 12;
const SOUND_EXTENDED: u8 = 9;
const SOUND_AAC: u8 = 10;
const SAMPLE_RATES: [u32; 13] =
    [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AVCC: &[u8] = &[1, 0x64, 0, 0x1f, 0xff, 0xe1, 0];

    fn started() -> Demuxer {
        let mut demuxer = Demuxer::default();
        demuxer.video(0, [&[0x17, 0, 0, 0, 0], AVCC].concat().into()).unwrap().unwrap();
        demuxer.audio(0, Bytes::from_static(&[0xaf, 0, 0x11, 0x90])).unwrap().unwrap();
        demuxer
    }

    fn sample(input: Option<Input>) -> Sample {
        let Some(Input::Sample(sample)) = input else { panic!("{input:?} is no sample") };
        sample
    }

    #[test]
    fn composition_times_are_signed() {
        let mut demuxer = started();
        let body = Bytes::from_static(&[0x27, 1, 0xff, 0xff, 0xd8, 9]);
        let frame = sample(demuxer.video(100, body).unwrap());
        assert_eq!((frame.dts, frame.pts, frame.key), (100, 60, false));
    }

    #[test]
    fn both_tracks_cross_the_wrap_together() {
        let mut demuxer = started();
        let frame = |bytes: &'static [u8]| Bytes::from_static(bytes);
        demuxer.clock = Clock::default();
        let before = sample(demuxer.audio(u32::MAX - 9, frame(&[0xaf, 1, 7])).unwrap());
        let after = sample(demuxer.video(5, frame(&[0x17, 1, 0, 0, 0, 7])).unwrap());
        let back = sample(demuxer.audio(u32::MAX, frame(&[0xaf, 1, 7])).unwrap());
        assert_eq!(after.dts - before.dts, 15);
        assert_eq!(back.dts, i64::from(u32::MAX));
    }

    #[test]
    fn headers_say_what_a_decoder_needs() {
        let mut demuxer = Demuxer::default();
        let audio = demuxer.audio(0, Bytes::from_static(&[0xaf, 0, 0x11, 0x90])).unwrap();
        let Some(Input::Audio(config)) = audio else { panic!("{audio:?}") };
        assert_eq!((config.sample_rate, config.channels, config.timescale), (48000, 2, 1000));
        let header = [b"\x90avc1", AVCC].concat();
        assert!(matches!(demuxer.video(0, header.into()), Ok(Some(Input::Video(v))) if v.avcc == AVCC));
        let frame = sample(demuxer.video(40, Bytes::from_static(b"\xa3avc1x")).unwrap());
        assert_eq!((frame.dts, frame.pts, frame.key), (40, 40, false));
        let frame = sample(demuxer.video(80, Bytes::from_static(b"\xa1avc1\xff\xff\xffx")).unwrap());
        assert_eq!((frame.dts, frame.pts), (80, 79));
    }

    #[test]
    fn what_viewers_cannot_play_is_named() {
        let video = |body: &'static [u8]| Demuxer::default().video(0, Bytes::from_static(body)).unwrap_err();
        assert_eq!(video(b"\x90hvc1"), FlvError::Unsupported(Unsupported::Hevc));
        assert_eq!(video(b"\x90av01"), FlvError::Unsupported(Unsupported::Av1));
        assert_eq!(video(b"\x96avc1"), FlvError::Unsupported(Unsupported::Multitrack));
        assert_eq!(video(b"\x12"), FlvError::Unsupported(Unsupported::Video));
        assert_eq!(video(b"\x17\x01\0\0\0x"), FlvError::BeforeHeader);
        assert_eq!(video(b""), FlvError::Truncated("a video tag"));
        let audio = Demuxer::default().audio(0, Bytes::from_static(b"\x90Opus")).unwrap_err();
        assert_eq!(audio, FlvError::Unsupported(Unsupported::Audio));
        assert!(audio.to_string().contains("OBS"));
    }

    fn tag() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..24)
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_value_or_an_error(
            tags in prop::collection::vec((any::<bool>(), any::<u32>(), tag()), 0..16)
        ) {
            let mut demuxer = started();
            for (video, timestamp, body) in tags {
                let _ = match video {
                    true => demuxer.video(timestamp, body.into()),
                    false => demuxer.audio(timestamp, body.into()),
                };
            }
        }
    }
}
