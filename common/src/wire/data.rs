//! Unidirectional streams: what they are, and how objects lie on them (draft-18, 11.2 to 11.4).
//!
//! Heads are read from a slice and say how many bytes they took, or that more are needed. Payloads
//! are never touched here: the caller knows their length from the head and moves them itself, once.

use bytes::{BufMut, Bytes, BytesMut};

use super::properties::{OBJECT_PROPERTIES_BYTES_MAX, Properties};
use super::{DecodeError, message, varint};
use crate::model::{GroupOrder, Location, ObjectStatus};

/// The type of a stream that answers a FETCH.
const FETCH: u64 = 0x05;

/// The type of a stream that means nothing.
const PADDING: u64 = 0x132b_3e28;

const PROPERTIES: u64 = 0x01;
const SUBGROUP_ID_MODE: u64 = 0x06;
const SUBGROUP_ID_FIRST_OBJECT: u64 = 0x02;
const SUBGROUP_ID_PRESENT: u64 = 0x04;
const END_OF_GROUP: u64 = 0x08;
const SUBGROUP: u64 = 0x10;
const DEFAULT_PRIORITY: u64 = 0x20;
const FIRST_OBJECT: u64 = 0x40;

/// The bytes of the longest stream header: a type, three integers and a priority.
pub const HEADER_BYTES_MAX: usize = 4 * varint::LEN_MAX + 1;

/// The bytes of the longest object head.
pub const HEAD_BYTES_MAX: usize = 6 * varint::LEN_MAX + 1 + OBJECT_PROPERTIES_BYTES_MAX;

/// How a unidirectional stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamHeader {
    /// Objects of one subgroup.
    Subgroup(SubgroupHeader),
    /// The answer to the FETCH with this request id.
    Fetch(u64),
    /// The peer's control stream. The type is that of the SETUP message, which is not consumed.
    Control,
    /// Bytes to throw away.
    Padding,
}

/// How a stream of one subgroup begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubgroupHeader {
    /// What the track is called in this session.
    pub alias: u64,
    /// The group.
    pub group: u64,
    /// The subgroup; `None` where it is the id of the first object on the stream.
    pub subgroup: Option<u64>,
    /// The publisher's priority; `None` where it is the track's.
    pub priority: Option<u8>,
    /// Whether the stream's last object is the group's.
    pub end_of_group: bool,
    /// Whether the stream's first object is the subgroup's.
    pub first_object: bool,
    /// Whether objects of the stream carry properties.
    pub has_properties: bool,
}

/// What precedes an object's payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    /// The object.
    pub id: u64,
    /// Its properties, verbatim.
    pub properties: Properties,
    /// Bytes of payload that follow.
    pub payload_len: u64,
    /// What an object without payload says.
    pub status: ObjectStatus,
}

impl StreamHeader {
    /// Reads the header at the front of `bytes`: itself and its length, or `None` if more are needed.
    ///
    /// # Errors
    /// [`DecodeError::UnknownStream`], after which the session must be closed.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, DecodeError> {
        let mut from = Cursor { bytes, at: 0 };
        Ok(Self::read(&mut from)?.map(|header| (header, from.at)))
    }

    fn read(from: &mut Cursor<'_>) -> Result<Option<Self>, DecodeError> {
        let Some(kind) = from.varint() else { return Ok(None) };
        Ok(match kind {
            FETCH => from.varint().map(Self::Fetch),
            PADDING => Some(Self::Padding),
            message::SETUP => {
                from.at = 0;
                Some(Self::Control)
            }
            // 0b0XX1XXXX
            kind if kind & !0x6f == SUBGROUP => {
                if kind & SUBGROUP_ID_MODE == SUBGROUP_ID_MODE {
                    return Err(DecodeError::UnknownStream(kind));
                }
                SubgroupHeader::read(kind, from).map(Self::Subgroup)
            }
            other => return Err(DecodeError::UnknownStream(other)),
        })
    }
}

impl SubgroupHeader {
    fn read(kind: u64, from: &mut Cursor<'_>) -> Option<Self> {
        Some(Self {
            alias: from.varint()?,
            group: from.varint()?,
            subgroup: match kind & SUBGROUP_ID_MODE {
                SUBGROUP_ID_PRESENT => Some(from.varint()?),
                SUBGROUP_ID_FIRST_OBJECT => None,
                _ => Some(0),
            },
            priority: if kind & DEFAULT_PRIORITY == 0 { Some(from.u8()?) } else { None },
            end_of_group: kind & END_OF_GROUP != 0,
            first_object: kind & FIRST_OBJECT != 0,
            has_properties: kind & PROPERTIES != 0,
        })
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut kind = SUBGROUP;
        kind |= if self.has_properties { PROPERTIES } else { 0 };
        kind |= if self.end_of_group { END_OF_GROUP } else { 0 };
        kind |= if self.priority.is_none() { DEFAULT_PRIORITY } else { 0 };
        kind |= if self.first_object { FIRST_OBJECT } else { 0 };
        kind |= match self.subgroup {
            Some(0) => 0,
            Some(_) => SUBGROUP_ID_PRESENT,
            None => SUBGROUP_ID_FIRST_OBJECT,
        };
        varint::encode(kind, out);
        varint::encode(self.alias, out);
        varint::encode(self.group, out);
        if let Some(subgroup @ 1..) = self.subgroup {
            varint::encode(subgroup, out);
        }
        if let Some(priority) = self.priority {
            out.put_u8(priority);
        }
    }
}

impl ObjectHead {
    /// Reads the head of the next object on a subgroup's stream; `previous` is the object before it
    /// on this stream. `None` if more bytes are needed.
    ///
    /// # Errors
    /// Whatever the draft forbids, and payloads over `payload_bytes_max`.
    pub fn decode(
        bytes: &[u8],
        has_properties: bool,
        previous: Option<u64>,
        payload_bytes_max: u64,
    ) -> Result<Option<(Self, usize)>, DecodeError> {
        let mut from = Cursor { bytes, at: 0 };
        let head = Self::read(&mut from, has_properties, previous, payload_bytes_max)?;
        Ok(head.map(|head| (head, from.at)))
    }

    fn read(
        from: &mut Cursor<'_>,
        has_properties: bool,
        previous: Option<u64>,
        payload_bytes_max: u64,
    ) -> Result<Option<Self>, DecodeError> {
        let Some(delta) = from.varint() else { return Ok(None) };
        let id = following(previous, delta)?;
        let Some(properties) = from.properties(has_properties)? else { return Ok(None) };
        let Some(payload_len) = from.varint() else { return Ok(None) };
        check_payload(payload_len, payload_bytes_max)?;
        let status = match payload_len {
            0 => match from.varint() {
                Some(status) => object_status(status)?,
                None => return Ok(None),
            },
            _ => ObjectStatus::Normal,
        };
        let properties = Properties::decode_object(Bytes::copy_from_slice(properties))?;
        if status != ObjectStatus::Normal && !properties.is_empty() {
            return Err(DecodeError::Invalid { what: "properties of an object with status", value: id });
        }
        Ok(Some(Self { id, properties, payload_len, status }))
    }
}

/// Appends the head of an object on a subgroup's stream; `previous` is the object before it there.
///
/// `properties` are verbatim Key-Value-Pairs, and left out where the stream's header said that there
/// are none. Ids ascend: one that does not is a bug of the caller, and wraps.
pub fn encode_object_head(
    previous: Option<u64>,
    id: u64,
    properties: &[u8],
    has_properties: bool,
    payload_len: u64,
    status: ObjectStatus,
    out: &mut BytesMut,
) {
    debug_assert!(previous.is_none_or(|previous| previous < id), "ids ascend on a stream");
    let delta = previous.map_or(id, |previous| id.wrapping_sub(previous).wrapping_sub(1));
    varint::encode(delta, out);
    if has_properties {
        varint::encode(properties.len() as u64, out);
        out.put_slice(properties);
    }
    varint::encode(payload_len, out);
    if payload_len == 0 {
        varint::encode(status_code(status), out);
    }
}

const FETCH_SUBGROUP_MODE: u64 = 0x03;
const FETCH_OBJECT_DELTA: u64 = 0x04;
const FETCH_GROUP_DELTA: u64 = 0x08;
const FETCH_PRIORITY: u64 = 0x10;
const FETCH_PROPERTIES: u64 = 0x20;
const FETCH_DATAGRAM: u64 = 0x40;
const END_OF_NON_EXISTENT_RANGE: u64 = 0x8c;
const END_OF_UNKNOWN_RANGE: u64 = 0x10c;

/// One entry of the answer to a FETCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchEntry {
    /// An object; its payload follows.
    Object(FetchHead),
    /// Nothing exists up to here, inclusive.
    NonExistent(Location),
    /// Nothing is known up to here, inclusive.
    Unknown(Location),
}

/// What precedes an object's payload in the answer to a FETCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchHead {
    /// Which object.
    pub location: Location,
    /// The subgroup; `None` for an object that is sent as datagram.
    pub subgroup: Option<u64>,
    /// The publisher's priority.
    pub priority: u8,
    /// Its properties, verbatim.
    pub properties: Properties,
    /// Bytes of payload that follow.
    pub payload_len: u64,
}

/// What an entry of a FETCH's answer may refer back to: one for each direction of each stream.
#[derive(Debug, Clone, Default)]
pub struct FetchContext {
    order: GroupOrder,
    location: Option<Location>,
    subgroup: Option<u64>,
    priority: Option<u8>,
}

impl FetchContext {
    /// The context at the start of an answer in this order.
    pub fn new(order: GroupOrder) -> Self {
        Self { order, ..Self::default() }
    }

    /// Reads the next entry; `None` if more bytes are needed.
    ///
    /// # Errors
    /// Whatever the draft forbids, and payloads over `payload_bytes_max`.
    pub fn decode(
        &mut self,
        bytes: &[u8],
        payload_bytes_max: u64,
    ) -> Result<Option<(FetchEntry, usize)>, DecodeError> {
        let mut from = Cursor { bytes, at: 0 };
        let Some(entry) = self.read(&mut from, payload_bytes_max)? else { return Ok(None) };
        match &entry {
            FetchEntry::Object(head) => {
                self.location = Some(head.location);
                self.subgroup = head.subgroup.or(self.subgroup);
                self.priority = Some(head.priority);
            }
            FetchEntry::NonExistent(location) | FetchEntry::Unknown(location) => {
                self.location = Some(*location);
            }
        }
        Ok(Some((entry, from.at)))
    }

    fn read(&self, from: &mut Cursor<'_>, max: u64) -> Result<Option<FetchEntry>, DecodeError> {
        let Some(flags) = from.varint() else { return Ok(None) };
        // The end of a range is a place, not a delta: a delta could not name the group of the object
        // before. Nothing else follows it, also no payload length (moq-wg/moq-transport#1861).
        match flags {
            END_OF_NON_EXISTENT_RANGE => Ok(from.location().map(FetchEntry::NonExistent)),
            END_OF_UNKNOWN_RANGE => Ok(from.location().map(FetchEntry::Unknown)),
            0..0x80 => Ok(self.read_object(flags, from, max)?.map(FetchEntry::Object)),
            value => Err(DecodeError::Invalid { what: "serialization flags", value }),
        }
    }

    fn read_object(
        &self,
        flags: u64,
        from: &mut Cursor<'_>,
        max: u64,
    ) -> Result<Option<FetchHead>, DecodeError> {
        let group_delta = if flags & FETCH_GROUP_DELTA != 0 { some(from.varint())? } else { Ok(None) };
        let Ok(group_delta) = group_delta else { return Ok(None) };
        let subgroup = if flags & FETCH_DATAGRAM != 0 {
            None
        } else {
            match (flags & FETCH_SUBGROUP_MODE, self.subgroup) {
                (0, _) => Some(0),
                (1, Some(last)) => Some(last),
                (2, Some(last)) => Some(last.checked_add(1).ok_or(DecodeError::Overflow("subgroup id"))?),
                (3, _) => match from.varint() {
                    Some(subgroup) => Some(subgroup),
                    None => return Ok(None),
                },
                _ => {
                    return Err(DecodeError::Invalid { what: "reference to no object, flags", value: flags });
                }
            }
        };
        let object_delta = if flags & FETCH_OBJECT_DELTA != 0 { some(from.varint())? } else { Ok(None) };
        let Ok(object_delta) = object_delta else { return Ok(None) };
        let location = self.locate(group_delta, object_delta, flags)?;
        let priority = if flags & FETCH_PRIORITY != 0 {
            match from.u8() {
                Some(priority) => priority,
                None => return Ok(None),
            }
        } else {
            self.priority
                .ok_or(DecodeError::Invalid { what: "reference to no object, flags", value: flags })?
        };
        let Some(properties) = from.properties(flags & FETCH_PROPERTIES != 0)? else { return Ok(None) };
        let Some(payload_len) = from.varint() else { return Ok(None) };
        check_payload(payload_len, max)?;
        let properties = Properties::decode_object(Bytes::copy_from_slice(properties))?;
        Ok(Some(FetchHead { location, subgroup, priority, properties, payload_len }))
    }

    fn locate(&self, group: Option<u64>, object: Option<u64>, flags: u64) -> Result<Location, DecodeError> {
        let Some(last) = self.location else {
            return match (group, object) {
                (Some(group), Some(object)) => Ok(Location::new(group, object)),
                _ => Err(DecodeError::Invalid { what: "reference to no object, flags", value: flags }),
            };
        };
        let known = |number: Option<u64>| number.ok_or(DecodeError::Overflow("location"));
        let step = |delta: u64| delta.checked_add(1);
        let next_object = last.object.checked_add(1);
        Ok(match group {
            Some(delta) => {
                let group = match self.order {
                    GroupOrder::Ascending => step(delta).and_then(|step| last.group.checked_add(step)),
                    GroupOrder::Descending => step(delta).and_then(|step| last.group.checked_sub(step)),
                };
                let object = object.or(next_object);
                Location::new(known(group)?, known(object)?)
            }
            None => {
                let object = match object {
                    Some(delta) => last.object.checked_add(delta),
                    None => next_object,
                };
                Location::new(last.group, known(object)?)
            }
        })
    }

    /// Appends the end of a range, or the head of an object. Locations follow the order of the answer.
    pub fn encode(&mut self, entry: &FetchEntry, out: &mut BytesMut) {
        match entry {
            FetchEntry::Object(head) => self.encode_object(head, out),
            FetchEntry::NonExistent(end) => self.encode_end(END_OF_NON_EXISTENT_RANGE, *end, out),
            FetchEntry::Unknown(end) => self.encode_end(END_OF_UNKNOWN_RANGE, *end, out),
        }
    }

    fn encode_end(&mut self, flags: u64, end: Location, out: &mut BytesMut) {
        for number in [flags, end.group, end.object] {
            varint::encode(number, out);
        }
        self.location = Some(end);
    }

    fn encode_object(&mut self, head: &FetchHead, out: &mut BytesMut) {
        let mut flags = 0;
        let last = self.location;
        let group_delta = match last {
            None => Some(head.location.group),
            Some(last) if last.group == head.location.group => None,
            Some(last) => Some(last.group.abs_diff(head.location.group).wrapping_sub(1)),
        };
        let object_delta = match (last, group_delta) {
            (None, _) | (_, Some(_)) => Some(head.location.object),
            (Some(last), None) => match head.location.object.wrapping_sub(last.object) {
                1 => None,
                delta => Some(delta),
            },
        };
        flags |= if group_delta.is_some() { FETCH_GROUP_DELTA } else { 0 };
        flags |= if object_delta.is_some() { FETCH_OBJECT_DELTA } else { 0 };
        flags |= match head.subgroup {
            None => FETCH_DATAGRAM,
            Some(0) => 0,
            subgroup if subgroup == self.subgroup => 1,
            Some(_) => 3,
        };
        flags |= if self.priority == Some(head.priority) { 0 } else { FETCH_PRIORITY };
        flags |= if head.properties.is_empty() { 0 } else { FETCH_PROPERTIES };
        varint::encode(flags, out);
        if let Some(delta) = group_delta {
            varint::encode(delta, out);
        }
        if let (3, Some(subgroup)) = (flags & (FETCH_SUBGROUP_MODE | FETCH_DATAGRAM), head.subgroup) {
            varint::encode(subgroup, out);
        }
        if let Some(delta) = object_delta {
            varint::encode(delta, out);
        }
        if flags & FETCH_PRIORITY != 0 {
            out.put_u8(head.priority);
        }
        if flags & FETCH_PROPERTIES != 0 {
            varint::encode(head.properties.bytes().len() as u64, out);
            out.put_slice(head.properties.bytes());
        }
        varint::encode(head.payload_len, out);
        self.location = Some(head.location);
        // Whether an object may refer past a datagram to the subgroup before it is left open, so we do not.
        self.subgroup = head.subgroup;
        self.priority = Some(head.priority);
    }
}

/// Appends the header of a stream that answers the FETCH with this request id.
pub fn encode_fetch_header(request_id: u64, out: &mut BytesMut) {
    varint::encode(FETCH, out);
    varint::encode(request_id, out);
}

pub(super) fn object_status(value: u64) -> Result<ObjectStatus, DecodeError> {
    match value {
        0 => Ok(ObjectStatus::Normal),
        3 => Ok(ObjectStatus::EndOfGroup),
        4 => Ok(ObjectStatus::EndOfTrack),
        value => Err(DecodeError::Invalid { what: "object status", value }),
    }
}

pub(super) const fn status_code(status: ObjectStatus) -> u64 {
    match status {
        ObjectStatus::Normal => 0,
        ObjectStatus::EndOfGroup => 3,
        ObjectStatus::EndOfTrack => 4,
    }
}

fn following(previous: Option<u64>, delta: u64) -> Result<u64, DecodeError> {
    let id = match previous {
        None => Some(delta),
        Some(previous) => previous.checked_add(1).and_then(|next| next.checked_add(delta)),
    };
    id.ok_or(DecodeError::Overflow("object id"))
}

fn check_payload(len: u64, max: u64) -> Result<(), DecodeError> {
    if len > max { Err(DecodeError::TooLong { what: "object payload", len, max }) } else { Ok(()) }
}

/// `Err(())` inside: the bytes are not there yet.
fn some(value: Option<u64>) -> Result<Result<Option<u64>, ()>, DecodeError> {
    Ok(value.map(Some).ok_or(()))
}

/// Fields at the front of bytes that may still be coming.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn varint(&mut self) -> Option<u64> {
        let (value, len) = varint::decode(&self.bytes[self.at..])?;
        self.at += len;
        Some(value)
    }

    fn location(&mut self) -> Option<Location> {
        Some(Location::new(self.varint()?, self.varint()?))
    }

    fn u8(&mut self) -> Option<u8> {
        let value = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(value)
    }

    /// A length and properties, or nothing at all where there are none.
    fn properties(&mut self, present: bool) -> Result<Option<&'a [u8]>, DecodeError> {
        if !present {
            return Ok(Some(&[]));
        }
        let Some(len) = self.varint() else { return Ok(None) };
        let max = OBJECT_PROPERTIES_BYTES_MAX as u64;
        if len > max {
            return Err(DecodeError::TooLong { what: "object properties", len, max });
        }
        let bytes = self.bytes.get(self.at..self.at + len as usize);
        self.at += len as usize;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first example of the draft (11.6).
    #[test]
    fn a_subgroup_on_a_stream() {
        let bytes = [0x14, 2, 0, 0, 0, 0, 4, b'a', b'b', b'c', b'd', 0, 4, b'e', b'f', b'g', b'h'];
        let (header, taken) = StreamHeader::decode(&bytes).unwrap().unwrap();
        let StreamHeader::Subgroup(header) = header else { panic!("{header:?}") };
        assert_eq!((header.alias, header.group, header.subgroup, header.priority), (2, 0, Some(0), Some(0)));
        let (first, len) = ObjectHead::decode(&bytes[taken..], false, None, 100).unwrap().unwrap();
        assert_eq!((first.id, first.payload_len), (0, 4));
        let second = &bytes[taken + len + 4..];
        let (second, _) = ObjectHead::decode(second, false, Some(0), 100).unwrap().unwrap();
        assert_eq!((second.id, second.payload_len), (1, 4));
    }

    #[test]
    fn reserved_stream_types_are_refused() {
        for kind in [0x16, 0x17, 0x1e, 0x36, 0x7f] {
            let mut bytes = BytesMut::new();
            varint::encode(kind, &mut bytes);
            assert_eq!(StreamHeader::decode(&bytes), Err(DecodeError::UnknownStream(kind)));
        }
        assert_eq!(StreamHeader::decode(&[0x06]), Err(DecodeError::UnknownStream(6)));
    }
}
