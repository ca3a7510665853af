//! Any tags after any others give inputs or typed errors, and no sample is empty.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use origin::{ingest::flv::Demuxer, media::Input};

fuzz_target!(|tags: Vec<(bool, u32, Vec<u8>)>| {
    let mut demuxer = Demuxer::default();
    for (is_video, timestamp, body) in tags {
        let body = Bytes::from(body);
        let input = if is_video { demuxer.video(timestamp, body) } else { demuxer.audio(timestamp, body) };
        if let Ok(Some(Input::Sample(sample))) = input {
            assert!(!sample.data.is_empty());
        }
    }
});
