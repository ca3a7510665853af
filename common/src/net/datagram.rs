//! Objects in datagrams, between the wire and the tracks.

use std::time::Instant;

use bytes::Bytes;

use super::metrics::Metrics;
use super::tracks::Entry;
use crate::model::Location;
use crate::track;
use crate::wire::datagram::ObjectDatagram;
use crate::wire::properties::Properties;

/// A datagram of a track that this node serves under `alias`; `None` if its properties cannot be read any
/// more, which was checked when it came.
pub(super) fn encode(alias: u64, datagram: &track::Datagram) -> Option<Bytes> {
    let datagram = ObjectDatagram {
        alias,
        group: datagram.location.group,
        object: datagram.location.object,
        priority: datagram.priority,
        end_of_group: datagram.end_of_group,
        properties: Properties::decode(datagram.properties.clone()).ok()?,
        status: datagram.status,
        payload: datagram.payload.clone(),
    };
    Some(datagram.encode())
}

/// Writes a datagram that has come to its track.
pub(super) fn write(entry: &Entry, datagram: ObjectDatagram, now: Instant, metrics: &Metrics) {
    let bytes = datagram.payload.len() as u64;
    let object = track::Datagram {
        location: Location::new(datagram.group, datagram.object),
        priority: datagram.priority,
        end_of_group: datagram.end_of_group,
        status: datagram.status,
        properties: datagram.properties.bytes().clone(),
        payload: datagram.payload,
    };
    let Some(outcome) = entry.writer().as_mut().map(|writer| writer.datagram(now, object)) else { return };
    match outcome {
        Ok(()) => metrics.received(bytes),
        Err(error) => metrics.objects_refused(error),
    }
}
