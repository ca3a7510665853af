//! A unidirectional stream of the peer: its control stream, or objects on their way into a track.
//!
//! A payload is gathered once, in an allocation of its own, and is from then on what everybody who reads
//! the track sends. What precedes it is made anew, because this node has its own alias for the track.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use web_transport_quinn::RecvStream;

use super::framing;
use super::metrics::Metrics;
use super::stream::{Over, poll_read, stream_code};
use super::tracks::Entry;
use crate::model::ObjectStatus;
use crate::session::{RequestKey, Session};
use crate::track::{self, Pushed, SubgroupWriter, WriteError};
use crate::wire::DecodeError;
use crate::wire::code::{DoneCode, ResetCode, SessionCode};
use crate::wire::data::{ObjectHead, StreamHeader, SubgroupHeader};

/// The largest payload that is taken in, as large as a track keeps: see [`track::Limits`].
const PAYLOAD_BYTES_MAX: u64 = 8 << 20;

/// What is set aside for a payload before it comes: a peer that promises 8 MiB and sends nothing costs this
/// much. A picture in a second rarely is larger, and then the buffer grows.
const PAYLOAD_RESERVE_BYTES: usize = 128 << 10;

/// How long a stream waits for the answer that gives its alias a meaning: they race each other, so a round
/// trip would do.
const ALIAS_PATIENCE: Duration = Duration::from_secs(5);

/// What an intake needs of its session.
pub(super) struct Desk<'a> {
    pub(super) session: &'a Session,
    pub(super) pulls: &'a mut HashMap<RequestKey, Pull>,
    pub(super) metrics: &'a Metrics,
    /// Whether the peer's control stream is known.
    pub(super) control: &'a mut bool,
}

/// A track that the peer sends us.
#[derive(Debug)]
pub(super) struct Pull {
    pub(super) entry: Arc<Entry>,
    pub(super) kind: PullKind,
    /// Data streams of it that have come so far.
    pub(super) streams: u64,
    /// What the peer said when it was done: why, and how many streams there are in all, if it knows.
    pub(super) done: Option<(DoneCode, Option<u64>)>,
}

/// Who wanted a track to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PullKind {
    /// We have asked, and give it back when nobody wants it.
    Asked,
    /// The peer has offered it.
    Offered,
}

impl Pull {
    pub(super) fn new(kind: PullKind, entry: Arc<Entry>) -> Self {
        Self { entry, kind, streams: 0, done: None }
    }
}

/// One stream being read.
pub(super) struct Intake {
    stream: RecvStream,
    since: Instant,
    unread: BytesMut,
    state: State,
}

enum State {
    /// What it is has not come yet.
    New,
    Control,
    Padding,
    /// Nobody knows yet what its alias stands for.
    Waiting(SubgroupHeader),
    Objects(Objects),
}

/// The objects of one subgroup.
struct Objects {
    request: RequestKey,
    entry: Arc<Entry>,
    header: SubgroupHeader,
    writer: Option<SubgroupWriter>,
    previous: Option<u64>,
    /// The object whose payload is coming.
    object: Option<(ObjectHead, BytesMut)>,
}

/// What has become of a stream, or has come on it.
pub(super) enum Taken {
    /// It is over.
    Over,
    /// Bytes of the peer's control stream, which goes on.
    Control(Bytes),
    /// The peer has opened another control stream.
    SecondControl,
    /// The peer's control stream has ended.
    ControlClosed,
    /// The track contradicts itself.
    Malformed(RequestKey),
}

/// Why a stream's sender has to go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum IntakeFault {
    #[error("the peer sent a malformed data stream: {0}")]
    Malformed(#[from] DecodeError),
    #[error("the peer ended a data stream inside an object")]
    EndedInside,
}

impl IntakeFault {
    pub(super) fn code(&self) -> SessionCode {
        match self {
            Self::Malformed(error) => error.code(),
            Self::EndedInside => SessionCode::PROTOCOL_VIOLATION,
        }
    }
}

impl Intake {
    pub(super) fn new(stream: RecvStream, now: Instant) -> Self {
        Self { stream, since: now, unread: BytesMut::new(), state: State::New }
    }

    /// Whether it carries objects of this request.
    pub(super) fn reads(&self, request: RequestKey) -> bool {
        matches!(&self.state, State::Objects(objects) if objects.request == request)
    }

    /// Reads on. Ready when it is over, or something has come that is not for a track.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        desk: &mut Desk<'_>,
    ) -> Poll<Result<Taken, IntakeFault>> {
        loop {
            if let State::Waiting(header) = self.state {
                match self.recognise(header, now, desk) {
                    Some(true) => {}
                    Some(false) => return Poll::Pending,
                    None => return Poll::Ready(Ok(Taken::Over)),
                }
            }
            match self.take_unread(now, desk) {
                Ok(None) => {}
                Ok(Some(taken)) => return Poll::Ready(Ok(taken)),
                Err(fault) => return self.fail(fault),
            }
            if matches!(self.state, State::Waiting(_)) {
                continue;
            }
            match ready!(poll_read(&mut self.stream, cx)) {
                Ok(Some(bytes)) => self.unread.extend_from_slice(&bytes),
                Ok(None) => return Poll::Ready(self.finish()),
                Err(over) => return Poll::Ready(Ok(self.give_up(over))),
            }
        }
    }

    /// Whether it is known what the alias stands for; `None` if that will not become known.
    fn recognise(&mut self, header: SubgroupHeader, now: Instant, desk: &mut Desk<'_>) -> Option<bool> {
        let request = desk.session.incoming_alias(header.alias);
        let pull = request.and_then(|request| desk.pulls.get_mut(&request).map(|pull| (request, pull)));
        if let Some((request, pull)) = pull {
            pull.streams += 1;
            let entry = pull.entry.clone();
            let objects = Objects { request, entry, header, writer: None, previous: None, object: None };
            self.state = State::Objects(objects);
            return Some(true);
        }
        if desk.session.is_retired_alias(header.alias) || now >= self.since + ALIAS_PATIENCE {
            self.stop(ResetCode::CANCELLED);
            return None;
        }
        Some(false)
    }

    /// Makes of what has come what can be made of it.
    fn take_unread(&mut self, now: Instant, desk: &mut Desk<'_>) -> Result<Option<Taken>, IntakeFault> {
        if let State::New = self.state {
            let Some((header, len)) = StreamHeader::decode(&self.unread)? else { return Ok(None) };
            self.unread.advance(len);
            self.state = match header {
                StreamHeader::Subgroup(header) => State::Waiting(header),
                StreamHeader::Control if *desk.control => return Ok(Some(Taken::SecondControl)),
                StreamHeader::Control => {
                    *desk.control = true;
                    State::Control
                }
                StreamHeader::Padding => State::Padding,
                StreamHeader::Fetch(_) => {
                    // Nothing here asks for objects of the past.
                    self.stop(ResetCode::CANCELLED);
                    return Ok(Some(Taken::Over));
                }
            };
        }
        match &mut self.state {
            State::New | State::Waiting(_) => {}
            State::Padding => self.unread.clear(),
            State::Control if self.unread.is_empty() => {}
            State::Control => return Ok(Some(Taken::Control(self.unread.split().freeze()))),
            State::Objects(objects) => match objects.take(&mut self.unread, now, desk.metrics) {
                Ok(()) => {}
                Err(Trouble::Fault(DecodeError::MalformedTrack(_))) => {
                    let request = objects.request;
                    self.stop(ResetCode::MALFORMED_TRACK);
                    return Ok(Some(Taken::Malformed(request)));
                }
                Err(Trouble::Fault(error)) => return Err(error.into()),
                Err(Trouble::Unwanted(code)) => {
                    self.stop(code);
                    return Ok(Some(Taken::Over));
                }
            },
        }
        Ok(None)
    }

    /// The peer has said everything.
    fn finish(&mut self) -> Result<Taken, IntakeFault> {
        match &mut self.state {
            State::Control => Ok(Taken::ControlClosed),
            State::Padding | State::Waiting(_) => Ok(Taken::Over),
            State::New if self.unread.is_empty() => Ok(Taken::Over),
            State::New => Err(IntakeFault::EndedInside),
            State::Objects(objects) => {
                if objects.object.is_some() || !self.unread.is_empty() {
                    return Err(IntakeFault::EndedInside);
                }
                if let Some(writer) = objects.writer.take() {
                    writer.finish();
                }
                Ok(Taken::Over)
            }
        }
    }

    /// The stream was reset, or the connection is gone, after which the subgroup may be resumed.
    fn give_up(&mut self, over: Over) -> Taken {
        let Over::Peer(code) = over else { return Taken::Over };
        match &mut self.state {
            State::Objects(objects) => {
                if let Some(writer) = objects.writer.take() {
                    writer.reset(code);
                }
                Taken::Over
            }
            State::Control => Taken::ControlClosed,
            _ => Taken::Over,
        }
    }

    fn fail(&mut self, fault: IntakeFault) -> Poll<Result<Taken, IntakeFault>> {
        self.stop(ResetCode::INTERNAL_ERROR);
        Poll::Ready(Err(fault))
    }

    fn stop(&mut self, code: ResetCode) {
        // An error here means the stream is closed already.
        let _ = self.stream.stop(stream_code(code.0));
    }
}

/// Why objects are not taken any more.
enum Trouble {
    Fault(DecodeError),
    Unwanted(ResetCode),
}

impl From<DecodeError> for Trouble {
    fn from(error: DecodeError) -> Self {
        Self::Fault(error)
    }
}

impl Objects {
    /// Takes what is complete out of `unread`, and as much as there is of a payload.
    fn take(&mut self, unread: &mut BytesMut, now: Instant, metrics: &Metrics) -> Result<(), Trouble> {
        loop {
            if let Some((head, payload)) = &mut self.object {
                let missing = usize::try_from(head.payload_len).unwrap_or(usize::MAX) - payload.len();
                let there = missing.min(unread.len());
                payload.extend_from_slice(&unread[..there]);
                unread.advance(there);
                if there < missing {
                    return Ok(());
                }
            } else {
                let has_properties = self.header.has_properties;
                let head = ObjectHead::decode(unread, has_properties, self.previous, PAYLOAD_BYTES_MAX)?;
                let Some((head, len)) = head else { return Ok(()) };
                unread.advance(len);
                let reserve =
                    usize::try_from(head.payload_len).unwrap_or(usize::MAX).min(PAYLOAD_RESERVE_BYTES);
                self.object = Some((head, BytesMut::with_capacity(reserve)));
                continue;
            }
            if let Some((head, payload)) = self.object.take() {
                self.previous = Some(head.id);
                self.write(head, payload.freeze(), now, metrics)?;
            }
        }
    }

    fn write(
        &mut self,
        head: ObjectHead,
        payload: Bytes,
        now: Instant,
        metrics: &Metrics,
    ) -> Result<(), Trouble> {
        let bytes = payload.len() as u64;
        let outcome = self.writer_for(head.id, now).and_then(|writer| {
            let properties = head.properties.bytes().clone();
            let has_properties = writer.header().has_properties;
            let previous = writer.last_id().filter(|last| *last < head.id);
            let object = framing::object(previous, head.id, has_properties, properties, head.status, payload);
            writer.push(now, object)
        });
        match outcome {
            Ok(Pushed::New) => metrics.received(bytes),
            Ok(Pushed::Duplicate) => metrics.objects_duplicate.inc(),
            Err(error) => return Err(self.refuse(error, metrics)),
        }
        if head.status != ObjectStatus::Normal {
            // It says that nothing follows; the stream's end will say so too.
            tracing::trace!(track = %self.entry.name(), status = ?head.status, "status object");
        }
        Ok(())
    }

    /// The log's writer: opened with the first object, which may be what names the subgroup.
    fn writer_for(&mut self, id: u64, now: Instant) -> Result<&mut SubgroupWriter, WriteError> {
        if self.writer.is_none() {
            let header = track::Header {
                group: self.header.group,
                subgroup: self.header.subgroup.unwrap_or(id),
                priority: self.header.priority,
                end_of_group: self.header.end_of_group,
                first_object: self.header.first_object,
                has_properties: self.header.has_properties,
                framing: Bytes::new(),
            };
            let header = framing::header(self.entry.alias(), header);
            let opened = self.entry.writer().as_mut().map(|writer| writer.open(now, header));
            self.writer = Some(opened.unwrap_or(Err(WriteError::Finished))?);
        }
        self.writer.as_mut().ok_or(WriteError::Finished)
    }

    /// What the log does not take is not wanted; and a subgroup that has passed a limit stays incomplete,
    /// which its readers are told.
    fn refuse(&mut self, error: WriteError, metrics: &Metrics) -> Trouble {
        metrics.objects_refused(error);
        match error {
            WriteError::Finished | WriteError::TooOld => Trouble::Unwanted(ResetCode::CANCELLED),
            _ => {
                tracing::warn!(track = %self.entry.name(), group = self.header.group, %error, "object refused");
                if let Some(writer) = self.writer.take() {
                    writer.reset(ResetCode::EXCESSIVE_LOAD.0);
                }
                Trouble::Unwanted(ResetCode::EXCESSIVE_LOAD)
            }
        }
    }
}
