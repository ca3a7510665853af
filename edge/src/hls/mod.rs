//! LL-HLS at the edge: the same CMAF objects that MoQT viewers get, listed for players that speak HTTP
//! (draft-pantos-hls-rfc8216bis-22).
//!
//! * [`Channel`] is the sans-IO core of one event: objects go in, and it answers what a player asks.
//! * [`Hls`] is the shell: it reads the tracks of the events that are asked for, and holds requests back
//!   until what they ask for is there.
//!
//! Nothing here transcodes, copies media or knows a token. Parts and segments are lists of handles to the
//! objects' bytes, and a playlist is rendered once per change, however many wait for it.

mod body;
mod catalog;
mod channel;
mod chunk;
mod event;
mod multivariant;
mod page;
mod playlist;
mod reader;
mod rendition;
mod request;
mod schedule;
mod server;

use std::time::Duration;

pub use body::Body;
pub use channel::{Answer, Channel, Input, Output, Role, Track};
pub use chunk::ChunkError;
pub use request::{Reload, Request, RequestError};
pub use server::Hls;

/// How an event is cut and listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// EXT-X-TARGETDURATION, in whole seconds: segments are as many whole groups as fit.
    pub target_duration: Duration,
    /// How much a part holds: as many whole objects as come closest.
    pub part: Duration,
    /// Segments listed: at least 7, so that there is something for delta updates to skip.
    pub window: usize,
    /// Whether parts are listed, and requests held back for them. Without it this is plain HLS.
    pub low_latency: bool,
}

impl Default for Settings {
    /// 4 s segments of 1 s parts: 4 requests a second and viewer with sound apart, and some 4 s of latency.
    /// 8 segments are 32 s, a viewer who was away for half a minute goes on.
    fn default() -> Self {
        Self {
            target_duration: Duration::from_secs(4),
            part: Duration::from_secs(1),
            window: 8,
            low_latency: true,
        }
    }
}

impl Settings {
    /// EXT-X-PART-INF's PART-TARGET (4.4.3.7): no part is longer.
    ///
    /// Parts end where an object does, at most half an object away from what they should hold: 50 ms for
    /// bundles of sound of 100 ms. 85 % of it (4.4.4.9) is less than a part that ends half an object early.
    pub(crate) fn part_target(&self) -> Duration {
        self.part + Duration::from_millis(50)
    }

    /// How long a request is held back at most (6.2.5.2).
    pub fn patience(&self) -> Duration {
        self.target_duration * 3
    }

    /// CAN-SKIP-UNTIL (4.4.3.8).
    pub(crate) fn skip_until(&self) -> Duration {
        self.target_duration * 6
    }

    /// Segments kept: what has left the playlist stays for as long as the longest playlist that listed it
    /// and its own duration (6.2.2).
    pub(crate) fn kept(&self) -> usize {
        self.window * 2 + 1
    }

    /// How far a part may be asked for ahead of the last one: the Advance Part Limit (6.2.5.2).
    pub(crate) fn advance_parts(&self) -> u64 {
        let target = self.part_target();
        if target >= Duration::from_secs(1) {
            3
        } else {
            3_000_u64.div_ceil(target.as_millis().max(1) as u64)
        }
    }
}
