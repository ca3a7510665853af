//! What one peer is served of one track: a cursor, and the streams it has open.
//!
//! A feed copies nothing: what goes out are handles on the bytes that the log holds, the same for
//! every viewer. Of each track a slow peer has at most one object's handles per open stream waiting
//! here; everything older is the lateness rule's business.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use web_transport_quinn::SendStream;

use super::endpoint::Transport;
use super::framing;
use super::metrics::Metrics;
use super::stream::{Opening, Over, poll_write, stream_code};
use super::tracks::Interest;
use crate::model::GroupOrder;
use crate::track::{Cursor, End, Header, Object, Reader, Start, Step, SubgroupEnd};
use crate::wire::code::ResetCode;

/// Streams one feed has open at most. A live track has one or two: the group that ends and the one
/// that begins. More are subgroups of the same group, or a reader that is about to be late.
const STREAMS_MAX: usize = 32;

/// Handles gathered before a write: a late joiner's burst goes out in few calls, and what waits here
/// for a blocked stream stays small (32 handles of 32 bytes).
const CHUNKS_MAX: usize = 32;

/// How a subscriber wants a track served.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Where to begin.
    pub start: Start,
    /// The last group, where there is one.
    pub end_group: Option<u64>,
    /// The subscriber's priority: lower is more important.
    pub priority: u8,
    /// Which group goes first when several wait.
    pub order: GroupOrder,
    /// How far behind the newest group it may fall before groups are dropped for it.
    pub latency_max: Duration,
    /// The publisher's priority where an object carries none.
    pub default_priority: u8,
}

/// Why a feed is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FeedEnd {
    /// The track is.
    Track(End),
    /// The last group that was asked for is out.
    Range,
}

/// One track on its way to one peer.
pub(super) struct Feed {
    // Holds the track at its source while this is served.
    interest: Interest,
    cursor: Cursor,
    terms: Terms,
    forward: bool,
    streams: Vec<Outgoing>,
    opened: u64,
    ended: Option<FeedEnd>,
}

impl Feed {
    pub(super) fn new(interest: Interest, terms: Terms, forward: bool) -> Self {
        let cursor = interest.entry().track().cursor(terms.start, terms.end_group, terms.latency_max);
        Self { interest, cursor, terms, forward, streams: Vec::new(), opened: 0, ended: None }
    }

    /// Streams opened so far, as PUBLISH_DONE counts them.
    pub(super) fn stream_count(&self) -> u64 {
        self.opened
    }

    /// The subscriber changed its mind about priority, range or forwarding.
    pub(super) fn update(&mut self, terms: Terms, forward: bool) {
        if forward && !self.forward {
            let track = self.interest.entry().track();
            self.cursor = track.cursor(terms.start, terms.end_group, terms.latency_max);
        }
        if !forward {
            self.streams.clear();
        }
        self.cursor.set_end_group(terms.end_group);
        self.terms = terms;
        self.forward = forward;
        for stream in &self.streams {
            stream.set_priority(&self.terms);
        }
    }

    /// The track.
    pub(super) fn interest(&self) -> &Interest {
        &self.interest
    }

    /// Moves what can be moved. Ready once the track has ended and everything is out.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        transport: &Transport,
        metrics: &Metrics,
    ) -> Poll<FeedEnd> {
        loop {
            self.streams.retain_mut(|stream| stream.poll(cx, metrics).is_pending());
            if self.ended.is_some() || self.streams.len() >= STREAMS_MAX {
                break;
            }
            match self.cursor.poll_next(cx) {
                // It still hears of the track's end.
                Poll::Ready(Step::Open(_) | Step::Datagram(_)) if !self.forward => {}
                Poll::Ready(Step::Open(reader)) => {
                    self.opened += 1;
                    let alias = self.interest.entry().alias();
                    self.streams.push(Outgoing::subgroup(transport, reader, alias, &self.terms));
                }
                Poll::Ready(Step::Datagram(datagram)) => {
                    let alias = self.interest.entry().alias();
                    // A datagram that does not fit or find room is lost, as datagrams are.
                    let bytes = super::datagram::encode(alias, &datagram);
                    if bytes.is_some_and(|bytes| transport.send_datagram(bytes).is_ok()) {
                        metrics.sent(datagram.payload.len() as u64);
                    }
                }
                Poll::Ready(Step::End(end)) => self.ended = Some(FeedEnd::Track(end)),
                Poll::Pending => {
                    self.ended = self.is_past_range().then_some(FeedEnd::Range);
                    break;
                }
            }
        }
        self.drop_late(now, metrics);
        match self.ended {
            Some(end) if self.streams.is_empty() => Poll::Ready(end),
            _ => Poll::Pending,
        }
    }

    /// When the lateness rule has to look again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.streams.iter().filter_map(|stream| self.cursor.late_at(stream.group)).min()
    }

    fn drop_late(&mut self, now: Instant, metrics: &Metrics) {
        let Some(oldest) = self.streams.iter().map(|stream| stream.group).min() else { return };
        let Some(first) = self.cursor.late_below(oldest, now) else { return };
        self.streams.retain_mut(|stream| {
            let late = stream.group < first;
            if late {
                stream.reset(ResetCode::DELIVERY_TIMEOUT);
                metrics.groups_skipped.inc();
            }
            !late
        });
    }

    /// Whether groups have come that were not asked for, after all that were.
    fn is_past_range(&self) -> bool {
        let largest = self.interest.entry().track().largest();
        self.cursor.end_group().is_some_and(|end| largest.is_some_and(|largest| largest.group > end))
    }
}

/// A unidirectional stream going out: a subgroup, or the answer to a FETCH.
pub(super) struct Outgoing {
    group: u64,
    publisher_priority: Option<u8>,
    stream: Stream,
    source: Source,
    /// Handles that wait for the stream to take them.
    chunks: Vec<Bytes>,
    last_id: Option<u64>,
    end: Option<SubgroupEnd>,
}

enum Stream {
    Opening { opening: Opening<SendStream>, priority: i32 },
    Open(SendStream),
}

enum Source {
    Subgroup(Reader),
    /// Everything there is, in order, taken from the back.
    Fetched(Vec<Bytes>),
}

impl Outgoing {
    fn subgroup(transport: &Transport, reader: Reader, alias: u64, terms: &Terms) -> Self {
        let header = reader.header();
        let head = if reader.starts_at_beginning() {
            header.framing.clone()
        } else {
            framing::stream_header(alias, &Header { first_object: false, ..header.clone() })
        };
        let publisher_priority = header.priority;
        let group = header.group;
        let priority = quic_priority(terms, publisher_priority, group);
        Self {
            group,
            publisher_priority,
            stream: Stream::opening(transport, priority),
            source: Source::Subgroup(reader),
            chunks: vec![head],
            last_id: None,
            end: None,
        }
    }

    /// The answer to a FETCH: `chunks` in order, then FIN.
    pub(super) fn fetched(transport: &Transport, mut chunks: Vec<Bytes>, priority: u8) -> Self {
        chunks.reverse();
        Self {
            group: u64::MAX,
            publisher_priority: None,
            stream: Stream::opening(transport, fetch_priority(priority)),
            source: Source::Fetched(chunks),
            chunks: Vec::new(),
            last_id: None,
            end: None,
        }
    }

    /// Ready when the stream is over, one way or the other.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, metrics: &Metrics) -> Poll<()> {
        let Self { stream, source, chunks, last_id, end, .. } = self;
        // Without an error the connection is there; with one, the driver hears it from the transport.
        let Ok(stream) = ready!(stream.poll_open(cx)) else { return Poll::Ready(()) };
        loop {
            while end.is_none() && chunks.len() < CHUNKS_MAX {
                match source.poll_chunks(cx, chunks, last_id, metrics) {
                    Poll::Ready(Some(over)) => *end = Some(over),
                    Poll::Ready(None) => {}
                    Poll::Pending => break,
                }
            }
            if chunks.is_empty() {
                break;
            }
            match ready!(poll_write(stream, cx, chunks)) {
                Ok(bytes) => metrics.stream_bytes_sent.inc_by(bytes as u64),
                // The peer does not want this stream, or has gone.
                Err(_) => return Poll::Ready(()),
            }
        }
        let Some(end) = end else { return Poll::Pending };
        // An error here means the stream is closed already.
        let _ = match end {
            SubgroupEnd::Finished => stream.finish(),
            SubgroupEnd::Reset(code) => stream.reset(stream_code(*code)),
            SubgroupEnd::Evicted => stream.reset(stream_code(ResetCode::TOO_FAR_BEHIND.0)),
            _ => stream.reset(stream_code(ResetCode::CANCELLED.0)),
        };
        Poll::Ready(())
    }

    pub(super) fn reset(&mut self, code: ResetCode) {
        if let Stream::Open(stream) = &mut self.stream {
            // An error here means the stream is closed already.
            let _ = stream.reset(stream_code(code.0));
        }
    }

    fn set_priority(&self, terms: &Terms) {
        if let Stream::Open(stream) = &self.stream {
            let _ = stream.set_priority(quic_priority(terms, self.publisher_priority, self.group));
        }
    }
}

impl Stream {
    fn opening(transport: &Transport, priority: i32) -> Self {
        Self::Opening { opening: Opening::uni(transport), priority }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<&mut SendStream, Over>> {
        if let Self::Opening { opening, priority } = self {
            let stream = ready!(opening.poll(cx))?;
            let _ = stream.set_priority(*priority);
            *self = Self::Open(stream);
        }
        match self {
            Self::Open(stream) => Poll::Ready(Ok(stream)),
            Self::Opening { .. } => Poll::Pending,
        }
    }
}

impl Drop for Outgoing {
    /// quinn finishes a stream that is dropped; a subgroup that is not complete must be reset.
    fn drop(&mut self) {
        if self.end.is_none() || !self.chunks.is_empty() {
            self.reset(ResetCode::CANCELLED);
        }
    }
}

impl Source {
    /// Adds the next object's handles to `chunks`; `Some` when nothing will follow.
    fn poll_chunks(
        &mut self,
        cx: &Context<'_>,
        chunks: &mut Vec<Bytes>,
        last_id: &mut Option<u64>,
        metrics: &Metrics,
    ) -> Poll<Option<SubgroupEnd>> {
        match self {
            Self::Subgroup(reader) => {
                let inside = last_id.is_none() && !reader.starts_at_beginning();
                let has_properties = reader.header().has_properties;
                match ready!(reader.poll_next(cx)) {
                    Ok(object) => {
                        // The log's framing counts from the object before; there is none here.
                        chunks.push(if inside {
                            let Object { id, properties, status, payload, .. } = object;
                            framing::object_head(
                                None,
                                *id,
                                has_properties,
                                properties,
                                *status,
                                payload.len(),
                            )
                        } else {
                            object.framing.clone()
                        });
                        metrics.sent(object.payload.len() as u64);
                        if !object.payload.is_empty() {
                            chunks.push(object.payload.clone());
                        }
                        *last_id = Some(object.id);
                        Poll::Ready(None)
                    }
                    Err(end) => Poll::Ready(Some(end)),
                }
            }
            Self::Fetched(rest) => match rest.pop() {
                Some(chunk) => {
                    chunks.push(chunk);
                    Poll::Ready(None)
                }
                None => Poll::Ready(Some(SubgroupEnd::Finished)),
            },
        }
    }
}

/// As [`quic_priority`], for the answer to a FETCH.
fn fetch_priority(subscriber: u8) -> i32 {
    -(i32::from(subscriber) << 16)
}

/// MoQT's priorities count down, quinn's count up: the subscriber's word first, then the
/// publisher's, then the group order (draft-18, 7). Ascending needs no term of its own: quinn serves
/// streams of one priority in the order in which they began.
fn quic_priority(terms: &Terms, publisher: Option<u8>, group: u64) -> i32 {
    let subscriber = i32::from(terms.priority) << 16;
    let publisher = i32::from(publisher.unwrap_or(terms.default_priority)) << 8;
    let newer = match terms.order {
        GroupOrder::Ascending => 0,
        GroupOrder::Descending => (group & 0x7f) as i32,
    };
    newer - subscriber - publisher
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(priority: u8, order: GroupOrder) -> Terms {
        Terms {
            start: Start::Newest,
            end_group: None,
            priority,
            order,
            latency_max: Duration::ZERO,
            default_priority: 128,
        }
    }

    #[test]
    fn what_is_more_important_to_moqt_is_sent_first_by_quinn() {
        let up = |priority, publisher, group| {
            quic_priority(&terms(priority, GroupOrder::Ascending), publisher, group)
        };
        // The subscriber's word counts more than the publisher's, and less is more.
        assert!(up(1, Some(255), 0) > up(2, Some(0), 0));
        assert!(up(1, Some(16), 0) > up(1, Some(64), 0));
        assert_eq!(up(1, None, 0), up(1, Some(128), 0));
        assert_eq!(up(1, None, 7), up(1, None, 8), "in the order in which they begin");
        let down = |group| quic_priority(&terms(1, GroupOrder::Descending), None, group);
        assert!(down(8) > down(7), "the newest first");
        // A FETCH goes before subscriptions of its priority: without what it brings, what they bring waits.
        assert!(fetch_priority(1) >= up(1, Some(0), 0) && fetch_priority(2) < up(1, Some(255), 0));
    }
}
