//! Control messages (draft-18, 10): what they say, and their bytes.
//!
//! Each is a type, a 16-bit length and a payload. [`Decoder`] cuts messages out of a stream;
//! [`Message::decode`] reads one payload.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::code::{DoneCode, RequestCode};
use super::parameter::{Parameters, Place, check_tokens};
use super::properties::{Properties, VALUE_BYTES_MAX};
use super::reader::Reader;
use super::token::Token;
use super::{DecodeError, Version, varint};
use crate::model::{FullTrackName, Location, Namespace};

pub use super::parameter::Filter;

/// Bytes of a message's payload at most: its length has 16 bits.
pub const PAYLOAD_BYTES_MAX: usize = u16::MAX as usize;

/// Bytes of a reason at most (draft-18, 1.4.4).
pub const REASON_BYTES_MAX: usize = 1024;

/// Bytes of a URI at most (draft-18, 10.4).
pub const URI_BYTES_MAX: usize = 8192;

/// Bytes of an implementation's name and version that are kept; it is only for logs.
pub const IMPLEMENTATION_BYTES_MAX: usize = 256;

/// The type of SETUP, which is also the type of the control stream that it begins.
pub const SETUP: u64 = 0x2f00;

const REQUEST_UPDATE: u64 = 0x02;
const SUBSCRIBE: u64 = 0x03;
const SUBSCRIBE_OK: u64 = 0x04;
const REQUEST_ERROR: u64 = 0x05;
const PUBLISH_NAMESPACE: u64 = 0x06;
const REQUEST_OK: u64 = 0x07;
const NAMESPACE: u64 = 0x08;
const PUBLISH_DONE: u64 = 0x0b;
const TRACK_STATUS: u64 = 0x0d;
const NAMESPACE_DONE: u64 = 0x0e;
const PUBLISH_BLOCKED: u64 = 0x0f;
const GOAWAY: u64 = 0x10;
const FETCH: u64 = 0x16;
const FETCH_OK: u64 = 0x18;
const PUBLISH: u64 = 0x1d;
/// What the list of messages (10) calls the answer to PUBLISH, whose own section (10.5) makes it a
/// REQUEST_OK: we send the latter and read both.
const PUBLISH_OK: u64 = 0x1e;
const SUBSCRIBE_NAMESPACE: u64 = 0x50;
const SUBSCRIBE_TRACKS: u64 = 0x51;

/// Any control message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// SETUP.
    Setup(Setup),
    /// GOAWAY.
    GoAway(GoAway),
    /// REQUEST_OK, whatever it answers.
    RequestOk(RequestOk),
    /// REQUEST_ERROR.
    RequestError(RequestError),
    /// SUBSCRIBE.
    Subscribe(Subscribe),
    /// SUBSCRIBE_OK.
    SubscribeOk(SubscribeOk),
    /// REQUEST_UPDATE.
    RequestUpdate(RequestUpdate),
    /// PUBLISH.
    Publish(Publish),
    /// PUBLISH_DONE.
    PublishDone(PublishDone),
    /// FETCH.
    Fetch(Fetch),
    /// FETCH_OK.
    FetchOk(FetchOk),
    /// TRACK_STATUS: a SUBSCRIBE that only wants the answer.
    TrackStatus(Subscribe),
    /// PUBLISH_NAMESPACE.
    PublishNamespace(NamespaceRequest),
    /// NAMESPACE: the suffix of one that is there.
    Namespace(Namespace),
    /// NAMESPACE_DONE: the suffix of one that is not there any more.
    NamespaceDone(Namespace),
    /// SUBSCRIBE_NAMESPACE.
    SubscribeNamespace(NamespaceRequest),
    /// SUBSCRIBE_TRACKS.
    SubscribeTracks(NamespaceRequest),
    /// PUBLISH_BLOCKED.
    PublishBlocked(PublishBlocked),
}

/// SETUP (10.3): who we are and what we allow. Unknown options are ignored, as the draft demands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Setup {
    /// PATH: path and query of the URL, from a raw QUIC client.
    pub path: Option<String>,
    /// AUTHORITY of the URL, from a raw QUIC client.
    pub authority: Option<String>,
    /// AUTHORIZATION_TOKEN, any number.
    pub tokens: Vec<Token>,
    /// MAX_AUTH_TOKEN_CACHE_SIZE in bytes; absent is 0.
    pub token_cache_bytes_max: Option<u64>,
    /// MOQT_IMPLEMENTATION, at most [`IMPLEMENTATION_BYTES_MAX`] of it.
    pub implementation: Option<String>,
}

/// GOAWAY (10.4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GoAway {
    /// Where to go on; empty for the same place.
    pub uri: String,
    /// How long the sender waits, in milliseconds; 0 for "as quickly as possible".
    pub timeout_ms: u64,
    /// The first request of the receiver that is not served; only on the control stream.
    pub request_id: Option<u64>,
}

/// REQUEST_OK (10.5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestOk {
    /// What the answer says.
    pub parameters: Parameters,
    /// Only in the answer to TRACK_STATUS.
    pub properties: Properties,
}

/// REQUEST_ERROR (10.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    /// Why.
    pub code: RequestCode,
    /// Milliseconds after which to try again, plus one; 0 for "do not".
    pub retry_interval: u64,
    /// Why, for people.
    pub reason: String,
    /// Where else, with [`RequestCode::REDIRECT`] and only then; there, `None` is the same place.
    pub redirect: Option<Redirect>,
}

/// Where to ask instead (10.6.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Redirect {
    /// The URI; empty for the same session's.
    pub uri: String,
    /// The namespace to ask for; empty together with the name for the same.
    pub namespace: Namespace,
    /// The track to ask for.
    pub name: Bytes,
}

/// SUBSCRIBE (10.7), and TRACK_STATUS (10.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Its number in the session.
    pub request_id: u64,
    /// The track.
    pub track: FullTrackName,
    /// How.
    pub parameters: Parameters,
}

/// SUBSCRIBE_OK (10.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeOk {
    /// What the track is called in data streams.
    pub alias: u64,
    /// Largest object and expiry.
    pub parameters: Parameters,
    /// The track's.
    pub properties: Properties,
}

/// REQUEST_UPDATE (10.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestUpdate {
    /// Its own number in the session.
    pub request_id: u64,
    /// What changes.
    pub parameters: Parameters,
}

/// PUBLISH (10.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Its number in the session.
    pub request_id: u64,
    /// The track.
    pub track: FullTrackName,
    /// What the track is called in data streams.
    pub alias: u64,
    /// How.
    pub parameters: Parameters,
    /// The track's.
    pub properties: Properties,
}

/// PUBLISH_DONE (10.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishDone {
    /// Why.
    pub code: DoneCode,
    /// Data streams opened in all; 2^62 - 1 if not known.
    pub stream_count: u64,
    /// Why, for people.
    pub reason: String,
}

/// FETCH (10.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Its number in the session.
    pub request_id: u64,
    /// Of what.
    pub range: FetchRange,
    /// How.
    pub parameters: Parameters,
}

/// What a FETCH is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchRange {
    /// A range of a track.
    Standalone {
        /// The track.
        track: FullTrackName,
        /// The first object.
        start: Location,
        /// The object after the last; object 0 means the whole group.
        end: Location,
    },
    /// What came before a subscription, from some groups before its first on.
    Relative {
        /// The subscription's request id.
        joining: u64,
        /// How many groups before.
        groups: u64,
    },
    /// What came before a subscription, from this group on.
    Absolute {
        /// The subscription's request id.
        joining: u64,
        /// The first group.
        group: u64,
    },
}

/// FETCH_OK (10.13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOk {
    /// Whether the end is the track's end.
    pub end_of_track: bool,
    /// The object after the last; object 0 means the whole group.
    pub end: Location,
    /// None is defined yet.
    pub parameters: Parameters,
    /// The track's.
    pub properties: Properties,
}

/// PUBLISH_NAMESPACE, SUBSCRIBE_NAMESPACE and SUBSCRIBE_TRACKS (10.15, 10.18, 10.19).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceRequest {
    /// Its number in the session.
    pub request_id: u64,
    /// The namespace, or the prefix.
    pub namespace: Namespace,
    /// How.
    pub parameters: Parameters,
}

/// PUBLISH_BLOCKED (10.20).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishBlocked {
    /// The namespace below the prefix.
    pub suffix: Namespace,
    /// The track.
    pub name: Bytes,
}

impl Message {
    /// The type on the wire.
    pub fn kind(&self) -> u64 {
        match self {
            Self::Setup(_) => SETUP,
            Self::GoAway(_) => GOAWAY,
            Self::RequestOk(_) => REQUEST_OK,
            Self::RequestError(_) => REQUEST_ERROR,
            Self::Subscribe(_) => SUBSCRIBE,
            Self::SubscribeOk(_) => SUBSCRIBE_OK,
            Self::RequestUpdate(_) => REQUEST_UPDATE,
            Self::Publish(_) => PUBLISH,
            Self::PublishDone(_) => PUBLISH_DONE,
            Self::Fetch(_) => FETCH,
            Self::FetchOk(_) => FETCH_OK,
            Self::TrackStatus(_) => TRACK_STATUS,
            Self::PublishNamespace(_) => PUBLISH_NAMESPACE,
            Self::Namespace(_) => NAMESPACE,
            Self::NamespaceDone(_) => NAMESPACE_DONE,
            Self::SubscribeNamespace(_) => SUBSCRIBE_NAMESPACE,
            Self::SubscribeTracks(_) => SUBSCRIBE_TRACKS,
            Self::PublishBlocked(_) => PUBLISH_BLOCKED,
        }
    }

    /// Whether it begins a request, and so a stream (3.3).
    pub fn is_request(&self) -> bool {
        matches!(
            self,
            Self::Subscribe(_)
                | Self::Publish(_)
                | Self::Fetch(_)
                | Self::TrackStatus(_)
                | Self::PublishNamespace(_)
                | Self::SubscribeNamespace(_)
                | Self::SubscribeTracks(_)
        )
    }

    /// Reads the payload of a message of type `kind`.
    ///
    /// # Errors
    /// Whatever the draft forbids; see [`DecodeError::code`].
    pub fn decode(version: Version, kind: u64, payload: Bytes) -> Result<Self, DecodeError> {
        let strict = Self::read(kind, Reader::new(payload.clone()));
        match version {
            Version::Draft18 => strict,
            // What makes sense by the draft means what the draft says.
            Version::Draft18MoqLiteJs => strict
                .or_else(|error| Self::read(kind, Reader::with_varint_priority(payload)).map_err(|_| error)),
        }
    }

    fn read(kind: u64, mut from: Reader) -> Result<Self, DecodeError> {
        let message = match kind {
            SETUP => Self::Setup(Setup::read(&mut from)?),
            GOAWAY => Self::GoAway(GoAway::read(&mut from)?),
            REQUEST_OK | PUBLISH_OK => {
                let parameters = Parameters::read(&mut from, Place::REQUEST_OK, kind)?;
                Self::RequestOk(RequestOk { parameters, properties: track_properties(&mut from)? })
            }
            REQUEST_ERROR => Self::RequestError(RequestError::read(&mut from)?),
            SUBSCRIBE => Self::Subscribe(Subscribe::read(&mut from, Place::SUBSCRIBE, kind)?),
            TRACK_STATUS => Self::TrackStatus(Subscribe::read(&mut from, Place::TRACK_STATUS, kind)?),
            SUBSCRIBE_OK => Self::SubscribeOk(SubscribeOk {
                alias: from.varint("track alias")?,
                parameters: Parameters::read(&mut from, Place::SUBSCRIBE_OK, kind)?,
                properties: track_properties(&mut from)?,
            }),
            REQUEST_UPDATE => Self::RequestUpdate(RequestUpdate {
                request_id: from.varint("request id")?,
                parameters: Parameters::read(&mut from, Place::REQUEST_UPDATE, kind)?,
            }),
            PUBLISH => Self::Publish(Publish {
                request_id: from.varint("request id")?,
                track: from.track_name()?,
                alias: from.varint("track alias")?,
                parameters: Parameters::read(&mut from, Place::PUBLISH, kind)?,
                properties: track_properties(&mut from)?,
            }),
            PUBLISH_DONE => Self::PublishDone(PublishDone {
                code: DoneCode(from.varint("status code")?),
                stream_count: from.varint("stream count")?,
                reason: read_reason(&mut from)?,
            }),
            FETCH => Self::Fetch(Fetch {
                request_id: from.varint("request id")?,
                range: FetchRange::read(&mut from)?,
                parameters: Parameters::read(&mut from, Place::FETCH, kind)?,
            }),
            FETCH_OK => Self::FetchOk(FetchOk {
                end_of_track: match from.u8("end of track")? {
                    0 => false,
                    1 => true,
                    value => return Err(DecodeError::Invalid { what: "end of track", value: value.into() }),
                },
                end: from.location("end")?,
                parameters: Parameters::read(&mut from, Place::FETCH_OK, kind)?,
                properties: track_properties(&mut from)?,
            }),
            PUBLISH_NAMESPACE => {
                Self::PublishNamespace(NamespaceRequest::read(&mut from, Place::PUBLISH_NAMESPACE, kind)?)
            }
            SUBSCRIBE_NAMESPACE => {
                Self::SubscribeNamespace(NamespaceRequest::read(&mut from, Place::SUBSCRIBE_NAMESPACE, kind)?)
            }
            SUBSCRIBE_TRACKS => {
                Self::SubscribeTracks(NamespaceRequest::read(&mut from, Place::SUBSCRIBE_TRACKS, kind)?)
            }
            NAMESPACE => Self::Namespace(from.namespace()?),
            NAMESPACE_DONE => Self::NamespaceDone(from.namespace()?),
            PUBLISH_BLOCKED => {
                let suffix = from.namespace()?;
                let name = from.name_in(&suffix)?;
                Self::PublishBlocked(PublishBlocked { suffix, name })
            }
            other => return Err(DecodeError::UnknownMessage(other)),
        };
        from.end()?;
        Ok(message)
    }

    /// The message as bytes, with its type and length.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] where the payload would pass 65,535 bytes.
    pub fn encode(&self, version: Version) -> Result<Bytes, DecodeError> {
        let mut payload = BytesMut::new();
        match version {
            Version::Draft18 => self.write(&mut payload),
            Version::Draft18MoqLiteJs => self.clone().without_largest().write(&mut payload),
        }
        let len = u16::try_from(payload.len()).map_err(|_| DecodeError::TooLong {
            what: "message",
            len: payload.len() as u64,
            max: PAYLOAD_BYTES_MAX as u64,
        })?;
        let mut out = BytesMut::with_capacity(payload.len() + 5);
        varint::encode(self.kind(), &mut out);
        out.put_u16(len);
        out.put_slice(&payload);
        Ok(out.freeze())
    }

    /// Without a LARGEST_OBJECT in answers.
    fn without_largest(mut self) -> Self {
        match &mut self {
            Self::SubscribeOk(ok) => ok.parameters.largest = None,
            Self::RequestOk(ok) => ok.parameters.largest = None,
            _ => {}
        }
        self
    }

    fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Setup(setup) => setup.write(out),
            Self::GoAway(goaway) => {
                write_prefixed(goaway.uri.as_bytes(), out);
                varint::encode(goaway.timeout_ms, out);
                if let Some(id) = goaway.request_id {
                    varint::encode(id, out);
                }
            }
            Self::RequestOk(ok) => {
                ok.parameters.write(out);
                out.put_slice(ok.properties.bytes());
            }
            Self::RequestError(error) => error.write(out),
            Self::Subscribe(subscribe) | Self::TrackStatus(subscribe) => {
                varint::encode(subscribe.request_id, out);
                write_track_name(&subscribe.track, out);
                subscribe.parameters.write(out);
            }
            Self::SubscribeOk(ok) => {
                varint::encode(ok.alias, out);
                ok.parameters.write(out);
                out.put_slice(ok.properties.bytes());
            }
            Self::RequestUpdate(update) => {
                varint::encode(update.request_id, out);
                update.parameters.write(out);
            }
            Self::Publish(publish) => {
                varint::encode(publish.request_id, out);
                write_track_name(&publish.track, out);
                varint::encode(publish.alias, out);
                publish.parameters.write(out);
                out.put_slice(publish.properties.bytes());
            }
            Self::PublishDone(done) => {
                varint::encode(done.code.0, out);
                varint::encode(done.stream_count, out);
                write_reason(&done.reason, out);
            }
            Self::Fetch(fetch) => {
                varint::encode(fetch.request_id, out);
                fetch.range.write(out);
                fetch.parameters.write(out);
            }
            Self::FetchOk(ok) => {
                out.put_u8(u8::from(ok.end_of_track));
                varint::encode(ok.end.group, out);
                varint::encode(ok.end.object, out);
                ok.parameters.write(out);
                out.put_slice(ok.properties.bytes());
            }
            Self::PublishNamespace(request)
            | Self::SubscribeNamespace(request)
            | Self::SubscribeTracks(request) => {
                varint::encode(request.request_id, out);
                write_namespace(&request.namespace, out);
                request.parameters.write(out);
            }
            Self::Namespace(suffix) | Self::NamespaceDone(suffix) => write_namespace(suffix, out),
            Self::PublishBlocked(blocked) => {
                write_namespace(&blocked.suffix, out);
                write_prefixed(&blocked.name, out);
            }
        }
    }
}

const PATH: u64 = 0x01;
const SETUP_TOKEN: u64 = 0x03;
const TOKEN_CACHE: u64 = 0x04;
const AUTHORITY: u64 = 0x05;
const IMPLEMENTATION: u64 = 0x07;

impl Setup {
    fn read(from: &mut Reader) -> Result<Self, DecodeError> {
        let mut setup = Self::default();
        let mut kind = 0_u64;
        while !from.is_empty() {
            let delta = from.varint("option type")?;
            kind = kind.checked_add(delta).ok_or(DecodeError::Overflow("option type"))?;
            if kind.is_multiple_of(2) {
                let value = from.varint("option value")?;
                if kind == TOKEN_CACHE && setup.token_cache_bytes_max.replace(value).is_some() {
                    return Err(DecodeError::Duplicate(kind));
                }
                continue;
            }
            let value = from.prefixed(VALUE_BYTES_MAX, "option value")?;
            setup.read_bytes(kind, value)?;
        }
        Ok(setup)
    }

    fn read_bytes(&mut self, kind: u64, value: Bytes) -> Result<(), DecodeError> {
        let (slot, text) = match kind {
            PATH => (&mut self.path, address(value, DecodeError::MalformedPath)?),
            AUTHORITY => (&mut self.authority, address(value, DecodeError::MalformedAuthority)?),
            IMPLEMENTATION => (&mut self.implementation, for_people(&value, IMPLEMENTATION_BYTES_MAX)),
            SETUP_TOKEN => {
                self.tokens.push(Token::decode(value)?);
                return check_tokens(&self.tokens);
            }
            _ => return Ok(()),
        };
        match slot.replace(text) {
            Some(_) => Err(DecodeError::Duplicate(kind)),
            None => Ok(()),
        }
    }

    fn write(&self, out: &mut BytesMut) {
        let mut last = 0;
        let mut bytes = |kind: u64, value: &[u8], out: &mut BytesMut| {
            varint::encode(kind - last, out);
            last = kind;
            write_prefixed(value, out);
        };
        if let Some(path) = &self.path {
            bytes(PATH, path.as_bytes(), out);
        }
        for token in &self.tokens {
            bytes(SETUP_TOKEN, &token.encode(), out);
        }
        if let Some(max) = self.token_cache_bytes_max {
            varint::encode(TOKEN_CACHE - last, out);
            last = TOKEN_CACHE;
            varint::encode(max, out);
        }
        let mut bytes = |kind: u64, value: &str, out: &mut BytesMut| {
            varint::encode(kind - last, out);
            last = kind;
            write_prefixed(value.as_bytes(), out);
        };
        if let Some(authority) = &self.authority {
            bytes(AUTHORITY, authority, out);
        }
        if let Some(implementation) = &self.implementation {
            bytes(IMPLEMENTATION, implementation, out);
        }
    }
}

impl GoAway {
    fn read(from: &mut Reader) -> Result<Self, DecodeError> {
        let uri = from.text(URI_BYTES_MAX, "new session URI")?;
        let timeout_ms = from.varint("timeout")?;
        let request_id = if from.is_empty() { None } else { Some(from.varint("request id")?) };
        Ok(Self { uri, timeout_ms, request_id })
    }
}

impl RequestError {
    fn read(from: &mut Reader) -> Result<Self, DecodeError> {
        let code = RequestCode(from.varint("error code")?);
        let retry_interval = from.varint("retry interval")?;
        let reason = read_reason(from)?;
        let redirect = match code {
            RequestCode::REDIRECT => {
                let uri = from.text(URI_BYTES_MAX, "connect URI")?;
                let namespace = from.namespace()?;
                let name = from.name_in(&namespace)?;
                Some(Redirect { uri, namespace, name })
            }
            _ => None,
        };
        Ok(Self { code, retry_interval, reason, redirect })
    }

    fn write(&self, out: &mut BytesMut) {
        varint::encode(self.code.0, out);
        varint::encode(self.retry_interval, out);
        write_reason(&self.reason, out);
        match (self.code, &self.redirect) {
            (RequestCode::REDIRECT, Some(redirect)) => redirect.write(out),
            // To the same place: without it, the message would end too early.
            (RequestCode::REDIRECT, None) => Redirect::default().write(out),
            _ => {}
        }
    }
}

impl Redirect {
    fn write(&self, out: &mut BytesMut) {
        write_prefixed(self.uri.as_bytes(), out);
        write_namespace(&self.namespace, out);
        write_prefixed(&self.name, out);
    }
}

impl Subscribe {
    fn read(from: &mut Reader, place: Place, kind: u64) -> Result<Self, DecodeError> {
        Ok(Self {
            request_id: from.varint("request id")?,
            track: from.track_name()?,
            parameters: Parameters::read(from, place, kind)?,
        })
    }
}

impl NamespaceRequest {
    fn read(from: &mut Reader, place: Place, kind: u64) -> Result<Self, DecodeError> {
        Ok(Self {
            request_id: from.varint("request id")?,
            namespace: from.namespace()?,
            parameters: Parameters::read(from, place, kind)?,
        })
    }
}

impl FetchRange {
    fn read(from: &mut Reader) -> Result<Self, DecodeError> {
        match from.varint("fetch type")? {
            1 => Self::read_standalone(from),
            2 => Ok(Self::Relative {
                joining: from.varint("joining request id")?,
                groups: from.varint("joining start")?,
            }),
            3 => Ok(Self::Absolute {
                joining: from.varint("joining request id")?,
                group: from.varint("joining start")?,
            }),
            value => Err(DecodeError::Invalid { what: "fetch type", value }),
        }
    }

    fn read_standalone(from: &mut Reader) -> Result<Self, DecodeError> {
        let track = from.track_name()?;
        let start = from.location("start")?;
        let end = from.location("end")?;
        let backwards =
            end.group < start.group || (end.group == start.group && end.object != 0 && end <= start);
        if backwards {
            return Err(DecodeError::Invalid { what: "end of a FETCH before its start", value: end.group });
        }
        Ok(Self::Standalone { track, start, end })
    }

    fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Standalone { track, start, end } => {
                varint::encode(1, out);
                write_track_name(track, out);
                for number in [start.group, start.object, end.group, end.object] {
                    varint::encode(number, out);
                }
            }
            Self::Relative { joining, groups } => {
                varint::encode(2, out);
                varint::encode(*joining, out);
                varint::encode(*groups, out);
            }
            Self::Absolute { joining, group } => {
                varint::encode(3, out);
                varint::encode(*joining, out);
                varint::encode(*group, out);
            }
        }
    }
}

/// Cuts messages out of the bytes of a control or request stream, however they are split.
///
/// Holds at most one message that is not complete.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Takes bytes that have come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that wait for the rest of their message.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The next message, once it is complete.
    ///
    /// # Errors
    /// As [`Message::decode`]. The stream cannot be read on after an error.
    pub fn next(&mut self, version: Version) -> Result<Option<Message>, DecodeError> {
        let Some((kind, head)) = varint::decode(&self.buffer) else { return Ok(None) };
        let Some(&[high, low]) = self.buffer.get(head..head + 2) else { return Ok(None) };
        let len = usize::from(u16::from_be_bytes([high, low]));
        let total = head + 2 + len;
        if self.buffer.len() < total {
            // Only now, and only once a message: no growth by doubling.
            self.buffer.reserve(total - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(head + 2);
        let payload = self.buffer.split_to(len).freeze();
        Message::decode(version, kind, payload).map(Some)
    }
}

fn track_properties(from: &mut Reader) -> Result<Properties, DecodeError> {
    let properties = Properties::decode(from.rest())?;
    properties.check_track()?;
    Ok(properties)
}

pub(super) fn write_namespace(namespace: &Namespace, out: &mut BytesMut) {
    varint::encode(namespace.fields().len() as u64, out);
    for field in namespace.fields() {
        write_prefixed(field, out);
    }
}

fn write_track_name(track: &FullTrackName, out: &mut BytesMut) {
    write_namespace(track.namespace(), out);
    write_prefixed(track.name(), out);
}

fn write_prefixed(bytes: &[u8], out: &mut BytesMut) {
    varint::encode(bytes.len() as u64, out);
    out.put_slice(bytes);
}

/// A path or an authority is an address, so it has to be text.
fn address(bytes: Bytes, malformed: DecodeError) -> Result<String, DecodeError> {
    String::from_utf8(bytes.into()).map_err(|_| malformed)
}

/// A reason is for people: no session ends because somebody cut one inside a letter.
fn read_reason(from: &mut Reader) -> Result<String, DecodeError> {
    Ok(for_people(&from.prefixed(REASON_BYTES_MAX, "reason")?, REASON_BYTES_MAX))
}

/// What can be read of these bytes, up to a limit.
fn for_people(bytes: &[u8], max: usize) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    text.truncate(text.floor_char_boundary(max));
    text
}

/// A reason of our own may quote others: it is cut to what the draft allows.
fn write_reason(reason: &str, out: &mut BytesMut) {
    let end = reason.floor_char_boundary(REASON_BYTES_MAX);
    write_prefixed(&reason.as_bytes()[..end], out);
}
