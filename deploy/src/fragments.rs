//! Fragmented MP4 as a list of fragments: to pace it, to loop it, to put tracks together.

use bytes::{Buf, Bytes, BytesMut};
use mp4_atom::{Atom, Encode, Moof, Moov};

/// Bytes of one box at most: a fragment of 10 s at 25 Mb/s.
const BOX_BYTES_MAX: usize = 32 << 20;

/// Why bytes are no fragmented MP4.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FragmentError {
    #[error("a box is malformed: {0}")]
    Box(#[from] mp4_atom::Error),
    #[error("a box of {0} bytes is too large")]
    TooLarge(u64),
    #[error("this is not fragmented MP4: {0}")]
    NotFragmented(&'static str),
}

/// A piece of a file.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// What comes before the first fragment, verbatim.
    Init { moov: Box<Moov>, bytes: Bytes },
    /// A moof and its mdat.
    Fragment(Fragment),
}

/// A moof and its mdat, which has its head.
#[derive(Debug, Clone)]
pub(crate) struct Fragment {
    pub(crate) moof: Moof,
    moof_len: usize,
    mdat: Bytes,
}

impl Fragment {
    /// The one fragment that these bytes are.
    pub(crate) fn read(bytes: Bytes) -> Result<Self, FragmentError> {
        let mut splitter = Splitter { inside: true, ..Splitter::default() };
        splitter.push(&bytes);
        match splitter.next()? {
            Some(Piece::Fragment(fragment)) => Ok(fragment),
            _ => Err(FragmentError::NotFragmented("no moof box and mdat box")),
        }
    }

    /// Its bytes, with what has been changed of the moof.
    pub(crate) fn write(&self) -> Result<Bytes, FragmentError> {
        let mut moof = self.moof.clone();
        let mut head = BytesMut::new();
        moof.encode(&mut head)?;
        // The samples are where they were in the mdat, which may have moved.
        let moved = head.len() as i32 - self.moof_len as i32;
        for trun in moof.traf.iter_mut().flat_map(|traf| &mut traf.trun) {
            trun.data_offset = trun.data_offset.map(|offset| offset + moved);
        }
        let mut out = BytesMut::with_capacity(head.len() + self.mdat.len());
        moof.encode(&mut out)?;
        out.extend_from_slice(&self.mdat);
        Ok(out.freeze())
    }

    /// Where the tracks are when it begins: each track's id and decode time.
    pub(crate) fn starts(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let time = |traf: &mp4_atom::Traf| traf.tfdt.as_ref().map_or(0, |tfdt| tfdt.base_media_decode_time);
        self.moof.traf.iter().map(move |traf| (traf.tfhd.track_id, time(traf)))
    }

    /// Moves a track in time.
    pub(crate) fn delay(&mut self, ticks: impl Fn(u32) -> u64) {
        for traf in &mut self.moof.traf {
            if let Some(tfdt) = &mut traf.tfdt {
                let by = ticks(traf.tfhd.track_id);
                tfdt.base_media_decode_time = tfdt.base_media_decode_time.saturating_add(by);
            }
        }
    }
}

/// Cuts a file into pieces as it comes.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    buffer: BytesMut,
    /// What came before the moov box, which belongs to it.
    before: BytesMut,
    /// The moof whose mdat is to come.
    moof: Option<(Moof, usize)>,
    /// Whether the moov box has come.
    inside: bool,
}

impl Splitter {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece that is whole.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, FragmentError> {
        while let Some((kind, whole, head_len)) = self.next_box()? {
            match &kind {
                b"moov" => {
                    let moov = Box::new(Moov::decode_body(&mut &whole[head_len..])?);
                    if moov.mvex.is_none() {
                        return Err(FragmentError::NotFragmented("no mvex box"));
                    }
                    self.before.extend_from_slice(&whole);
                    self.inside = true;
                    return Ok(Some(Piece::Init { moov, bytes: self.before.split().freeze() }));
                }
                b"moof" if self.inside => {
                    self.moof = Some((Moof::decode_body(&mut &whole[head_len..])?, whole.len()));
                }
                b"mdat" => {
                    let (moof, moof_len) = self
                        .moof
                        .take()
                        .ok_or(FragmentError::NotFragmented("an mdat box without a moof box"))?;
                    return Ok(Some(Piece::Fragment(Fragment { moof, moof_len, mdat: whole })));
                }
                _ if !self.inside => self.before.extend_from_slice(&whole),
                // Indexes and events between fragments are not needed.
                _ => {}
            }
        }
        Ok(None)
    }

    /// Whether everything that came was whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.buffer.is_empty() && self.moof.is_none()
    }

    fn next_box(&mut self) -> Result<Option<([u8; 4], Bytes, usize)>, FragmentError> {
        let mut head = &self.buffer[..];
        if head.remaining() < 8 {
            return Ok(None);
        }
        let size = head.get_u32();
        let mut kind = [0; 4];
        head.copy_to_slice(&mut kind);
        let (size, head_len) = match size {
            0 => return Err(FragmentError::NotFragmented("a box without a length")),
            1 if head.remaining() < 8 => return Ok(None),
            1 => (head.get_u64(), 16),
            size => (size.into(), 8),
        };
        let len = usize::try_from(size).ok().filter(|len| (head_len..=BOX_BYTES_MAX).contains(len));
        let len = len.ok_or(FragmentError::TooLarge(size))?;
        if self.buffer.len() < len {
            return Ok(None);
        }
        Ok(Some((kind, self.buffer.split_to(len).freeze(), head_len)))
    }
}
