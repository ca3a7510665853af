//! QUIC streams as things to poll.
//!
//! quinn has only futures for them. Each is made, polled once and dropped: they write or read only when they
//! are ready, and leave their waker with the stream, so nothing is lost.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use web_transport_quinn::{ReadError, RecvStream, SendStream, SessionError, WriteError};

use super::endpoint::Transport;

/// Bytes taken from a stream at once: quinn hands out what a packet held, so this is only an upper bound.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// Why nothing more comes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The peer ended it with this code: by a reset, or because it does not want to read.
    Peer(u64),
    /// It was closed here, or the connection is gone, of which the loop hears from the transport.
    Here,
}

/// The code for a reset: WebTransport has 32 bits for it, and no code of MoQT needs more.
pub(super) fn stream_code(code: u64) -> u32 {
    u32::try_from(code).unwrap_or(u32::MAX)
}

/// Writes what the stream takes of `chunks`, and removes it from there. Ready with how many bytes that
/// were.
pub(super) fn poll_write(
    stream: &mut SendStream,
    cx: &mut Context<'_>,
    chunks: &mut Vec<Bytes>,
) -> Poll<Result<usize, Over>> {
    let outcome = { pin!(stream.write_chunks(chunks)).poll(cx) };
    match ready!(outcome) {
        Ok(written) => {
            chunks.drain(..written.chunks);
            Poll::Ready(Ok(written.bytes))
        }
        Err(WriteError::Stopped(code)) => Poll::Ready(Err(Over::Peer(code.into()))),
        Err(WriteError::InvalidStopped(code)) => Poll::Ready(Err(Over::Peer(code.into_inner()))),
        Err(_) => Poll::Ready(Err(Over::Here)),
    }
}

/// Reads what has come, in order; `None` at the end.
pub(super) fn poll_read(stream: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Over>> {
    Poll::Ready(match ready!(pin!(stream.read_chunk(CHUNK_BYTES_MAX, true)).poll(cx)) {
        Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
        Err(ReadError::Reset(code)) => Err(Over::Peer(code.into())),
        Err(ReadError::InvalidReset(code)) => Err(Over::Peer(code.into_inner())),
        Err(_) => Err(Over::Here),
    })
}

/// A stream that is being opened: it waits until the peer allows one more.
pub(super) struct Opening<S>(Pin<Box<dyn Future<Output = Result<S, SessionError>> + Send>>);

impl Opening<SendStream> {
    pub(super) fn uni(transport: &Transport) -> Self {
        let transport = transport.clone();
        Self(Box::pin(async move { transport.open_uni().await }))
    }
}

impl Opening<(SendStream, RecvStream)> {
    pub(super) fn bi(transport: &Transport) -> Self {
        let transport = transport.clone();
        Self(Box::pin(async move { transport.open_bi().await }))
    }
}

impl<S> Opening<S> {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<S, Over>> {
        self.0.as_mut().poll(cx).map_err(|_| Over::Here)
    }
}
