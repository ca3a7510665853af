//! Message Parameters (draft-18, 10.2): typed, each allowed in some messages only.

use bytes::{BufMut, Bytes, BytesMut};

use super::reader::Reader;
use super::token::Token;
use super::{DecodeError, varint};
use crate::model::{GroupOrder, Location, Namespace};

/// Tokens in one message at most: the message would hold sixteen of 4 KiB anyway.
pub const TOKENS_MAX: usize = 16;

/// Bytes of a subscription filter: a type and three integers.
const FILTER_BYTES_MAX: usize = 4 * varint::LEN_MAX;

/// The parameters of one message. `None` is "not in the message", which has the meaning that the
/// draft gives to each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters {
    /// OBJECT_DELIVERY_TIMEOUT in milliseconds.
    pub object_delivery_timeout: Option<u64>,
    /// AUTHORIZATION_TOKEN, any number.
    pub tokens: Vec<Token>,
    /// RENDEZVOUS_TIMEOUT in milliseconds.
    pub rendezvous_timeout: Option<u64>,
    /// SUBGROUP_DELIVERY_TIMEOUT in milliseconds.
    pub subgroup_delivery_timeout: Option<u64>,
    /// EXPIRES in milliseconds.
    pub expires: Option<u64>,
    /// LARGEST_OBJECT.
    pub largest: Option<Location>,
    /// FILL_TIMEOUT in milliseconds.
    pub fill_timeout: Option<u64>,
    /// FORWARD.
    pub forward: Option<bool>,
    /// SUBSCRIBER_PRIORITY: lower is more important.
    pub priority: Option<u8>,
    /// SUBSCRIPTION_FILTER.
    pub filter: Option<Filter>,
    /// GROUP_ORDER.
    pub order: Option<GroupOrder>,
    /// NEW_GROUP_REQUEST.
    pub new_group: Option<u64>,
    /// TRACK_NAMESPACE_PREFIX.
    pub prefix: Option<Namespace>,
}

/// Which objects of a track a subscriber wants (draft-18, 5.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// From the start of the next group on.
    NextGroup,
    /// From the object after the largest on.
    Largest,
    /// From this place on.
    From(Location),
    /// From this place to the end of this group.
    Range {
        /// The first object.
        start: Location,
        /// The last group; never before the first.
        end_group: u64,
    },
}

/// Where a parameter may appear: one bit for each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u16);

impl Place {
    pub(super) const SUBSCRIBE: Self = Self(1);
    pub(super) const SUBSCRIBE_OK: Self = Self(1 << 1);
    pub(super) const PUBLISH: Self = Self(1 << 2);
    /// PUBLISH_OK, REQUEST_UPDATE_OK, TRACK_STATUS_OK and the others are one message on the wire.
    pub(super) const REQUEST_OK: Self = Self(1 << 3);
    pub(super) const REQUEST_UPDATE: Self = Self(1 << 4);
    pub(super) const FETCH: Self = Self(1 << 5);
    pub(super) const FETCH_OK: Self = Self(1 << 6);
    pub(super) const TRACK_STATUS: Self = Self(1 << 7);
    pub(super) const PUBLISH_NAMESPACE: Self = Self(1 << 8);
    pub(super) const SUBSCRIBE_NAMESPACE: Self = Self(1 << 9);
    pub(super) const SUBSCRIBE_TRACKS: Self = Self(1 << 10);

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn allows(self, place: Self) -> bool {
        self.0 & place.0 != 0
    }
}

const OBJECT_DELIVERY_TIMEOUT: u64 = 0x02;
const AUTHORIZATION_TOKEN: u64 = 0x03;
const RENDEZVOUS_TIMEOUT: u64 = 0x04;
const SUBGROUP_DELIVERY_TIMEOUT: u64 = 0x06;
const EXPIRES: u64 = 0x08;
const LARGEST_OBJECT: u64 = 0x09;
const FILL_TIMEOUT: u64 = 0x0a;
const FORWARD: u64 = 0x10;
const SUBSCRIBER_PRIORITY: u64 = 0x20;
const SUBSCRIPTION_FILTER: u64 = 0x21;
const GROUP_ORDER: u64 = 0x22;
const NEW_GROUP_REQUEST: u64 = 0x32;
const TRACK_NAMESPACE_PREFIX: u64 = 0x34;

/// Where each parameter may appear (draft-18, 10.2.2 to 10.2.14); nowhere if it does not exist.
const fn places(kind: u64) -> Place {
    // Delivery: what a subscriber says of how it wants to be served. TRACK_STATUS is "identical to
    // SUBSCRIBE", so what is superfluous there is not an error.
    const ASK: Place = Place::SUBSCRIBE.or(Place::TRACK_STATUS);
    const DELIVERY: Place = ASK.or(Place::REQUEST_OK).or(Place::REQUEST_UPDATE);
    match kind {
        OBJECT_DELIVERY_TIMEOUT | SUBGROUP_DELIVERY_TIMEOUT | SUBSCRIPTION_FILTER | NEW_GROUP_REQUEST => {
            DELIVERY
        }
        AUTHORIZATION_TOKEN => ASK
            .or(Place::PUBLISH)
            .or(Place::REQUEST_UPDATE)
            .or(Place::SUBSCRIBE_NAMESPACE)
            .or(Place::SUBSCRIBE_TRACKS)
            .or(Place::PUBLISH_NAMESPACE)
            .or(Place::FETCH),
        RENDEZVOUS_TIMEOUT => ASK,
        EXPIRES | LARGEST_OBJECT => Place::SUBSCRIBE_OK.or(Place::PUBLISH).or(Place::REQUEST_OK),
        FILL_TIMEOUT => Place::FETCH,
        FORWARD => DELIVERY.or(Place::PUBLISH).or(Place::SUBSCRIBE_TRACKS),
        SUBSCRIBER_PRIORITY => DELIVERY.or(Place::FETCH),
        GROUP_ORDER => ASK.or(Place::REQUEST_OK).or(Place::FETCH),
        TRACK_NAMESPACE_PREFIX => Place::REQUEST_UPDATE,
        _ => Place(0),
    }
}

impl Parameters {
    pub(super) fn read(from: &mut Reader, place: Place, message: u64) -> Result<Self, DecodeError> {
        let count = from.varint("number of parameters")?;
        let mut parameters = Self::default();
        let mut last: Option<u64> = None;
        for _ in 0..count {
            let delta = from.varint("parameter type")?;
            let kind = last.unwrap_or(0).checked_add(delta).ok_or(DecodeError::Overflow("parameter type"))?;
            if last == Some(kind) && kind != AUTHORIZATION_TOKEN {
                return Err(DecodeError::Duplicate(kind));
            }
            if !places(kind).allows(place) {
                return Err(DecodeError::Misplaced { parameter: kind, message });
            }
            last = Some(kind);
            parameters.read_one(from, kind)?;
        }
        Ok(parameters)
    }

    fn read_one(&mut self, from: &mut Reader, kind: u64) -> Result<(), DecodeError> {
        match kind {
            OBJECT_DELIVERY_TIMEOUT => self.object_delivery_timeout = Some(from.varint("timeout")?),
            AUTHORIZATION_TOKEN => {
                let bytes = from.prefixed(super::token::TOKEN_BYTES_MAX + 32, "authorization token")?;
                self.tokens.push(Token::decode(bytes)?);
                check_tokens(&self.tokens)?;
            }
            RENDEZVOUS_TIMEOUT => self.rendezvous_timeout = Some(from.varint("timeout")?),
            SUBGROUP_DELIVERY_TIMEOUT => self.subgroup_delivery_timeout = Some(from.varint("timeout")?),
            EXPIRES => self.expires = Some(from.varint("expires")?),
            LARGEST_OBJECT => self.largest = Some(from.location("largest object")?),
            FILL_TIMEOUT => self.fill_timeout = Some(from.varint("timeout")?),
            FORWARD => {
                self.forward = Some(match from.u8("forward")? {
                    0 => false,
                    1 => true,
                    value => return Err(DecodeError::Invalid { what: "forward", value: value.into() }),
                });
            }
            SUBSCRIBER_PRIORITY => self.priority = Some(from.priority()?),
            SUBSCRIPTION_FILTER => {
                self.filter = Some(Filter::decode(from.prefixed(FILTER_BYTES_MAX, "subscription filter")?)?);
            }
            GROUP_ORDER => {
                self.order = Some(match from.u8("group order")? {
                    1 => GroupOrder::Ascending,
                    2 => GroupOrder::Descending,
                    value => return Err(DecodeError::Invalid { what: "group order", value: value.into() }),
                });
            }
            NEW_GROUP_REQUEST => self.new_group = Some(from.varint("new group request")?),
            TRACK_NAMESPACE_PREFIX => self.prefix = Some(from.namespace()?),
            // `places` knows no other.
            _ => {}
        }
        Ok(())
    }

    /// Appends number and parameters, in ascending order of their types.
    pub(super) fn write(&self, out: &mut BytesMut) {
        let mut list = List { count: 0, last: 0, bytes: BytesMut::new() };
        list.varint(OBJECT_DELIVERY_TIMEOUT, self.object_delivery_timeout);
        for token in &self.tokens {
            list.prefixed(AUTHORIZATION_TOKEN, &token.encode());
        }
        list.varint(RENDEZVOUS_TIMEOUT, self.rendezvous_timeout);
        list.varint(SUBGROUP_DELIVERY_TIMEOUT, self.subgroup_delivery_timeout);
        list.varint(EXPIRES, self.expires);
        if let Some(largest) = self.largest {
            let bytes = list.begin(LARGEST_OBJECT);
            varint::encode(largest.group, bytes);
            varint::encode(largest.object, bytes);
        }
        list.varint(FILL_TIMEOUT, self.fill_timeout);
        list.u8(FORWARD, self.forward.map(u8::from));
        list.u8(SUBSCRIBER_PRIORITY, self.priority);
        if let Some(filter) = self.filter {
            list.prefixed(SUBSCRIPTION_FILTER, &filter.encode());
        }
        list.u8(GROUP_ORDER, self.order.map(|order| if order == GroupOrder::Ascending { 1 } else { 2 }));
        list.varint(NEW_GROUP_REQUEST, self.new_group);
        if let Some(prefix) = &self.prefix {
            super::message::write_namespace(prefix, list.begin(TRACK_NAMESPACE_PREFIX));
        }
        varint::encode(list.count, out);
        out.put_slice(&list.bytes);
    }
}

/// Whether there are not too many.
pub(super) fn check_tokens(tokens: &[Token]) -> Result<(), DecodeError> {
    match tokens.len() {
        0..=TOKENS_MAX => Ok(()),
        len => Err(DecodeError::Invalid { what: "number of authorization tokens", value: len as u64 }),
    }
}

struct List {
    count: u64,
    last: u64,
    bytes: BytesMut,
}

impl List {
    fn begin(&mut self, kind: u64) -> &mut BytesMut {
        varint::encode(kind - self.last, &mut self.bytes);
        self.last = kind;
        self.count += 1;
        &mut self.bytes
    }

    fn varint(&mut self, kind: u64, value: Option<u64>) {
        if let Some(value) = value {
            varint::encode(value, self.begin(kind));
        }
    }

    fn u8(&mut self, kind: u64, value: Option<u8>) {
        if let Some(value) = value {
            self.begin(kind).put_u8(value);
        }
    }

    fn prefixed(&mut self, kind: u64, value: &[u8]) {
        let bytes = self.begin(kind);
        varint::encode(value.len() as u64, bytes);
        bytes.put_slice(value);
    }
}

impl Filter {
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let filter = match from.varint("filter type")? {
            1 => Self::NextGroup,
            2 => Self::Largest,
            3 => Self::From(from.location("filter start")?),
            4 => {
                let start = from.location("filter start")?;
                let delta = from.varint("filter end")?;
                let end_group = start.group.checked_add(delta).ok_or(DecodeError::Overflow("filter end"))?;
                Self::Range { start, end_group }
            }
            value => return Err(DecodeError::Invalid { what: "filter type", value }),
        };
        from.end()?;
        Ok(filter)
    }

    fn encode(self) -> BytesMut {
        let mut out = BytesMut::new();
        match self {
            Self::NextGroup => out.put_u8(1),
            Self::Largest => out.put_u8(2),
            Self::From(start) => {
                out.put_u8(3);
                varint::encode(start.group, &mut out);
                varint::encode(start.object, &mut out);
            }
            Self::Range { start, end_group } => {
                out.put_u8(4);
                varint::encode(start.group, &mut out);
                varint::encode(start.object, &mut out);
                varint::encode(end_group.saturating_sub(start.group), &mut out);
            }
        }
        out
    }
}
