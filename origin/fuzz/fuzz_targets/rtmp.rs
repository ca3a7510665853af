//! Whatever a peer says after the handshake, in any pieces, the session ends or goes on, and holds no
//! more than it was sent.
#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use origin::ingest::rtmp::session::{Input, Output, Session};

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let now = Instant::now();
    let mut session = Session::new(now);
    let hello = [&[3][..], &[0; 2 * 1536]].concat();
    session.handle(now, Input::Bytes(&hello)).expect("the handshake is whole");
    for piece in pieces {
        let ended = session.handle(now, Input::Bytes(&piece)).is_err();
        while let Some(output) = session.poll() {
            if let Output::Publish { .. } = output
                && session.handle(now, Input::Accept).is_err()
            {
                return;
            }
        }
        if ended {
            return;
        }
    }
});
