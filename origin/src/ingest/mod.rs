//! How a host reaches the origin: RTMP, fMP4 over HTTP.
//!
//! ```text
//! socket --> rtmp::Session --> flv::Demuxer --.
//! socket --> hyper --> Demux (fMP4) ----------+--> Publisher ==bounded==> Feed --> packager
//!                                  Door: whose key is this?     Stage: is the event on?
//! ```
//!
//! Nothing here knows what becomes of an [`Input`](crate::media::Input). A host that sends faster than
//! the packager takes is held back on its own TCP connection; nothing is queued without a bound, and one
//! host's fault ends one session.

use std::{fmt, sync::Arc};

pub use self::{
    fault::{IngestFault, Observer, Protocol, Unobserved},
    stage::{Feed, Gone, Publisher, Stage, StageError},
};

pub mod fault;
pub mod flv;
pub mod fmp4;
pub mod http;
pub mod rtmp;
pub mod stage;

/// Bytes of an event's id at most: it is a path segment, a namespace field and a metric's label.
pub const EVENT_ID_BYTES_MAX: usize = 64;

/// An event's id: 1 to [`EVENT_ID_BYTES_MAX`] of `A-Z a-z 0-9 _ -`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Arc<str>);

impl EventId {
    /// The id as written.
    ///
    /// # Errors
    /// If it is empty, too long, or has a character outside the set.
    pub fn new(id: &str) -> Result<Self, EventIdError> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
        if id.is_empty() || id.len() > EVENT_ID_BYTES_MAX {
            return Err(EventIdError::Length(id.len()));
        }
        if !id.bytes().all(allowed) {
            return Err(EventIdError::Character);
        }
        Ok(Self(id.into()))
    }

    /// The id as a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

/// Why a string is no event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventIdError {
    /// Empty or too long.
    #[error("an event id of {0} bytes; 1 to {EVENT_ID_BYTES_MAX} are allowed")]
    Length(usize),
    /// A character that may not be in an id.
    #[error("an event id has only letters, digits, '_' and '-'")]
    Character,
}

/// Who may publish: turns a stream key or a host's join token into the event it opens.
///
/// Called once a session, on the session's task, so it must not block.
pub trait Door: Send + Sync {
    /// The event that `key` opens for a host.
    ///
    /// # Errors
    /// Says why not; the host is told [`Refusal::reason`].
    fn admit(&self, key: &str) -> Result<EventId, Refusal>;
}

/// Why a host may not publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There was no key and no token.
    #[error("no stream key or token was given")]
    Missing,
    /// Nobody issued this key, or its signature does not hold.
    #[error("the stream key or token is not valid")]
    Unknown,
    /// The token was good once.
    #[error("the token has expired; ask the organiser for a new one")]
    Expired,
    /// The token is good, but not to publish.
    #[error("the token does not allow publishing; a host's token is needed")]
    NotHost,
    /// The key is good, but for another event.
    #[error("the stream key or token belongs to another event")]
    WrongEvent,
}

impl Refusal {
    /// One sentence for the host. Never holds the key.
    pub fn reason(&self) -> String {
        self.to_string()
    }
}

/// Asks the door for whoever claims `event` (if they say so) with `key`.
fn admit(door: &dyn Door, event: Option<&str>, key: &str) -> Result<EventId, Refusal> {
    if key.is_empty() {
        return Err(Refusal::Missing);
    }
    let opened = door.admit(key)?;
    match event {
        Some(claimed) if claimed != opened.as_str() => Err(Refusal::WrongEvent),
        _ => Ok(opened),
    }
}

/// The value of `t` in a query such as `t=TOKEN&x=y`, as it stands: tokens are base64url and dots.
fn token_in_query(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("t="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_is_short_and_plain() {
        assert_eq!(EventId::new("town-hall_4").unwrap().as_str(), "town-hall_4");
        assert_eq!(EventId::new(""), Err(EventIdError::Length(0)));
        assert_eq!(EventId::new(&"x".repeat(65)), Err(EventIdError::Length(65)));
        assert_eq!(EventId::new("../etc"), Err(EventIdError::Character));
    }

    #[test]
    fn a_key_for_one_event_does_not_open_another() {
        struct Only;
        impl Door for Only {
            fn admit(&self, key: &str) -> Result<EventId, Refusal> {
                if key == "k" { Ok(EventId::new("one").unwrap()) } else { Err(Refusal::Unknown) }
            }
        }
        assert_eq!(admit(&Only, None, "k").unwrap().as_str(), "one");
        assert_eq!(admit(&Only, Some("one"), "k").unwrap().as_str(), "one");
        assert_eq!(admit(&Only, Some("two"), "k"), Err(Refusal::WrongEvent));
        assert_eq!(admit(&Only, Some("one"), ""), Err(Refusal::Missing));
        assert_eq!(token_in_query("a=1&t=x.y.z"), Some("x.y.z"));
    }
}
