//! H.264 as hosts send it: the configuration record, and access units of length-prefixed NAL units.

use bytes::{BufMut, Bytes, BytesMut};
use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::rbsp::{BitReader, ByteReader};
use mp4_atom::{Atom, Avcc};

/// NAL units that say nothing to a decoder: delimiters of access units, and padding.
const ACCESS_UNIT_DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const SEI: u8 = 6;

/// The SEI payload that is only there to fill up the bit rate.
const SEI_FILLER: u8 = 3;

/// The configuration of an H.264 track (ISO/IEC 14496-15, 5.3.3.1), with what its parameter sets say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Avc {
    record: Avcc,
    length_size: usize,
    width: u16,
    height: u16,
    /// Pictures in 1000 seconds, where the parameter sets say so.
    frame_rate_milli: Option<u32>,
}

/// What is wrong with a configuration or an access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AvcError {
    /// The record cannot be read.
    #[error("the H.264 configuration record is malformed")]
    Record,
    /// There is no sequence parameter set that can be read.
    #[error("the H.264 configuration record has no readable sequence parameter set")]
    ParameterSet,
    /// A NAL unit is longer than its access unit.
    #[error("a NAL unit is longer than its access unit")]
    Length,
}

impl Avc {
    /// Reads a configuration record.
    ///
    /// # Errors
    /// If it cannot be read, or has no parameter set of a picture that can be shown.
    pub fn read(record: &[u8]) -> Result<Self, AvcError> {
        let mut record = Avcc::decode_body(&mut &*record).map_err(|_| AvcError::Record)?;
        let length_size = usize::from(record.length_size);
        if ![1, 2, 4].contains(&length_size) {
            return Err(AvcError::Record);
        }
        // What goes out has four bytes, whatever came in.
        record.length_size = 4;
        let sps = record.sequence_parameter_sets.first().ok_or(AvcError::ParameterSet)?;
        let bits = BitReader::new(ByteReader::skipping_h264_header(&sps[..]));
        let sps = SeqParameterSet::from_bits(bits).map_err(|_| AvcError::ParameterSet)?;
        let (width, height) = sps.pixel_dimensions().map_err(|_| AvcError::ParameterSet)?;
        let size = |pixels: u32| u16::try_from(pixels).map_err(|_| AvcError::ParameterSet);
        let frame_rate_milli =
            sps.fps().filter(|fps| (0.1..1000.0).contains(fps)).map(|fps| (fps * 1000.0).round() as u32);
        Ok(Self { length_size, width: size(width)?, height: size(height)?, frame_rate_milli, record })
    }

    /// The record, for NAL units with lengths of four bytes.
    pub fn record(&self) -> &Avcc {
        &self.record
    }

    /// Pixels across and down.
    pub fn size(&self) -> (u16, u16) {
        (self.width, self.height)
    }

    /// Pictures a second, where the parameter sets say so.
    pub fn frame_rate(&self) -> Option<f64> {
        self.frame_rate_milli.map(|milli| f64::from(milli) / 1000.0)
    }

    /// The codec as RFC 6381 writes it.
    pub fn codec(&self) -> String {
        let Avcc { avc_profile_indication, profile_compatibility, avc_level_indication, .. } = self.record;
        format!("avc1.{avc_profile_indication:02x}{profile_compatibility:02x}{avc_level_indication:02x}")
    }

    /// Finds what of an access unit is worth sending.
    ///
    /// # Errors
    /// [`AvcError::Length`].
    pub fn lean(&self, unit: &Bytes) -> Result<LeanUnit, AvcError> {
        let mut lean = LeanUnit { nals: Vec::new(), len: 0, stripped: 0 };
        let mut rest = unit.clone();
        while !rest.is_empty() {
            if rest.len() < self.length_size {
                return Err(AvcError::Length);
            }
            let prefix = rest.split_to(self.length_size);
            let len = prefix.iter().fold(0usize, |len, &byte| (len << 8) | usize::from(byte));
            if len > rest.len() {
                return Err(AvcError::Length);
            }
            let nal = rest.split_to(len);
            if is_padding(&nal) {
                lean.stripped += self.length_size + len;
            } else {
                lean.len += 4 + len;
                lean.nals.push(nal);
            }
        }
        Ok(lean)
    }
}

/// An access unit without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeanUnit {
    nals: Vec<Bytes>,
    len: usize,
    stripped: usize,
}

impl LeanUnit {
    /// Its bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is left of it.
    pub fn is_empty(&self) -> bool {
        self.nals.is_empty()
    }

    /// Bytes that were left out.
    pub fn stripped(&self) -> usize {
        self.stripped
    }

    /// Appends it, with lengths of four bytes.
    pub fn write(&self, out: &mut BytesMut) {
        for nal in &self.nals {
            // Part of an access unit, which was counted with 32 bits at most.
            out.put_u32(nal.len() as u32);
            out.put_slice(nal);
        }
    }
}

fn is_padding(nal: &[u8]) -> bool {
    match nal.first().map(|header| header & 0x1f) {
        None | Some(FILLER | ACCESS_UNIT_DELIMITER) => true,
        Some(SEI) => is_filler_sei(&nal[1..]),
        Some(_) => false,
    }
}

/// Whether an SEI has filler payload and nothing else.
fn is_filler_sei(mut body: &[u8]) -> bool {
    let mut any = false;
    loop {
        match body {
            // The stop bit, and zeros that some encoders add.
            [0x80, zeros @ ..] if zeros.iter().all(|&byte| byte == 0) => return any,
            [SEI_FILLER, rest @ ..] => {
                let long = rest.iter().take_while(|&&byte| byte == 0xff).count();
                let Some(&last) = rest.get(long) else { return false };
                let len = long * 255 + usize::from(last);
                // Only bytes of 0xff, so that no emulation prevention lengthens it.
                let Some(payload) = rest.get(long + 1..long + 1 + len) else { return false };
                if payload.iter().any(|&byte| byte != 0xff) {
                    return false;
                }
                body = &rest[long + 1 + len..];
                any = true;
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// High, level 3, 320x180 at 30 pictures a second, as x264 writes it.
    const SPS: &[u8] = &[
        0x67, 0x64, 0x00, 0x0d, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9e, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
        0x00, 0x03, 0x03, 0xc0, 0xf1, 0x42, 0x99, 0x60,
    ];

    fn record(length_size_minus_one: u8) -> Vec<u8> {
        let mut record = vec![1, 0x64, 0, 0x0d, 0xfc | length_size_minus_one, 0xe1, 0, SPS.len() as u8];
        record.extend_from_slice(SPS);
        record.extend_from_slice(&[1, 0, 4, 0x68, 0xeb, 0xe3, 0xcb]);
        record
    }

    fn lean(length_size: u8, nals: &[&[u8]]) -> Result<(Vec<u8>, usize), AvcError> {
        let mut unit = Vec::new();
        for nal in nals {
            let prefix = (nal.len() as u32).to_be_bytes();
            unit.extend_from_slice(&prefix[4 - usize::from(length_size)..]);
            unit.extend_from_slice(nal);
        }
        let lean = Avc::read(&record(length_size - 1)).unwrap().lean(&unit.into())?;
        let mut out = BytesMut::new();
        lean.write(&mut out);
        assert_eq!(out.len(), lean.len());
        Ok((out.to_vec(), lean.stripped()))
    }

    #[test]
    fn the_record_says_what_the_picture_is_like() {
        let avc = Avc::read(&record(3)).unwrap();
        assert_eq!((avc.size(), avc.codec().as_str()), ((320, 180), "avc1.64000d"));
        assert_eq!(Avc::read(&[]), Err(AvcError::Record));
        assert_eq!(Avc::read(&record(2)), Err(AvcError::Record), "lengths of three bytes");
        assert_eq!(Avc::read(&[1, 0x64, 0, 13, 0xff, 0xe0, 0]), Err(AvcError::ParameterSet));
    }

    #[test]
    fn padding_is_left_out_and_the_rest_stays() {
        let slice = [0x65, 1, 2, 3].as_slice();
        let user_data = [6, 5, 2, 0xaa, 0xbb, 0x80].as_slice();
        let filler_sei = [6, 3, 2, 0xff, 0xff, 0x80].as_slice();
        let table: [(&[&[u8]], usize); 6] = [
            (&[slice], 0),
            (&[&[9, 0xf0], slice], 6),
            (&[slice, &[12, 0xff, 0xff, 0x80]], 8),
            (&[filler_sei, slice], 10),
            (&[user_data, slice], 0),
            (&[&[], slice], 4),
        ];
        for (nals, stripped) in table {
            let (out, counted) = lean(4, nals).unwrap();
            assert_eq!(counted, stripped, "{nals:?}");
            assert!(out.ends_with(slice));
            assert_eq!(out.len() + stripped, nals.iter().map(|nal| nal.len() + 4).sum::<usize>());
        }
    }

    #[test]
    fn lengths_become_four_bytes() {
        for length_size in [1, 2, 4] {
            assert_eq!(lean(length_size, &[&[0x65, 7]]).unwrap().0, [0, 0, 0, 2, 0x65, 7]);
        }
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        let avc = Avc::read(&record(3)).unwrap();
        for unit in [&[0, 0, 0, 9, 1][..], &[0, 0], &[0xff, 0xff, 0xff, 0xff, 1]] {
            assert_eq!(avc.lean(&Bytes::copy_from_slice(unit)), Err(AvcError::Length));
        }
    }
}
