//! Any body in any pieces gives inputs and then an error or nothing, and what the packager makes of them are
//! objects.
#![no_main]

use std::time::Instant;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use origin::ingest::fmp4::Reader;
use origin::ingest::http::Demux;
use origin::media::packager::{Packager, Settings};

fuzz_target!(|bytes: &[u8]| {
    let (mut reader, mut packager) = (Reader::new(), Packager::new(Settings::default()));
    let now = Instant::now();
    for piece in bytes.chunks(1 + bytes.len() / 3) {
        if reader.push(Bytes::copy_from_slice(piece)).is_err() {
            return;
        }
        while let Some(input) = reader.poll() {
            packager.handle(now, input);
            while packager.poll().is_some() {}
        }
    }
    let _ = reader.finish();
});
