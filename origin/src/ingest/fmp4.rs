//! Fragmented MP4 (ISO/IEC 14496-12), as it comes: moov once, then moof and mdat again and again.
//!
//! Sans-IO: bytes in any pieces become [`Input`]s once a fragment is whole. Boxes are read by `mp4-atom`;
//! what is ours is when, how much of them is kept, and where the samples lie.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use mp4_atom::{Atom, Codec, Moof, Moov, Traf, Trak, Trex};

use super::http::{Demux, DemuxError};
use crate::media::{AudioCodec, AudioConfig, Input, Kind, Sample, VideoConfig};

/// Bytes of a moov or moof at most: 10 s of 60 pictures and 47 frames of sound a second, 16 bytes each, are
/// 17 KB.
const INDEX_BYTES_MAX: u64 = 1 << 20;

/// Bytes of an mdat at most: 10 s of 25 Mb/s.
const DATA_BYTES_MAX: u64 = 32 << 20;

/// Tracks that a moov may list: picture, sound, and what is passed over.
const TRACKS_MAX: usize = 8;

/// Samples of a fragment at most: a minute of sound, and pictures.
const SAMPLES_MAX: usize = 10_000;

/// Set where a sample is not a sync sample (8.8.3.1).
const FLAG_NON_SYNC: u32 = 0x0001_0000;

/// Reads one body.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    /// Where in the body the buffer begins.
    position: u64,
    /// Bytes of a box that nobody needs, still to come.
    skip: u64,
    tracks: Vec<Track>,
    /// Samples of the last moof, whose bytes are to come.
    pending: Vec<Pending>,
    state: State,
    inputs: VecDeque<Input>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    BeforeMoov,
    /// The next moof is waited for.
    Between,
    /// A moof has come, and its mdat has not.
    Fragment,
}

/// A track that can be played.
#[derive(Debug)]
struct Track {
    id: u32,
    kind: Kind,
    timescale: u32,
    /// What an edit list adds to its times, in ticks.
    shift: i64,
    defaults: Trex,
    /// Where the next fragment begins if it does not say.
    next: i64,
}

/// A sample whose bytes are to come.
#[derive(Debug)]
struct Pending {
    at: u64,
    len: usize,
    /// For the order among tracks, in nanoseconds.
    decode_nanos: i128,
    sample: Sample,
}

struct BoxHead {
    kind: [u8; 4],
    head_len: u64,
    body_len: u64,
}

impl Reader {
    /// A reader at the start of a body.
    pub fn new() -> Self {
        Self::default()
    }

    fn advance(&mut self, len: usize) {
        self.buffer.advance(len);
        self.position += len as u64;
    }

    /// Reads the next box, if it has come.
    fn read_box(&mut self) -> Result<bool, DemuxError> {
        if self.skip > 0 {
            let there = self.skip.min(self.buffer.len() as u64);
            self.advance(there as usize);
            self.skip -= there;
            if self.skip > 0 {
                return Ok(false);
            }
        }
        let Some(head) = BoxHead::read(&self.buffer)? else { return Ok(false) };
        let max = match &head.kind {
            b"moov" | b"moof" => INDEX_BYTES_MAX,
            b"mdat" if self.state == State::Fragment => DATA_BYTES_MAX,
            b"mdat" => return Err(malformed("there is media before its index; send fragmented MP4")),
            _ => {
                self.advance(head.head_len as usize);
                self.skip = head.body_len;
                return Ok(true);
            }
        };
        if head.body_len > max {
            let kind = String::from_utf8_lossy(&head.kind);
            let len = head.body_len;
            return Err(DemuxError::TooLarge(format!(
                "the {kind} box has {len} bytes, {max} are allowed; send shorter fragments"
            )));
        }
        let whole = (head.head_len + head.body_len) as usize;
        if self.buffer.len() < whole {
            return Ok(false);
        }
        let began = self.position;
        self.advance(head.head_len as usize);
        let data_at = self.position;
        let body = self.buffer.split_to(head.body_len as usize).freeze();
        self.position += head.body_len;
        match &head.kind {
            b"moov" => self.on_moov(&body)?,
            b"moof" => self.on_moof(&body, began)?,
            _ => self.on_mdat(&body, data_at)?,
        }
        Ok(true)
    }

    fn on_moov(&mut self, body: &Bytes) -> Result<(), DemuxError> {
        let moov = Moov::decode_body(&mut &body[..]).map_err(|error| malformed(&format!("moov: {error}")))?;
        if moov.trak.len() > TRACKS_MAX {
            let tracks = moov.trak.len();
            return Err(DemuxError::TooLarge(format!("{tracks} tracks; {TRACKS_MAX} are allowed")));
        }
        let fragments =
            moov.mvex.as_ref().ok_or_else(|| malformed("this MP4 is not fragmented (no mvex box)"))?;
        self.tracks.clear();
        for trak in &moov.trak {
            let id = trak.tkhd.track_id;
            let defaults =
                fragments.trex.iter().find(|trex| trex.track_id == id).cloned().unwrap_or_default();
            let timescale = trak.mdia.mdhd.timescale;
            if timescale == 0 {
                return Err(malformed("a track has a timescale of 0"));
            }
            let Some((kind, config)) = configuration(trak)? else { continue };
            // Of each kind the first is played.
            if self.tracks.iter().any(|track| track.kind == kind) {
                continue;
            }
            let shift = shift(trak, moov.mvhd.timescale);
            self.tracks.push(Track { id, kind, timescale, shift, defaults, next: 0 });
            self.inputs.push_back(config);
        }
        if self.tracks.is_empty() {
            let codecs = "H.264 video, AAC or Opus audio";
            return Err(DemuxError::Unsupported(format!("no track that viewers can play; send {codecs}")));
        }
        self.state = State::Between;
        Ok(())
    }

    fn on_moof(&mut self, body: &Bytes, began: u64) -> Result<(), DemuxError> {
        match self.state {
            State::BeforeMoov => return Err(malformed("a fragment came before the moov box")),
            State::Fragment => return Err(malformed("a fragment came before the media of the last one")),
            State::Between => {}
        }
        let moof = Moof::decode_body(&mut &body[..]).map_err(|error| malformed(&format!("moof: {error}")))?;
        let mut end_of_last = began;
        for traf in &moof.traf {
            end_of_last = self.on_traf(traf, began, end_of_last)?;
        }
        self.state = State::Fragment;
        Ok(())
    }

    /// Notes the samples of one track; returns where its data ends.
    fn on_traf(&mut self, traf: &Traf, moof_at: u64, end_of_last: u64) -> Result<u64, DemuxError> {
        let tfhd = &traf.tfhd;
        let base = match (tfhd.base_data_offset, tfhd.default_base_is_moof) {
            (Some(offset), _) => offset,
            (None, true) => moof_at,
            (None, false) => end_of_last,
        };
        let Some(track) = self.tracks.iter_mut().find(|track| track.id == tfhd.track_id) else {
            return Ok(end_of_last);
        };
        let mut decode = match &traf.tfdt {
            Some(tfdt) => {
                i64::try_from(tfdt.base_media_decode_time).map_err(|_| malformed("a time is too large"))?
            }
            None => track.next,
        };
        let mut at = base;
        for trun in &traf.trun {
            if let Some(offset) = trun.data_offset {
                at = base
                    .checked_add_signed(offset.into())
                    .ok_or_else(|| malformed("an offset is before the body"))?;
            }
            for entry in &trun.samples {
                if self.pending.len() >= SAMPLES_MAX {
                    let most = SAMPLES_MAX;
                    return Err(DemuxError::TooLarge(format!("a fragment has over {most} samples")));
                }
                let defaults = &track.defaults;
                let or = |said: Option<u32>, usual: Option<u32>, last: u32| said.or(usual).unwrap_or(last);
                let duration =
                    or(entry.duration, tfhd.default_sample_duration, defaults.default_sample_duration);
                let len = or(entry.size, tfhd.default_sample_size, defaults.default_sample_size);
                let flags = or(entry.flags, tfhd.default_sample_flags, defaults.default_sample_flags);
                let dts = decode.saturating_add(track.shift);
                let sample = Sample {
                    kind: track.kind,
                    dts,
                    pts: dts.saturating_add(entry.cts.unwrap_or_default()),
                    duration: Some(duration),
                    key: track.kind == Kind::Audio || flags & FLAG_NON_SYNC == 0,
                    data: Bytes::new(),
                };
                let decode_nanos = i128::from(dts) * 1_000_000_000 / i128::from(track.timescale);
                self.pending.push(Pending { at, len: len as usize, decode_nanos, sample });
                at = at.checked_add(len.into()).ok_or_else(|| malformed("an offset is too large"))?;
                decode = decode.saturating_add(duration.into());
            }
        }
        track.next = decode;
        Ok(at)
    }

    fn on_mdat(&mut self, body: &Bytes, data_at: u64) -> Result<(), DemuxError> {
        let mut pending = std::mem::take(&mut self.pending);
        // In the order in which they are decoded, whichever track they are of.
        pending.sort_by_key(|pending| pending.decode_nanos);
        for Pending { at, len, mut sample, .. } in pending {
            let from = at.checked_sub(data_at).and_then(|from| usize::try_from(from).ok());
            let range = from
                .and_then(|from| Some(from..from.checked_add(len)?))
                .filter(|range| range.end <= body.len());
            let range = range.ok_or_else(|| malformed("a sample lies outside its fragment's mdat box"))?;
            sample.data = body.slice(range);
            self.inputs.push_back(Input::Sample(sample));
        }
        self.state = State::Between;
        Ok(())
    }
}

impl Demux for Reader {
    fn push(&mut self, bytes: Bytes) -> Result<(), DemuxError> {
        self.buffer.extend_from_slice(&bytes);
        while self.read_box()? {}
        Ok(())
    }

    fn poll(&mut self) -> Option<Input> {
        self.inputs.pop_front()
    }

    fn finish(&mut self) -> Result<(), DemuxError> {
        let whole = self.buffer.is_empty() && self.skip == 0;
        match self.state {
            State::Between if whole => Ok(()),
            State::BeforeMoov if whole => Err(malformed("the body has no moov box; send fragmented MP4")),
            _ => Err(malformed("the body ended inside a fragment")),
        }
    }
}

impl BoxHead {
    fn read(buffer: &[u8]) -> Result<Option<Self>, DemuxError> {
        let Some((head, rest)) = buffer.split_first_chunk::<8>() else { return Ok(None) };
        let [size @ .., a, b, c, d] = *head;
        let (size, head_len) = match u32::from_be_bytes(size) {
            0 => return Err(malformed("a box without a length; the body cannot go on after it")),
            1 => match rest.first_chunk() {
                Some(size) => (u64::from_be_bytes(*size), 16),
                None => return Ok(None),
            },
            size => (size.into(), 8),
        };
        let body_len =
            size.checked_sub(head_len).ok_or_else(|| malformed("a box is shorter than its head"))?;
        Ok(Some(Self { kind: [a, b, c, d], head_len, body_len }))
    }
}

/// What a track is, if viewers can play it.
fn configuration(trak: &Trak) -> Result<Option<(Kind, Input)>, DemuxError> {
    let timescale = trak.mdia.mdhd.timescale;
    let unreadable = |_| malformed("a codec's configuration cannot be read");
    let Some(codec) = trak.mdia.minf.stbl.stsd.codecs.first() else { return Ok(None) };
    let (audio, codec) = match codec {
        Codec::Avc1(mp4_atom::Avc1 { avcc, .. }) | Codec::Avc3(mp4_atom::Avc3 { avcc, .. }) => {
            let mut record = Vec::new();
            avcc.encode_body(&mut record).map_err(unreadable)?;
            return Ok(Some((Kind::Video, Input::Video(VideoConfig { avcc: record.into(), timescale }))));
        }
        Codec::Mp4a(mp4a) => {
            let specific = mp4a.esds.es_desc.dec_config.dec_specific.as_ref();
            let specific = specific.ok_or_else(|| {
                malformed("the sound has no AudioSpecificConfig; with ffmpeg, add +delay_moov to -movflags")
            })?;
            (&mp4a.audio, AudioCodec::Aac(specific.raw.clone().into()))
        }
        Codec::Opus(opus) => {
            let mut body = Vec::new();
            opus.dops.encode_body(&mut body).map_err(unreadable)?;
            (&opus.audio, AudioCodec::Opus(body.into()))
        }
        _ => return Ok(None),
    };
    let sample_rate = match audio.sample_rate.integer() {
        // 88.2 kHz and more do not fit into the box.
        0 => timescale,
        rate => rate.into(),
    };
    let config = AudioConfig { codec, sample_rate, channels: audio.channel_count, timescale };
    Ok(Some((Kind::Audio, Input::Audio(config))))
}

/// What the edit list adds to a track's times: an empty edit delays it, and the first other one says where
/// in the media it begins (8.6.6).
fn shift(trak: &Trak, movie_timescale: u32) -> i64 {
    let entries = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref()).map(|elst| &elst.entries);
    let mut delay = 0;
    for entry in entries.into_iter().flatten() {
        match entry.media_time {
            None => {
                let ticks = u128::from(entry.segment_duration) * u128::from(trak.mdia.mdhd.timescale);
                let ticks = i64::try_from(ticks / u128::from(movie_timescale.max(1))).unwrap_or(0);
                delay = i64::saturating_add(delay, ticks);
            }
            Some(begins) => return delay.saturating_sub(i64::try_from(begins).unwrap_or(0)),
        }
    }
    delay
}

fn malformed(what: &str) -> DemuxError {
    DemuxError::Malformed(what.to_owned())
}
