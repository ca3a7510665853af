//! Key-Value-Pairs of tracks and objects, kept verbatim (draft-18, 1.4.3 and 2.5).
//!
//! A relay forwards what it does not understand unchanged, so properties stay the bytes they came as;
//! reading is a walk over them.

use bytes::{BufMut, Bytes, BytesMut};

use super::{DecodeError, varint};
use crate::model::GroupOrder;

/// Bytes of one object's properties at most. The draft allows any number; 16 KiB hold a hundred keys
/// of 160 bytes, and a hundred objects in flight from one peer stay below 2 MiB.
pub const OBJECT_PROPERTIES_BYTES_MAX: usize = 16 << 10;

/// Bytes of one property's value at most (draft-18, 1.4.3).
pub const VALUE_BYTES_MAX: usize = u16::MAX as usize;

/// Property types that an endpoint must understand to carry the track (draft-18, 2.5.1).
pub const MANDATORY: std::ops::RangeInclusive<u64> = 0x4000..=0x7fff;

/// A step and a number, or a step and a length.
const PAIR_HEAD_BYTES_MAX: usize = 2 * varint::LEN_MAX;

const IMMUTABLE: u64 = 0x0b;
const DEFAULT_PUBLISHER_PRIORITY: u64 = 0x0e;
const DEFAULT_GROUP_ORDER: u64 = 0x22;
const DYNAMIC_GROUPS: u64 = 0x30;

/// A well-formed sequence of Key-Value-Pairs, verbatim.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties(Bytes);

/// One value: even types have a number, odd ones bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// The value of an even type.
    Number(u64),
    /// The value of an odd type.
    Bytes(Bytes),
}

impl Properties {
    /// Checks a sequence that came over the wire.
    ///
    /// # Errors
    /// Where a pair is cut off, too long, or its type passes 2^64 - 1.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        Pairs { bytes: &bytes, source: &bytes, last: 0 }.try_for_each(|pair| pair.map(drop))?;
        Ok(Self(bytes))
    }

    /// Checks an object's properties: also that none is one that only tracks may have.
    ///
    /// # Errors
    /// As [`Properties::decode`], and [`DecodeError::MalformedTrack`] for a mandatory track property.
    pub fn decode_object(bytes: Bytes) -> Result<Self, DecodeError> {
        let properties = Self::decode(bytes)?;
        match properties.mandatory() {
            Some(kind) => Err(DecodeError::MalformedTrack(kind)),
            None => Ok(properties),
        }
    }

    /// Properties of these pairs. Pairs of one type keep their order.
    ///
    /// # Errors
    /// [`DecodeError::KeyValue`] where a value is not of its type's form, or too long.
    pub fn new(pairs: impl IntoIterator<Item = (u64, Value)>) -> Result<Self, DecodeError> {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by_key(|(kind, _)| *kind);
        let mut out = BytesMut::new();
        let mut last = 0;
        for (kind, value) in pairs {
            write_pair(kind - last, kind, &value, &mut out)?;
            last = kind;
        }
        Ok(Self(out.freeze()))
    }

    /// These properties and one more, after those of its type. The others stay the bytes that they are,
    /// but for the step to the next greater type.
    ///
    /// # Errors
    /// As [`Properties::new`].
    pub fn with(&self, kind: u64, value: &Value) -> Result<Self, DecodeError> {
        let mut pairs = Pairs { bytes: &self.0, source: &self.0, last: 0 };
        let (mut last, mut rest) = (0, pairs.bytes);
        while let Some((found, _)) = pairs.next().transpose()?
            && found <= kind
        {
            (last, rest) = (found, pairs.bytes);
        }
        let mut out = BytesMut::with_capacity(self.0.len() + PAIR_HEAD_BYTES_MAX);
        out.put_slice(&self.0[..self.0.len() - rest.len()]);
        write_pair(kind - last, kind, value, &mut out)?;
        if let Some((step, len)) = varint::decode(rest) {
            varint::encode(last + step - kind, &mut out);
            out.put_slice(&rest[len..]);
        }
        Ok(Self(out.freeze()))
    }

    /// The bytes as they came.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs in order, without looking inside immutable ones.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Value)> + '_ {
        // The sequence was checked when it was made.
        Pairs { bytes: &self.0, source: &self.0, last: 0 }.map_while(Result::ok)
    }

    /// The first value of this type, also among the immutable properties (draft-18, 12.7).
    pub fn find(&self, kind: u64) -> Option<Value> {
        let direct = self.iter().find(|(found, _)| *found == kind).map(|(_, value)| value);
        direct.or_else(|| {
            let (_, immutable) = self.iter().find(|(found, _)| *found == IMMUTABLE)?;
            let Value::Bytes(inner) = immutable else { return None };
            let inner = Self::decode(inner).ok()?;
            inner.iter().find(|(found, _)| *found == kind).map(|(_, value)| value)
        })
    }

    /// The first number of this (even) type.
    pub fn number(&self, kind: u64) -> Option<u64> {
        match self.find(kind)? {
            Value::Number(number) => Some(number),
            Value::Bytes(_) => None,
        }
    }

    /// The priority of what carries none of its own: 128 unless the track says otherwise.
    pub fn default_priority(&self) -> u8 {
        self.number(DEFAULT_PUBLISHER_PRIORITY).and_then(|value| u8::try_from(value).ok()).unwrap_or(128)
    }

    /// The publisher's wish for the order of groups.
    pub fn group_order(&self) -> GroupOrder {
        match self.number(DEFAULT_GROUP_ORDER) {
            Some(2) => GroupOrder::Descending,
            _ => GroupOrder::Ascending,
        }
    }

    /// Whether subscribers may ask for a new group.
    pub fn dynamic_groups(&self) -> bool {
        self.number(DYNAMIC_GROUPS) == Some(1)
    }

    /// The first type that an endpoint must understand, if there is one.
    pub fn mandatory(&self) -> Option<u64> {
        self.iter().map(|(kind, _)| kind).find(|kind| MANDATORY.contains(kind))
    }

    /// Checks what the draft says of track properties that it defines itself, wherever they are.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] for a value out of its range.
    pub fn check_track(&self) -> Result<(), DecodeError> {
        for (kind, value) in self.iter() {
            check_track_value(kind, &value)?;
            if let (IMMUTABLE, Value::Bytes(inner)) = (kind, value) {
                // What cannot be read inside is nobody's business but the publisher's.
                let inner = Self::decode(inner).unwrap_or_default();
                inner.iter().try_for_each(|(kind, value)| check_track_value(kind, &value))?;
            }
        }
        Ok(())
    }
}

fn write_pair(step: u64, kind: u64, value: &Value, out: &mut BytesMut) -> Result<(), DecodeError> {
    varint::encode(step, out);
    match value {
        Value::Number(number) if kind.is_multiple_of(2) => varint::encode(*number, out),
        Value::Bytes(bytes) if !kind.is_multiple_of(2) && bytes.len() <= VALUE_BYTES_MAX => {
            varint::encode(bytes.len() as u64, out);
            out.put_slice(bytes);
        }
        _ => return Err(DecodeError::KeyValue("property")),
    }
    Ok(())
}

fn check_track_value(kind: u64, value: &Value) -> Result<(), DecodeError> {
    let (what, allowed) = match kind {
        DEFAULT_PUBLISHER_PRIORITY => ("default publisher priority", 0..=255),
        DEFAULT_GROUP_ORDER => ("default group order", 1..=2),
        DYNAMIC_GROUPS => ("dynamic groups", 0..=1),
        _ => return Ok(()),
    };
    match *value {
        Value::Number(value) if !allowed.contains(&value) => Err(DecodeError::Invalid { what, value }),
        _ => Ok(()),
    }
}

/// A walk over pairs; stops after the first error.
struct Pairs<'a> {
    bytes: &'a [u8],
    source: &'a Bytes,
    last: u64,
}

impl Pairs<'_> {
    fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let (value, len) = varint::decode(self.bytes).ok_or(DecodeError::Truncated(what))?;
        self.bytes = &self.bytes[len..];
        Ok(value)
    }

    fn pair(&mut self) -> Result<(u64, Value), DecodeError> {
        let delta = self.varint("property type")?;
        self.last = self.last.checked_add(delta).ok_or(DecodeError::Overflow("property type"))?;
        if self.last.is_multiple_of(2) {
            return Ok((self.last, Value::Number(self.varint("property value")?)));
        }
        let len = self.varint("property length")?;
        if len > VALUE_BYTES_MAX as u64 {
            return Err(DecodeError::TooLong { what: "property value", len, max: VALUE_BYTES_MAX as u64 });
        }
        let Some((value, rest)) = self.bytes.split_at_checked(len as usize) else {
            return Err(DecodeError::Truncated("property value"));
        };
        self.bytes = rest;
        Ok((self.last, Value::Bytes(self.source.slice_ref(value))))
    }
}

impl Iterator for Pairs<'_> {
    type Item = Result<(u64, Value), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let pair = self.pair();
        if pair.is_err() {
            self.bytes = &[];
        }
        Some(pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_found_also_inside_immutable_properties() {
        let inner = Properties::new([(0x3c, Value::Number(2))]).unwrap();
        let properties = Properties::new([
            (0x39, Value::Bytes(Bytes::from_static(b"hash"))),
            (0x38, Value::Number(1_700_000_000_000_000)),
            (IMMUTABLE, Value::Bytes(inner.bytes().clone())),
        ])
        .unwrap();
        let decoded = Properties::decode(properties.bytes().clone()).unwrap();
        assert_eq!(decoded.number(0x38), Some(1_700_000_000_000_000));
        assert_eq!(decoded.find(0x39), Some(Value::Bytes(Bytes::from_static(b"hash"))));
        assert_eq!(decoded.number(0x3c), Some(2));
        assert_eq!(decoded.default_priority(), 128);
    }

    #[test]
    fn one_more_leaves_the_others_as_they_are() {
        // Types 0x02, 0x39 and 0x40, with an integer longer than it need be.
        let came = Properties::decode(Bytes::from_static(&[2, 0x80, 7, 0x37, 1, b'x', 7, 9])).unwrap();
        let more = came.with(0x38, &Value::Number(5)).unwrap();
        assert_eq!(&more.bytes()[..], [2, 0x80, 7, 0x36, 5, 1, 1, b'x', 7, 9]);
        let last = came.with(0x41, &Value::Bytes("y".into())).unwrap();
        assert_eq!(&last.bytes()[..], [2, 0x80, 7, 0x37, 1, b'x', 7, 9, 1, 1, b'y']);
        let first = Properties::default().with(0x38, &Value::Number(5)).unwrap();
        assert_eq!(&first.bytes()[..], [0x38, 5]);
        assert!(came.with(0x38, &Value::Bytes(Bytes::new())).is_err());
    }

    #[test]
    fn a_pair_that_is_cut_off_is_refused_at_every_byte() {
        let whole = Properties::new([(2, Value::Number(300)), (5, Value::Bytes("abc".into()))]).unwrap();
        let whole = whole.bytes();
        for len in [1, 2, 4, 5, 6, 7] {
            assert!(Properties::decode(whole.slice(..len)).is_err(), "{len}");
        }
    }

    #[test]
    fn mandatory_track_properties_are_not_for_objects() {
        let track = Properties::new([(0x4000, Value::Number(1))]).unwrap();
        assert_eq!(track.mandatory(), Some(0x4000));
        assert!(Properties::decode_object(track.bytes().clone()).is_err());
    }
}
