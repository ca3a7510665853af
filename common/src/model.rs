//! The vocabulary of MoQT that every layer shares: names, places in a track, orders.
//!
//! These are plain values. They hold their own limits, so whoever has one has a valid one.

use std::fmt;

use bytes::Bytes;

/// Fields of a namespace at most (draft-18, 2.4.1).
pub const NAMESPACE_FIELDS_MAX: usize = 32;

/// Bytes of a namespace and a track name together at most (draft-18, 2.4.1).
pub const FULL_NAME_BYTES_MAX: usize = 4096;

/// A track namespace: a tuple of byte strings, compared field by field.
///
/// Stentor's events have one field, the event's id. An empty tuple is only a prefix ("everything").
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Namespace(Vec<Bytes>);

impl Namespace {
    /// A namespace of these fields.
    ///
    /// # Errors
    /// Names the limit that is passed: too many fields, an empty field, or too many bytes.
    pub fn new(fields: Vec<Bytes>) -> Result<Self, NameError> {
        if fields.len() > NAMESPACE_FIELDS_MAX {
            return Err(NameError::TooManyFields(fields.len()));
        }
        if fields.iter().any(Bytes::is_empty) {
            return Err(NameError::EmptyField);
        }
        let bytes: usize = fields.iter().map(Bytes::len).sum();
        if bytes > FULL_NAME_BYTES_MAX {
            return Err(NameError::TooLong(bytes));
        }
        Ok(Self(fields))
    }

    /// The namespace of one event: its id as the only field.
    ///
    /// # Errors
    /// If the id is empty or longer than [`FULL_NAME_BYTES_MAX`].
    pub fn event(id: &str) -> Result<Self, NameError> {
        Self::new(vec![Bytes::copy_from_slice(id.as_bytes())])
    }

    /// The fields, in order.
    pub fn fields(&self) -> &[Bytes] {
        &self.0
    }

    /// Whether `prefix` is this namespace or one above it. The empty prefix covers everything.
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// What follows `prefix`, if this namespace lies below it.
    pub fn suffix(&self, prefix: &Self) -> Option<Self> {
        self.0.strip_prefix(prefix.0.as_slice()).map(|rest| Self(rest.to_vec()))
    }

    /// This namespace with `suffix` below it.
    ///
    /// # Errors
    /// If the two together pass a limit.
    pub fn join(&self, suffix: &Self) -> Result<Self, NameError> {
        Self::new(self.0.iter().chain(&suffix.0).cloned().collect())
    }

    /// Bytes of all fields.
    pub fn byte_len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
}

/// The draft's safe form (draft-18, 1.4.1): fields joined by a hyphen, other bytes as `.hh`.
impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, field) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("-")?;
            }
            write_safe(f, field)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({self})")
    }
}

/// A track's name in full: unique within the scope of a tree.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FullTrackName {
    namespace: Namespace,
    name: Bytes,
}

impl FullTrackName {
    /// The track `name` in `namespace`.
    ///
    /// # Errors
    /// If both together are longer than [`FULL_NAME_BYTES_MAX`].
    pub fn new(namespace: Namespace, name: impl Into<Bytes>) -> Result<Self, NameError> {
        let name = name.into();
        let bytes = namespace.byte_len() + name.len();
        if bytes > FULL_NAME_BYTES_MAX {
            return Err(NameError::TooLong(bytes));
        }
        Ok(Self { namespace, name })
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The name within the namespace; any bytes, also none.
    pub fn name(&self) -> &Bytes {
        &self.name
    }
}

impl fmt::Display for FullTrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}--", self.namespace)?;
        write_safe(f, &self.name)
    }
}

impl fmt::Debug for FullTrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FullTrackName({self})")
    }
}

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// A namespace has at most [`NAMESPACE_FIELDS_MAX`] fields.
    #[error("a namespace of {0} fields; at most {NAMESPACE_FIELDS_MAX} are allowed")]
    TooManyFields(usize),
    /// Fields are at least one byte long.
    #[error("an empty namespace field")]
    EmptyField,
    /// Namespace and name share one limit.
    #[error("a name of {0} bytes; at most {FULL_NAME_BYTES_MAX} are allowed")]
    TooLong(usize),
}

/// A place in a track. Ordered: by group, then by object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Location {
    /// The group: for media, one GOP.
    pub group: u64,
    /// The object within the group: for media, one CMAF chunk.
    pub object: u64,
}

impl Location {
    /// The place of `object` in `group`.
    pub const fn new(group: u64, object: u64) -> Self {
        Self { group, object }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.object)
    }
}

/// In which order groups are sent when they compete (draft-18, 10.2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GroupOrder {
    /// Oldest group first.
    #[default]
    Ascending,
    /// Newest group first.
    Descending,
}

/// What an object without payload says (draft-18, 11.2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ObjectStatus {
    /// An ordinary object; its payload may be empty.
    #[default]
    Normal,
    /// No object with this id or a greater one exists in the group.
    EndOfGroup,
    /// No object at this place or after it exists in the track.
    EndOfTrack,
}

/// Object property (application range of draft-18, 2.5): when the origin had the whole object, in
/// microseconds since the Unix epoch. Even, so a varint. Added when the origin is asked to probe.
pub const PROPERTY_CAPTURE_TIME: u64 = 0x38;

/// Object property (application range of draft-18, 2.5): the first 16 bytes of the payload's SHA-256.
/// Odd, so length-prefixed. Added when the origin is asked to probe.
pub const PROPERTY_PAYLOAD_HASH: u64 = 0x39;

fn write_safe(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            write!(f, "{}", byte as char)?;
        } else {
            write!(f, ".{byte:02x}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_print_in_the_drafts_safe_form() {
        let namespace = Namespace::new(vec!["town-hall".into(), "q_4".into()]).unwrap();
        let track = FullTrackName::new(namespace, "video/720p").unwrap();
        assert_eq!(track.to_string(), "town.2dhall-q_4--video.2f720p");
    }

    #[test]
    fn names_hold_their_limits() {
        assert_eq!(Namespace::new(vec!["a".into(); 33]), Err(NameError::TooManyFields(33)));
        assert_eq!(Namespace::new(vec![Bytes::new()]), Err(NameError::EmptyField));
        let long = FullTrackName::new(Namespace::event("e").unwrap(), vec![0; FULL_NAME_BYTES_MAX]);
        assert_eq!(long, Err(NameError::TooLong(FULL_NAME_BYTES_MAX + 1)));
    }

    #[test]
    fn prefixes_match_whole_fields() {
        let all = Namespace::default();
        let foo = Namespace::event("foo").unwrap();
        let foobar = Namespace::event("foobar").unwrap();
        let below = Namespace::new(vec!["foo".into(), "bar".into()]).unwrap();
        assert!(below.starts_with(&foo) && below.starts_with(&all));
        assert!(!foobar.starts_with(&foo));
        assert_eq!(below.suffix(&foo), Some(Namespace::event("bar").unwrap()));
        assert_eq!(foo.join(&below.suffix(&foo).unwrap()), Ok(below));
    }
}
