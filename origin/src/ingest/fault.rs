//! What goes wrong at the door, said so that the host can mend it and the operator can count it.

use crate::media::Kind;

use super::{
    Gone, Refusal, StageError,
    flv::FlvError,
    http::{DemuxError, RequestError},
    rtmp::RtmpError,
};

/// By which protocol a host came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RTMP over TCP.
    Rtmp,
    /// Fragmented MP4 in the body of an HTTP request.
    Http,
}

impl Protocol {
    /// The value of a metric's `protocol` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Http => "http",
        }
    }
}

/// Why an ingest session ended, or one of its messages was dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestFault {
    /// The key or token does not open the event.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The key is good, but its event is not on this origin.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// All places for hosts are taken.
    #[error("this origin has no free place for another host; try again")]
    TooMany,
    /// Another connection with a valid key took over; expected when a host reconnects.
    #[error("another connection publishes this event now")]
    Replaced,
    /// The origin ended the event.
    #[error("the event is over")]
    Over,
    /// The host broke the rules of RTMP.
    #[error(transparent)]
    Rtmp(#[from] RtmpError),
    /// The host sent a tag that cannot be used.
    #[error(transparent)]
    Flv(#[from] FlvError),
    /// The host sent a body that cannot be used.
    #[error(transparent)]
    Body(#[from] DemuxError),
    /// An HTTP request that no body could mend.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Too little came, or was taken, for too long.
    #[error("nothing usable arrived for {0} s; check the connection and start again")]
    TooSlow(u64),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// A bug of ours; the session was ended and nobody else noticed.
    #[error("the origin failed inside; the session was ended")]
    Panicked,
}

impl IngestFault {
    /// The value of a metric's `fault` label: few, fixed, and free of anything a host sent.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Stage(_) => "no_event",
            Self::TooMany => "too_many",
            Self::Replaced => "replaced",
            Self::Over => "over",
            Self::Rtmp(RtmpError::Timeout(_)) | Self::TooSlow(_) => "too_slow",
            Self::Rtmp(RtmpError::TooLarge(_)) | Self::Body(DemuxError::TooLarge(_)) => "too_large",
            Self::Flv(FlvError::Unsupported(_)) | Self::Body(DemuxError::Unsupported(_)) => "unsupported",
            Self::Flv(FlvError::BeforeHeader) => "before_header",
            Self::Io(_) | Self::Rtmp(RtmpError::Closed) => "io",
            Self::Rtmp(_) | Self::Flv(_) | Self::Body(_) | Self::Request(_) => "malformed",
            Self::Panicked => "panic",
        }
    }
}

/// Counts what the ingest shells see. Methods are called on the sessions' tasks and must not block.
pub trait Observer: Send + Sync {
    /// A host's connection began.
    fn session_started(&self, protocol: Protocol);
    /// A host's connection ended, however it ended.
    fn session_ended(&self, protocol: Protocol);
    /// This many bytes came off the network.
    fn bytes(&self, protocol: Protocol, count: usize);
    /// One access unit was delivered to the stage.
    fn sample(&self, kind: Kind);
    /// Something went wrong.
    fn fault(&self, protocol: Protocol, fault: &IngestFault);
}

impl From<Gone> for IngestFault {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::Replaced => Self::Replaced,
            Gone::Over => Self::Over,
        }
    }
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn session_started(&self, _: Protocol) {}
    fn session_ended(&self, _: Protocol) {}
    fn bytes(&self, _: Protocol, _: usize) {}
    fn sample(&self, _: Kind) {}
    fn fault(&self, _: Protocol, _: &IngestFault) {}
}

/// Counts a session from here to the end of its scope, also when it panics.
pub(super) struct Counted<'a> {
    observer: &'a dyn Observer,
    protocol: Protocol,
}

impl<'a> Counted<'a> {
    pub(super) fn new(observer: &'a dyn Observer, protocol: Protocol) -> Self {
        observer.session_started(protocol);
        Self { observer, protocol }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.observer.session_ended(self.protocol);
    }
}
