//! Whatever a peer says after the handshake, or a host after its `publish`, in any pieces: the session
//! goes on or ends with a typed error.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use origin::ingest::rtmp::session::{Input, Output, Session};

fuzz_target!(|input: (bool, Vec<Vec<u8>>)| {
    let (is_host, pieces) = input;
    let mut session = Session::new(Instant::now());
    let hello = [&[3][..], &[0; 2 * 1536]].concat();
    assert!(says(&mut session, &hello));
    if is_host {
        assert!(says(&mut session, CONNECT) && says(&mut session, PUBLISH));
    }
    let _ = pieces.iter().all(|piece| says(&mut session, piece));
});

/// Whether the session goes on after these bytes; a key is always good.
fn says(session: &mut Session, bytes: &[u8]) -> bool {
    let now = Instant::now();
    let mut goes_on = session.handle(now, Input::Bytes(bytes)).is_ok();
    while let Some(output) = session.poll() {
        if let Output::Publish { .. } = output {
            goes_on &= session.handle(now, Input::Accept).is_ok();
        }
    }
    goes_on
}

const CONNECT: &[u8] = b"\x03\0\0\0\0\0\x23\x14\0\0\0\0\
    \x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x03\0\x03app\x02\0\x04live\0\0\x09";
const PUBLISH: &[u8] = b"\x03\0\0\0\0\0\x21\x14\0\0\0\0\
    \x02\0\x07publish\0\0\0\0\0\0\0\0\0\x05\x02\0\x03key\x02\0\x04live";
