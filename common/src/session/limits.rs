//! How much a peer may make a session keep, and how long it may keep it waiting.

use std::time::Duration;

use crate::wire::message::PAYLOAD_BYTES_MAX;

/// The bounds of one session. All of them together are what one peer can cost: with the defaults some
/// 2 MiB, of which a viewer that behaves takes a few KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests of the peer that are open at once; one more is refused with EXCESSIVE_LOAD.
    ///
    /// A viewer needs ten: a catalog and two tracks, each with a FETCH, and some while it switches. A
    /// child node needs one for each track that its viewers watch: 256 are 50 events of five tracks. A
    /// request with a long name is 5 KiB, so 256 are 1.3 MiB.
    pub peer_requests_max: usize,
    /// Requests of our own that are open at once; one more is a
    /// [`CommandError`](super::CommandError). As many as a peer with these limits takes.
    pub own_requests_max: usize,
    /// Bytes of messages on request streams that are not complete, or that wait for SETUP. The stream
    /// that passes it is reset with EXCESSIVE_LOAD.
    ///
    /// Four messages of the greatest length at once; they are some 200 bytes in practice.
    pub buffered_bytes_max: usize,
    /// Bytes of namespaces that the peer has announced in answer to our SUBSCRIBE_NAMESPACE, each with
    /// [`NAMESPACE_OVERHEAD`]. What passes it ends that request with EXCESSIVE_LOAD.
    ///
    /// 512 KiB are 4,000 namespaces of one field of 36 bytes: as many events at once.
    pub announced_bytes_max: usize,
    /// MAX_AUTH_TOKEN_CACHE_SIZE in bytes: what the peer's registered tokens may take, 16 bytes and the
    /// value each (draft-18, 10.3.1.3).
    ///
    /// 16 KiB are fifty JWTs of 300 bytes, or three of the greatest length.
    pub token_cache_bytes_max: usize,
    /// From the session's start to the peer's SETUP. Three retransmissions of a lost packet take 7 s.
    pub setup_timeout: Duration,
    /// From a request or update of ours to its answer, on top of what the request itself allows the peer
    /// to wait. A relay asks its own parent first, which may redial: three tries of 10 s.
    pub answer_timeout: Duration,
    /// From PUBLISH_DONE, or the end of a request, until it is forgotten although data or the end of the
    /// stream may still be under way. Late data are of no use after 10 s.
    pub linger: Duration,
}

/// What an announced namespace costs beside its own bytes: a node of the tree and a handle for each of
/// one or two fields.
pub const NAMESPACE_OVERHEAD: usize = 96;

/// Streams that the peer has opened without having said anything on them, beyond its requests. They hold
/// no more than a decoder; a stream that passes it is reset with EXCESSIVE_LOAD.
pub(super) const SILENT_STREAMS_MAX: usize = 64;

/// Updates of one request that are not answered. Who changes its mind sixteen times in a round trip is
/// not serious.
pub(super) const UPDATES_MAX: usize = 16;

/// Aliases of subscriptions that are over, kept to tell their late objects from those of subscriptions to
/// come: as many as there can be at once.
pub(super) const RETIRED_ALIASES_MAX: usize = 256;

/// Gaps between the peer's request ids: each is a request whose stream was reset before it was read. An id
/// from below the oldest gap that is forgotten counts as used.
pub(super) const REQUEST_ID_GAPS_MAX: usize = 1024;

/// The longest time that anything is waited for, whatever anybody asks for: a day is the longest event.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Limits {
    fn default() -> Self {
        Self {
            peer_requests_max: 256,
            own_requests_max: 256,
            buffered_bytes_max: 4 * PAYLOAD_BYTES_MAX,
            announced_bytes_max: 512 << 10,
            token_cache_bytes_max: 16 << 10,
            setup_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(10),
        }
    }
}
