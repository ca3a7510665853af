//! Objects in datagrams (draft-18, 11.3).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::data::{object_status, status_code};
use super::properties::{OBJECT_PROPERTIES_BYTES_MAX, Properties};
use super::reader::Reader;
use super::{DecodeError, varint};
use crate::model::ObjectStatus;

const PADDING: u64 = 0x132b_3e29;
const PROPERTIES: u64 = 0x01;
const END_OF_GROUP: u64 = 0x02;
const ZERO_OBJECT_ID: u64 = 0x04;
const DEFAULT_PRIORITY: u64 = 0x08;
const STATUS: u64 = 0x20;

/// A datagram that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datagram {
    /// An object.
    Object(ObjectDatagram),
    /// Bytes to throw away.
    Padding,
}

/// One object in one datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectDatagram {
    /// What the track is called in this session.
    pub alias: u64,
    /// The group.
    pub group: u64,
    /// The object.
    pub object: u64,
    /// The publisher's priority; `None` where it is the track's.
    pub priority: Option<u8>,
    /// Whether it is the group's last.
    pub end_of_group: bool,
    /// Its properties, verbatim.
    pub properties: Properties,
    /// What an object without payload says. `None` for an object with payload, also an empty one.
    pub status: Option<ObjectStatus>,
    /// The payload, a slice of the datagram.
    pub payload: Bytes,
}

impl Datagram {
    /// Reads a datagram.
    ///
    /// # Errors
    /// Whatever the draft forbids.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let kind = from.varint("datagram type")?;
        if kind == PADDING {
            return Ok(Self::Padding);
        }
        let ends = kind & STATUS != 0 && kind & END_OF_GROUP != 0;
        if kind & !0x2f != 0 || ends {
            return Err(DecodeError::UnknownDatagram(kind));
        }
        ObjectDatagram::read(kind, from).map(Self::Object)
    }
}

impl ObjectDatagram {
    fn read(kind: u64, mut from: Reader) -> Result<Self, DecodeError> {
        let alias = from.varint("track alias")?;
        let group = from.varint("group id")?;
        let object = if kind & ZERO_OBJECT_ID != 0 { 0 } else { from.varint("object id")? };
        let priority = if kind & DEFAULT_PRIORITY != 0 { None } else { Some(from.u8("priority")?) };
        let mut properties = Properties::default();
        if kind & PROPERTIES != 0 {
            let bytes = from.prefixed(OBJECT_PROPERTIES_BYTES_MAX, "object properties")?;
            if bytes.is_empty() {
                return Err(DecodeError::Invalid { what: "properties length", value: 0 });
            }
            properties = Properties::decode_object(bytes)?;
        }
        let mut status = None;
        if kind & STATUS != 0 {
            let said = object_status(from.varint("object status")?)?;
            if said != ObjectStatus::Normal && !properties.is_empty() {
                return Err(DecodeError::Invalid {
                    what: "properties of an object with status",
                    value: object,
                });
            }
            status = Some(said);
            if !from.is_empty() {
                return Err(DecodeError::Trailing(from.len()));
            }
        }
        let end_of_group = kind & END_OF_GROUP != 0;
        let payload = from.rest();
        Ok(Self { alias, group, object, priority, end_of_group, properties, status, payload })
    }

    /// The datagram's bytes: payload copied, because QUIC sends a datagram from one buffer.
    pub fn encode(&self) -> Bytes {
        let mut kind = 0;
        kind |= if self.properties.is_empty() { 0 } else { PROPERTIES };
        kind |= if self.end_of_group && self.status.is_none() { END_OF_GROUP } else { 0 };
        kind |= if self.object == 0 { ZERO_OBJECT_ID } else { 0 };
        kind |= if self.priority.is_none() { DEFAULT_PRIORITY } else { 0 };
        kind |= if self.status.is_some() { STATUS } else { 0 };
        let len = 4 * varint::LEN_MAX + 1 + self.properties.bytes().len() + self.payload.remaining();
        let mut out = BytesMut::with_capacity(len + varint::LEN_MAX);
        varint::encode(kind, &mut out);
        varint::encode(self.alias, &mut out);
        varint::encode(self.group, &mut out);
        if self.object != 0 {
            varint::encode(self.object, &mut out);
        }
        if let Some(priority) = self.priority {
            out.put_u8(priority);
        }
        if !self.properties.is_empty() {
            varint::encode(self.properties.bytes().len() as u64, &mut out);
            out.put_slice(self.properties.bytes());
        }
        match self.status {
            Some(status) => varint::encode(status_code(status), &mut out),
            None => out.put_slice(&self.payload),
        }
        out.freeze()
    }
}
