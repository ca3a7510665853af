//! Reading the fields of a complete message.

use bytes::{Buf, Bytes};

use super::{DecodeError, varint};
use crate::model::{FullTrackName, Location, NameError, Namespace};

/// A complete message being read: what is missing is an error, not a reason to wait.
pub(super) struct Reader {
    bytes: Bytes,
    /// As [`Version::Draft18MoqLiteJs`](super::Version) says.
    has_varint_priority: bool,
}

impl Reader {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, has_varint_priority: false }
    }

    pub(super) fn with_varint_priority(bytes: Bytes) -> Self {
        Self { bytes, has_varint_priority: true }
    }

    /// SUBSCRIBER_PRIORITY.
    pub(super) fn priority(&mut self) -> Result<u8, DecodeError> {
        const WHAT: &str = "priority";
        if !self.has_varint_priority {
            return self.u8(WHAT);
        }
        let value = self.varint(WHAT)?;
        u8::try_from(value).map_err(|_| DecodeError::Invalid { what: WHAT, value })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let (value, len) = varint::decode(&self.bytes).ok_or(DecodeError::Truncated(what))?;
        self.bytes.advance(len);
        Ok(value)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        if self.bytes.is_empty() {
            return Err(DecodeError::Truncated(what));
        }
        Ok(self.bytes.get_u8())
    }

    pub(super) fn take(&mut self, len: usize, what: &'static str) -> Result<Bytes, DecodeError> {
        if self.bytes.len() < len {
            return Err(DecodeError::Truncated(what));
        }
        Ok(self.bytes.split_to(len))
    }

    pub(super) fn rest(&mut self) -> Bytes {
        self.bytes.split_off(0)
    }

    /// A length, and as many bytes.
    pub(super) fn prefixed(&mut self, max: usize, what: &'static str) -> Result<Bytes, DecodeError> {
        let len = self.varint(what)?;
        if len > max as u64 {
            return Err(DecodeError::TooLong { what, len, max: max as u64 });
        }
        self.take(len as usize, what)
    }

    pub(super) fn text(&mut self, max: usize, what: &'static str) -> Result<String, DecodeError> {
        let bytes = self.prefixed(max, what)?;
        String::from_utf8(bytes.into()).map_err(|_| DecodeError::NotUtf8(what))
    }

    pub(super) fn location(&mut self, what: &'static str) -> Result<Location, DecodeError> {
        Ok(Location::new(self.varint(what)?, self.varint(what)?))
    }

    pub(super) fn namespace(&mut self) -> Result<Namespace, DecodeError> {
        let count = self.varint("namespace")?;
        if count > crate::model::NAMESPACE_FIELDS_MAX as u64 {
            return Err(DecodeError::Invalid { what: "number of namespace fields", value: count });
        }
        let max = crate::model::FULL_NAME_BYTES_MAX;
        let fields: Result<Vec<_>, _> = (0..count).map(|_| self.prefixed(max, "namespace field")).collect();
        Ok(Namespace::new(fields?)?)
    }

    pub(super) fn track_name(&mut self) -> Result<FullTrackName, DecodeError> {
        let namespace = self.namespace()?;
        let name = self.name_in(&namespace)?;
        Ok(FullTrackName::new(namespace, name)?)
    }

    /// The name of a track in a namespace, or in a part of one: both together have one limit.
    pub(super) fn name_in(&mut self, namespace: &Namespace) -> Result<Bytes, DecodeError> {
        let name = self.prefixed(crate::model::FULL_NAME_BYTES_MAX, "track name")?;
        match namespace.byte_len() + name.len() {
            bytes if bytes > crate::model::FULL_NAME_BYTES_MAX => Err(NameError::TooLong(bytes).into()),
            _ => Ok(name),
        }
    }

    pub(super) fn end(self) -> Result<(), DecodeError> {
        match self.bytes.len() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing(left)),
        }
    }
}
