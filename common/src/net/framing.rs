//! Objects as they lie on streams: made once when an object comes in, and the same for all who read it.

use bytes::{Bytes, BytesMut};

use crate::model::{GroupOrder, Location, ObjectStatus};
use crate::track::{Cached, Header, Object};
use crate::wire::data::{
    FetchContext, FetchEntry, FetchHead, SubgroupHeader, encode_fetch_header, encode_object_head,
};
use crate::wire::properties::Properties;

/// The start of a subgroup of a track that this node serves under `alias`.
pub fn header(alias: u64, header: Header) -> Header {
    let framing = stream_header(alias, &header);
    Header { framing, ..header }
}

/// What begins the stream of a subgroup.
pub(super) fn stream_header(alias: u64, header: &Header) -> Bytes {
    let mut out = BytesMut::new();
    SubgroupHeader {
        alias,
        group: header.group,
        subgroup: Some(header.subgroup),
        priority: header.priority,
        end_of_group: header.end_of_group,
        first_object: header.first_object,
        has_properties: header.has_properties,
    }
    .encode(&mut out);
    out.freeze()
}

/// An object that follows `previous` in its subgroup, ready to be written to the log.
pub fn object(
    previous: Option<u64>,
    id: u64,
    has_properties: bool,
    properties: Bytes,
    status: ObjectStatus,
    payload: Bytes,
) -> Object {
    let framing = object_head(previous, id, has_properties, &properties, status, payload.len());
    Object { id, status, properties, framing, payload }
}

/// What precedes the payload of an object that follows `previous` on a stream.
pub(super) fn object_head(
    previous: Option<u64>,
    id: u64,
    has_properties: bool,
    properties: &[u8],
    status: ObjectStatus,
    payload_len: usize,
) -> Bytes {
    let mut head = BytesMut::new();
    encode_object_head(previous, id, properties, has_properties, payload_len as u64, status, &mut head);
    head.freeze()
}

/// The whole answer to a FETCH, in order: heads made here, payloads as they are in the log.
///
/// `priority` is the track's, for objects that carry none.
pub(super) fn fetch_answer(
    request_id: u64,
    cached: &[Cached],
    order: GroupOrder,
    priority: u8,
) -> Vec<Bytes> {
    let mut chunks = Vec::with_capacity(1 + 2 * cached.len());
    let mut head = BytesMut::new();
    encode_fetch_header(request_id, &mut head);
    let mut context = FetchContext::new(order);
    for cached in in_order(cached, order) {
        let Object { id, properties, payload, .. } = &cached.object;
        // What came in was checked; what cannot be read any more is left out, as if it had been lost.
        let Ok(properties) = Properties::decode(properties.clone()) else { continue };
        // What only says that something is over is no object of an answer.
        if cached.object.status != ObjectStatus::Normal {
            continue;
        }
        let entry = FetchEntry::Object(FetchHead {
            location: Location::new(cached.group, *id),
            subgroup: cached.subgroup,
            priority: cached.priority.unwrap_or(priority),
            properties,
            payload_len: payload.len() as u64,
        });
        context.encode(&entry, &mut head);
        chunks.push(head.split().freeze());
        chunks.push(payload.clone());
    }
    if !head.is_empty() {
        chunks.push(head.freeze());
    }
    chunks.retain(|chunk| !chunk.is_empty());
    chunks
}

/// Groups in the order asked for, the objects of each ascending.
fn in_order(cached: &[Cached], order: GroupOrder) -> Vec<&Cached> {
    let mut objects: Vec<_> = cached.iter().collect();
    if order == GroupOrder::Descending {
        objects.sort_by_key(|cached| (std::cmp::Reverse(cached.group), cached.object.id));
    }
    objects
}
