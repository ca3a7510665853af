//! CMAF (ISO/IEC 23000-19): the initialization segment of a track, and chunks of one moof and one mdat.

use bytes::{BufMut, Bytes, BytesMut};
use mp4_atom::esds::{DecoderConfig, DecoderSpecific, EsDescriptor, SLConfig};
use mp4_atom::{
    Audio, Avc1, Codec, Dinf, Dops, Dref, DrefEntry, Encode, Esds, FourCC, Ftyp, Hdlr, Mdhd, Mdia, Mfhd,
    Minf, Moof, Moov, Mp4a, Mvex, Mvhd, Opus, Smhd, Stbl, Stsd, Tfdt, Tfhd, Tkhd, Traf, Trak, Trex, Trun,
    TrunEntry, Url, Visual, Vmhd,
};

use super::avc::Avc;
use super::{AudioCodec, AudioConfig};

/// Each track is alone in its segment.
const TRACK_ID: u32 = 1;

/// A decoder can start here: depends on no other sample.
const FLAGS_KEY: u32 = 0x0200_0000;

/// Depends on others, and is no place to start.
const FLAGS_DELTA: u32 = 0x0101_0000;

/// The object type of AAC (ISO/IEC 14496-1, 7.2.6.6).
const OBJECT_TYPE_AAC: u8 = 0x40;
const STREAM_TYPE_AUDIO: u8 = 5;

/// What cannot be packaged.
#[derive(Debug, thiserror::Error)]
pub enum CmafError {
    /// A box that cannot be written.
    #[error("cannot write a box: {0}")]
    Box(#[from] mp4_atom::Error),
    /// A codec configuration that cannot be read.
    #[error("the configuration of the sound cannot be read")]
    AudioConfig,
}

/// The initialization segment of a picture.
///
/// # Errors
/// If a box cannot be written.
pub fn video_init(avc: &Avc, timescale: u32) -> Result<Bytes, CmafError> {
    let (width, height) = avc.size();
    let visual = Visual { width, height, ..Visual::default() };
    let codec = Codec::Avc1(Avc1 { visual, avcc: avc.record().clone(), ..Avc1::default() });
    let tkhd = Tkhd { width: width.into(), height: height.into(), ..tkhd() };
    let minf = Minf { vmhd: Some(Vmhd::default()), ..minf(codec) };
    init(timescale, tkhd, *b"vide", minf)
}

/// The initialization segment of a sound.
///
/// # Errors
/// If the codec's configuration cannot be read, or a box cannot be written.
pub fn audio_init(config: &AudioConfig, timescale: u32) -> Result<Bytes, CmafError> {
    let audio = Audio {
        data_reference_index: 1,
        channel_count: config.channels,
        sample_size: 16,
        // The box has 16 bits for it; what does not fit is in the codec's configuration.
        sample_rate: u16::try_from(config.sample_rate).unwrap_or(0).into(),
    };
    let codec = match &config.codec {
        AudioCodec::Aac(specific) => {
            Codec::Mp4a(Mp4a { audio, esds: esds(specific), btrt: None, taic: None })
        }
        AudioCodec::Opus(body) => {
            let dops =
                <Dops as mp4_atom::Atom>::decode_body(&mut &body[..]).map_err(|_| CmafError::AudioConfig)?;
            Codec::Opus(Opus { audio, dops, btrt: None })
        }
    };
    let minf = Minf { smhd: Some(Smhd::default()), ..minf(codec) };
    init(timescale, Tkhd { volume: 1.into(), ..tkhd() }, *b"soun", minf)
}

fn esds(specific: &[u8]) -> Esds {
    let dec_specific = Some(DecoderSpecific { raw: specific.to_vec(), ..DecoderSpecific::default() });
    let dec_config = DecoderConfig {
        object_type_indication: OBJECT_TYPE_AAC,
        stream_type: STREAM_TYPE_AUDIO,
        dec_specific,
        ..DecoderConfig::default()
    };
    Esds { es_desc: EsDescriptor { es_id: 0, dec_config, sl_config: SLConfig {}, ..EsDescriptor::default() } }
}

fn tkhd() -> Tkhd {
    Tkhd { track_id: TRACK_ID, enabled: true, in_movie: true, ..Tkhd::default() }
}

fn minf(codec: Codec) -> Minf {
    let dinf = Dinf { dref: Dref { entries: vec![DrefEntry::Url(Url::default())] } };
    let stbl = Stbl { stsd: Stsd { codecs: vec![codec] }, stco: Some(Default::default()), ..Stbl::default() };
    Minf { dinf, stbl, ..Minf::default() }
}

fn init(timescale: u32, tkhd: Tkhd, handler: [u8; 4], minf: Minf) -> Result<Bytes, CmafError> {
    let brand = |name: &[u8; 4]| FourCC::from(name);
    let ftyp = Ftyp {
        major_brand: brand(b"cmf2"),
        minor_version: 0,
        compatible_brands: vec![brand(b"iso6"), brand(b"cmfc"), brand(b"mp41")],
    };
    let mdia = Mdia {
        mdhd: Mdhd { timescale, language: "und".into(), ..Mdhd::default() },
        hdlr: Hdlr { handler: handler.into(), name: "stentor".into() },
        minf,
    };
    let trex = Trex { track_id: TRACK_ID, default_sample_description_index: 1, ..Trex::default() };
    let moov = Moov {
        mvhd: Mvhd {
            timescale,
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: TRACK_ID + 1,
            ..Mvhd::default()
        },
        mvex: Some(Mvex { mehd: None, trex: vec![trex] }),
        trak: vec![Trak { tkhd, mdia, ..Trak::default() }],
        ..Moov::default()
    };
    let mut out = BytesMut::new();
    ftyp.encode(&mut out)?;
    moov.encode(&mut out)?;
    Ok(out.freeze())
}

/// One sample of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSample {
    /// How long it lasts, in ticks.
    pub duration: u32,
    /// Its bytes.
    pub len: usize,
    /// Whether a decoder can start with it.
    pub key: bool,
    /// From its decode time to its presentation time, in ticks.
    pub offset: i32,
}

/// A chunk: one moof, and one mdat that `write` fills with the samples' bytes, in one buffer.
///
/// `decode_time` is the first sample's, in ticks.
///
/// # Errors
/// If a box cannot be written.
pub fn chunk(
    sequence: u32,
    decode_time: u64,
    samples: &[ChunkSample],
    write: impl FnOnce(&mut BytesMut),
) -> Result<Bytes, CmafError> {
    let entries = samples.iter().map(|sample| TrunEntry {
        duration: Some(sample.duration),
        size: Some(sample.len as u32),
        flags: Some(if sample.key { FLAGS_KEY } else { FLAGS_DELTA }),
        cts: Some(sample.offset.into()),
    });
    let mut moof = Moof {
        mfhd: Mfhd { sequence_number: sequence },
        traf: vec![Traf {
            tfhd: Tfhd { track_id: TRACK_ID, default_base_is_moof: true, ..Tfhd::default() },
            tfdt: Some(Tfdt { base_media_decode_time: decode_time }),
            trun: vec![Trun { data_offset: Some(0), samples: entries.collect::<Vec<_>>().into() }],
            ..Traf::default()
        }],
    };
    // How long it is does not depend on what the offset is.
    let mut head = BytesMut::new();
    moof.encode(&mut head)?;
    moof.traf[0].trun[0].data_offset = Some(head.len() as i32 + 8);
    let data: usize = samples.iter().map(|sample| sample.len).sum();
    let mut out = BytesMut::with_capacity(head.len() + 8 + data);
    moof.encode(&mut out)?;
    out.put_u32(data as u32 + 8);
    out.put_slice(b"mdat");
    write(&mut out);
    Ok(out.freeze())
}
