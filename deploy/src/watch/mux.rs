//! Tracks that come one by one, in one file.

use bytes::{Bytes, BytesMut};
use mp4_atom::{Encode, Ftyp, Moov, Mvex};

use crate::fragments::{Fragment, FragmentError, Piece, Splitter};

/// Puts CMAF tracks into one fragmented MP4. Track `n` has the id `n + 1` there.
#[derive(Debug, Default)]
pub(crate) struct Muxer {
    sequence: u32,
}

impl Muxer {
    /// The start of a file with the tracks of these initialization segments.
    pub(crate) fn init(segments: &[Bytes]) -> Result<Bytes, FragmentError> {
        let mut merged: Option<Moov> = None;
        for (segment, id) in segments.iter().zip(1..) {
            let mut splitter = Splitter::default();
            splitter.push(segment);
            let Some(Piece::Init { moov, .. }) = splitter.next()? else {
                return Err(FragmentError::NotFragmented("no moov box in an initialization segment"));
            };
            let mut moov = *moov;
            moov.trak.truncate(1);
            moov.trak.iter_mut().for_each(|trak| trak.tkhd.track_id = id);
            let trex = moov.mvex.iter_mut().flat_map(|mvex: &mut Mvex| &mut mvex.trex);
            trex.for_each(|trex| trex.track_id = id);
            match &mut merged {
                None => merged = Some(moov),
                Some(merged) => {
                    merged.trak.append(&mut moov.trak);
                    if let (Some(all), Some(mut more)) = (&mut merged.mvex, moov.mvex) {
                        all.trex.append(&mut more.trex);
                    }
                }
            }
        }
        let mut moov = merged.ok_or(FragmentError::NotFragmented("no tracks"))?;
        moov.mvhd.next_track_id = segments.len() as u32 + 1;
        let ftyp = Ftyp {
            major_brand: b"iso6".into(),
            minor_version: 0,
            compatible_brands: vec![b"iso6".into(), b"cmfc".into(), b"mp41".into()],
        };
        let mut out = BytesMut::new();
        ftyp.encode(&mut out)?;
        moov.encode(&mut out)?;
        Ok(out.freeze())
    }

    /// A chunk of track `track`, as it stands in the file.
    pub(crate) fn chunk(&mut self, track: usize, chunk: Bytes) -> Result<Bytes, FragmentError> {
        let mut fragment = Fragment::read(chunk)?;
        self.sequence = self.sequence.wrapping_add(1);
        fragment.moof.mfhd.sequence_number = self.sequence;
        for traf in &mut fragment.moof.traf {
            traf.tfhd.track_id = track as u32 + 1;
        }
        fragment.write()
    }
}
