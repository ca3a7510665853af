//! Any bytes on a control stream give the same messages however they are split, and each message that was
//! read can be written and read again.
#![no_main]

use common::wire::Version;
use common::wire::message::{Decoder, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = read([bytes]);
    assert_eq!(whole, read(bytes.chunks(1)));
    for message in &whole {
        let again = message.encode(Version::Draft18).expect("no longer than it came");
        assert_eq!(read([&again[..]]), std::slice::from_ref(message));
    }
});

/// The messages up to the first error.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Message> {
    let (mut decoder, mut messages) = (Decoder::default(), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next(Version::Draft18) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(_) => return messages,
            }
        }
    }
    messages
}
