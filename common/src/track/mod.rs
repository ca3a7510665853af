//! A track kept and fanned out: one writer, any number of cursors.
//!
//! A track is a window of groups, a group its subgroups, and a subgroup an append-only log of objects
//! that is written once and read by anyone. Objects are handles: a thousand readers share the bytes
//! of one. Nothing flows backwards, so no reader can slow the writer or another reader; one that
//! cannot keep up loses whole groups, by one pure rule ([`lateness`]).
//!
//! * [`Writer`] opens subgroups and writes them; what it writes twice is dropped, so that a source
//!   which comes back may begin again a little earlier.
//! * [`Cursor`] finds the subgroups in the order in which they came, [`Reader`] reads one of them.
//! * [`Budget`] bounds what all tracks of a process keep. The newest group of each is pinned, so a
//!   late joiner always starts at once, with its first object.
//!
//! A track does not know what a codec, a session or a socket is.

mod budget;
mod cursor;
pub mod lateness;
mod log;
mod parking;
mod window;

use std::time::Duration;

use bytes::Bytes;

use crate::model::{Location, ObjectStatus};

pub use budget::Budget;
pub use cursor::{Cursor, Start, Step};
pub use log::{Pushed, Reader, SubgroupWriter};
pub use window::{Cached, Track, Writer};

/// A new, empty track that keeps to `limits` and pays from `budget`.
pub fn new(limits: Limits, budget: &Budget) -> (Writer, Track) {
    window::new(limits, budget)
}

/// What one track may keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a group stays after a newer one has begun.
    pub window: Duration,
    /// Groups at once: the window holds 10 groups of 1 s; audio-only tracks have shorter ones.
    pub groups_max: usize,
    /// Subgroups of one group. Media has one; layers and foreign publishers have a few.
    pub subgroups_max: usize,
    /// Objects of one subgroup: 4 minutes at 60 a second, for publishers that never end a group.
    pub objects_max: usize,
    /// Bytes of one object, properties and payload: a key frame of 8K video has about 4 MB.
    pub object_bytes_max: usize,
    /// What the objects of one group may cost: 20 s at 25 Mb/s are 63 MB. The budget cannot bound it,
    /// for the newest group is pinned.
    pub group_bytes_max: usize,
    /// Datagrams of one group: a second of 1,000 packets.
    pub datagrams_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            groups_max: 64,
            subgroups_max: 64,
            objects_max: log::OBJECTS_MAX,
            object_bytes_max: 8 << 20,
            group_bytes_max: 64 << 20,
            datagrams_max: 1_000,
        }
    }
}

/// One object. Cloning copies handles, not bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object {
    /// Its id in the group.
    pub id: u64,
    /// What it says where it has no payload.
    pub status: ObjectStatus,
    /// Its properties, verbatim.
    pub properties: Bytes,
    /// What precedes the payload on a stream on which the object before it in the log went before:
    /// the same bytes for every reader, made once by the writer. Opaque here.
    pub framing: Bytes,
    /// The payload.
    pub payload: Bytes,
}

impl Object {
    /// What the object costs the budget: its bytes, and about as much memory as keeps them.
    pub fn cost(&self) -> usize {
        // Four handles with their allocations, and the slot in the log.
        const OVERHEAD: usize = 256;
        self.properties.len() + self.framing.len() + self.payload.len() + OVERHEAD
    }
}

/// How a subgroup begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// The group.
    pub group: u64,
    /// The subgroup within it.
    pub subgroup: u64,
    /// The publisher's priority; `None` where it is the track's.
    pub priority: Option<u8>,
    /// Whether the subgroup's last object is the group's.
    pub end_of_group: bool,
    /// Whether the first object written is the first of the subgroup.
    pub first_object: bool,
    /// Whether its objects carry properties.
    pub has_properties: bool,
    /// What begins the stream of a reader that starts at the log's beginning. Opaque here.
    pub framing: Bytes,
}

/// One object that travels in a datagram.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Datagram {
    /// Its place in the track.
    pub location: Location,
    /// The publisher's priority; `None` where it is the track's.
    pub priority: Option<u8>,
    /// Whether it is the group's last.
    pub end_of_group: bool,
    /// What it says where it has no payload; `None` with payload, also an empty one.
    pub status: Option<ObjectStatus>,
    /// Its properties, verbatim.
    pub properties: Bytes,
    /// The payload.
    pub payload: Bytes,
}

/// Why a track is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The publisher ended it.
    Finished,
    /// The publisher, or the way to it, is lost.
    Abandoned,
    /// It contradicts itself.
    Malformed,
}

/// Why a subgroup is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubgroupEnd {
    /// The publisher has written all of it.
    Finished,
    /// The publisher gave it up, with this code.
    Reset(u64),
    /// It fell out of the window before this reader had read it.
    Evicted,
    /// The track ended before the subgroup did.
    TrackEnded,
}

/// Why something cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The subgroup is complete already.
    #[error("the subgroup is complete already")]
    Finished,
    /// The group has left the window.
    #[error("the group has left the window")]
    TooOld,
    /// The group has as many subgroups or datagrams as it may.
    #[error("the group has as many streams as it may")]
    TooManyStreams,
    /// The subgroup has as many objects as it may.
    #[error("the subgroup has as many objects as it may")]
    TooManyObjects,
    /// The group is as large as it may be.
    #[error("the group has as many bytes as it may")]
    TooManyBytes,
    /// The object is larger than it may be.
    #[error("an object of {0} bytes is larger than allowed")]
    TooLarge(usize),
}
