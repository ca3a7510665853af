//! A playlist as it is sent: made once for everybody who asks.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// A playlist, and the same compressed.
#[derive(Debug, Clone, Default)]
pub(super) struct Page {
    pub(super) text: Bytes,
    /// `None` while there is nothing.
    pub(super) gzip: Option<Bytes>,
}

impl From<String> for Page {
    fn from(text: String) -> Self {
        // A playlist repeats itself: the fastest level makes a fifth of it, others hardly less.
        let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
        let gzip = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
        Self { text: text.into(), gzip: gzip.ok().map(Bytes::from) }
    }
}
