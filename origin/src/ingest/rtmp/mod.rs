//! RTMP from a host: a sans-IO session, and the TCP shell around it.
//!
//! `scuffle-rtmp` does the handshake and writes commands and chunks; [`session`] is the only file that
//! names it, so it can be replaced there. Its own session loop, chunk reader and AMF0 reader are not
//! used, for reasons that its version 0.2.3 gives any unauthenticated peer:
//!
//! * a refused key drops the connection unsaid, so that OBS dials for ever; here the encoder is sent
//!   `NetStream.Publish.BadName` with the reason, and the connection is closed after it was read;
//! * reads time out after a fixed 2.5 s; here a host may pause for [`session::IDLE_MAX`];
//! * a peer that hangs up inside the handshake leaves a loop that spins; an acknowledgement window of 0
//!   divides by it; a message header inside a message makes a length underflow; AMF0 arrays allocate what
//!   the peer claims, and nested ones recurse without a limit (which aborts the process, not the task);
//! * a message whose header says "as before" keeps the time before instead of adding the step, and times
//!   stop at 2^32 instead of wrapping.

use std::time::Duration;

pub use self::{
    listener::{Rtmp, SESSIONS_MAX},
    session::Session,
};

pub mod amf;
pub mod chunk;
mod listener;
pub mod session;

/// Which rule of RTMP the host broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtmpError {
    /// The first bytes are not RTMP.
    #[error("the connection does not speak RTMP")]
    Handshake,
    /// The chunk stream makes no sense.
    #[error("the encoder's chunk stream is broken: {0}")]
    Chunk(&'static str),
    /// A message or several unfinished ones are larger than any picture.
    #[error("the encoder sent a message of {0} bytes, which is too large")]
    TooLarge(usize),
    /// A command cannot be read.
    #[error("the encoder sent a broken command: {0}")]
    Command(&'static str),
    /// A command out of turn.
    #[error("the encoder sent {0} out of turn")]
    Order(&'static str),
    /// The peer wants to watch.
    #[error("playing over RTMP is not offered here")]
    Play,
    /// Nothing whole arrived for this long.
    #[error("nothing arrived for {} s; check the connection and start again", .0.as_secs())]
    Timeout(Duration),
    /// The other side closed before it was done.
    #[error("the encoder closed the connection without saying goodbye")]
    Closed,
}
