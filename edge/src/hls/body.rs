//! The body of an answer: handles to bytes, one after the other.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// What is sent: bytes that are there already, and are shared with everybody who is sent the same.
#[derive(Debug, Clone)]
pub struct Body {
    pieces: Pieces,
    next: usize,
    left: u64,
}

#[derive(Debug, Clone)]
enum Pieces {
    One(Bytes),
    Many(Arc<[Bytes]>),
}

impl Body {
    /// How many bytes are still to be sent.
    pub fn len(&self) -> u64 {
        self.left
    }

    /// Whether there is nothing to be sent.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The pieces, from the first on. Nothing is copied.
    pub fn pieces(&self) -> &[Bytes] {
        match &self.pieces {
            Pieces::One(bytes) => std::slice::from_ref(bytes),
            Pieces::Many(pieces) => pieces,
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { left: bytes.len() as u64, pieces: Pieces::One(bytes), next: 0 }
    }
}

impl From<Arc<[Bytes]>> for Body {
    fn from(pieces: Arc<[Bytes]>) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces: Pieces::Many(pieces), next: 0, left }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(piece) = self.pieces().get(self.next).cloned() else { return Poll::Ready(None) };
        self.next += 1;
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
