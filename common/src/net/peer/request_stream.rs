//! The bidirectional stream of a request, and the sending half that control streams are too.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use web_transport_quinn::{RecvStream, SendStream};

use super::Ended;
use crate::net::endpoint::Transport;
use crate::net::stream::{Opening, Over, poll_read, poll_write, stream_code};

/// Control bytes that may wait for a peer that does not read: twice the largest control message.
const BYTES_MAX: usize = 128 << 10;

/// What comes on a request stream.
pub(super) enum Heard {
    Bytes { bytes: Bytes, fin: bool },
    Reset(u64),
    Stopped(u64),
}

/// A request stream.
pub(super) struct RequestStream {
    sending: Sending,
    receiving: Option<RecvStream>,
    opening: Option<Opening<(SendStream, RecvStream)>>,
}

impl RequestStream {
    pub(super) fn accepted(send: SendStream, recv: RecvStream) -> Self {
        Self { sending: Sending::new(send), receiving: Some(recv), opening: None }
    }

    pub(super) fn opening(transport: &Transport) -> Self {
        let opening = Some(Opening::bi(transport));
        Self { sending: Sending::default(), receiving: None, opening }
    }

    pub(super) fn is_over(&self) -> bool {
        self.opening.is_none() && self.sending.is_over() && self.receiving.is_none()
    }

    pub(super) fn send(&mut self, bytes: Bytes, fin: bool) -> Result<(), Ended> {
        self.sending.push(bytes, fin)
    }

    /// Says nothing more, and what waits is lost. A stream that is not open yet need not be.
    pub(super) fn reset(&mut self, code: u64) {
        self.opening = None;
        self.sending.reset(code);
    }

    /// Whether the peer does not want to hear any more, with its code. Only a write would notice otherwise,
    /// and most streams are silent for hours.
    pub(super) fn stopped(&mut self) -> Option<u64> {
        let code = self.sending.stopped()?;
        self.sending = Sending::default();
        Some(code)
    }

    /// Does not listen any more.
    pub(super) fn stop(&mut self, code: u64) {
        if let Some(mut receiving) = self.receiving.take() {
            // An error here means the stream is closed already.
            let _ = receiving.stop(stream_code(code));
        }
    }

    /// Moves what can be moved. Ready with what has come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        if let Some(opening) = &mut self.opening {
            match opening.poll(cx) {
                Poll::Ready(Ok((send, recv))) => {
                    self.opening = None;
                    self.sending.open(send);
                    self.receiving = Some(recv);
                }
                // The connection has gone; the loop hears it from the transport.
                Poll::Ready(Err(_)) => self.opening = None,
                Poll::Pending => return Poll::Pending,
            }
        }
        if let Poll::Ready(code) = self.sending.poll(cx) {
            return Poll::Ready(Heard::Stopped(code));
        }
        let Some(receiving) = &mut self.receiving else { return Poll::Pending };
        match poll_read(receiving, cx) {
            Poll::Ready(Ok(Some(bytes))) => Poll::Ready(Heard::Bytes { bytes, fin: false }),
            Poll::Ready(Ok(None)) => {
                self.receiving = None;
                Poll::Ready(Heard::Bytes { bytes: Bytes::new(), fin: true })
            }
            Poll::Ready(Err(over)) => {
                self.receiving = None;
                match over {
                    Over::Peer(code) => Poll::Ready(Heard::Reset(code)),
                    Over::Here => Poll::Pending,
                }
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The sending half of a control or request stream, with what waits for it.
#[derive(Default)]
pub(super) struct Sending {
    stream: Option<SendStream>,
    chunks: Vec<Bytes>,
    bytes: usize,
    fin: bool,
}

impl Sending {
    pub(super) fn new(stream: SendStream) -> Self {
        Self { stream: Some(stream), ..Self::default() }
    }

    /// The stream is there now; it may have been given up in the meantime.
    fn open(&mut self, stream: SendStream) {
        self.stream = Some(stream);
    }

    fn is_over(&self) -> bool {
        self.stream.is_none()
    }

    pub(super) fn push(&mut self, bytes: Bytes, fin: bool) -> Result<(), Ended> {
        self.bytes += bytes.len();
        self.fin |= fin;
        if self.bytes > BYTES_MAX {
            return Err(Ended::Deaf);
        }
        if !bytes.is_empty() {
            self.chunks.push(bytes);
        }
        Ok(())
    }

    pub(super) fn reset(&mut self, code: u64) {
        if let Some(mut stream) = self.stream.take() {
            // An error here means the stream is closed already.
            let _ = stream.reset(stream_code(code));
        }
        self.chunks.clear();
    }

    fn stopped(&self) -> Option<u64> {
        let stream = self.stream.as_ref()?;
        match pin!(stream.stopped()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(Some(code))) => Some(code.into()),
            _ => None,
        }
    }

    /// Ready with a code when the peer does not want to hear any more of this stream.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<u64> {
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        while !self.chunks.is_empty() {
            match poll_write(stream, cx, &mut self.chunks) {
                Poll::Ready(Ok(written)) => self.bytes -= written,
                Poll::Ready(Err(over)) => {
                    self.stream = None;
                    self.chunks.clear();
                    return match over {
                        Over::Peer(code) => Poll::Ready(code),
                        Over::Here => Poll::Pending,
                    };
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.fin {
            let _ = stream.finish();
            self.stream = None;
        }
        Poll::Pending
    }
}
