//! What CMAF says about time: the initialization segment of a track, and where a chunk begins and ends.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;
use mp4_atom::{Atom, Moof, Moov, Trun, TrunSamples};

/// Why bytes are no initialization segment, or no chunk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// A box that cannot be read.
    #[error("a box cannot be read: {0}")]
    Box(#[from] mp4_atom::Error),
    /// A box that has to be there is not.
    #[error("there is no {0}")]
    Missing(&'static str),
    /// It takes no time.
    #[error("the chunk has no duration")]
    Empty,
    /// It takes longer than a segment may.
    #[error("the chunk is longer than a segment may be: {0:?}")]
    TooLong(Duration),
}

/// A track's initialization segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Init {
    pub(super) bytes: Bytes,
    /// The same for the same bytes, on every edge: so that its URL may be cached.
    pub(super) id: u64,
    timescale: u32,
    /// A sample's duration where a chunk gives none, in ticks.
    default_duration: u32,
}

impl Init {
    pub(super) fn read(bytes: Bytes) -> Result<Self, ChunkError> {
        let moov = Moov::decode_body(&mut body_of(&bytes, b"moov")?)?;
        let trak = moov.trak.first().ok_or(ChunkError::Missing("trak box"))?;
        let timescale = trak.mdia.mdhd.timescale.max(1);
        let trex = moov.mvex.as_ref().and_then(|mvex| mvex.trex.first());
        let default_duration = trex.map_or(0, |trex| trex.default_sample_duration);
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Ok(Self { id: hasher.finish(), bytes, timescale, default_duration })
    }

    /// Where a chunk of this track lies.
    pub(super) fn span(&self, chunk: &[u8]) -> Result<Span, ChunkError> {
        let moof = Moof::decode_body(&mut body_of(chunk, b"moof")?)?;
        let traf = moof.traf.first().ok_or(ChunkError::Missing("traf box"))?;
        let tfdt = traf.tfdt.as_ref().ok_or(ChunkError::Missing("tfdt box"))?;
        let default = traf.tfhd.default_sample_duration.unwrap_or(self.default_duration);
        let ticks = traf.trun.iter().map(|run| ticks(run, default)).fold(0, u64::saturating_add);
        if ticks == 0 {
            return Err(ChunkError::Empty);
        }
        let start = tfdt.base_media_decode_time;
        Ok(Span { start: self.time(start), end: self.time(start.saturating_add(ticks)) })
    }

    fn time(&self, ticks: u64) -> Duration {
        let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(self.timescale);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Where a chunk lies in its track's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: Duration,
    pub(super) end: Duration,
}

impl Span {
    pub(super) fn duration(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }

    pub(super) fn middle(&self) -> Duration {
        self.start + self.duration() / 2
    }
}

fn ticks(run: &Trun, default: u32) -> u64 {
    match &run.samples {
        // A count from outside, so nothing that is walked through.
        TrunSamples::Inherited { count, .. } => u64::from(*count) * u64::from(default),
        TrunSamples::Explicit(samples) => {
            samples.iter().map(|sample| u64::from(sample.duration.unwrap_or(default))).sum()
        }
    }
}

/// The body of the first box of this kind at the top level.
fn body_of<'a>(mut bytes: &'a [u8], kind: &'static [u8; 4]) -> Result<&'a [u8], ChunkError> {
    let missing = || ChunkError::Missing(std::str::from_utf8(kind).unwrap_or("box"));
    loop {
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(missing)?;
        let (found, rest) = rest.split_first_chunk::<4>().ok_or_else(missing)?;
        let (head, size) = match u32::from_be_bytes(*size) {
            1 => (16, u64::from_be_bytes(*rest.first_chunk::<8>().ok_or_else(missing)?)),
            size => (8, size.into()),
        };
        let len = usize::try_from(size).ok().filter(|len| (head..=bytes.len()).contains(len));
        let len = len.ok_or_else(missing)?;
        if found == kind {
            return Ok(&bytes[head..len]);
        }
        bytes = &bytes[len..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_boxes_are_an_error() {
        let huge = [0, 0, 0, 1, b'm', b'o', b'o', b'f', 255, 255, 255, 255, 255, 255, 255, 255];
        for bytes in [&b""[..], b"moof", &[0; 64], &[0, 0, 0, 8, b'f', b'r', b'e', b'e'], &huge] {
            assert!(body_of(bytes, b"moof").is_err(), "{bytes:?}");
        }
    }
}
