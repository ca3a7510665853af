//! One host's RTMP session as a state machine: bytes in; bytes, a request to publish and tags out.
//!
//! Bytes behind a `publish` wait until the shell has answered it with [`Input::Accept`] or
//! [`Input::Refuse`]. The session does not know keys, events or codecs.

use std::{
    collections::VecDeque,
    fmt,
    io::Cursor,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use scuffle_rtmp::{
    chunk::writer::ChunkWriter,
    command_messages::{
        Command, CommandResultLevel, CommandType,
        netconnection::{NetConnectionCommand, NetConnectionCommandConnectResult},
        on_status::{OnStatus, OnStatusCode},
    },
    handshake::{HandshakeServer, RTMP_HANDSHAKE_SIZE},
    protocol_control_messages::{
        ProtocolControlMessageAcknowledgement, ProtocolControlMessageSetChunkSize,
        ProtocolControlMessageSetPeerBandwidth, ProtocolControlMessageSetPeerBandwidthLimitType,
        ProtocolControlMessageWindowAcknowledgementSize,
    },
    user_control_messages::EventMessageStreamBegin,
};

use super::{RtmpError, amf, chunk};

/// From the first byte to `publish` at most. An encoder needs four round trips: 2.4 s by satellite.
pub const SETUP_MAX: Duration = Duration::from_secs(10);

/// From one whole message of a publishing host to the next at most. Longer than any encoder pauses when
/// a scene changes, and short enough that viewers learn that the host is lost.
pub const IDLE_MAX: Duration = Duration::from_secs(10);

/// Bytes of a command at most: `connect` has about 300, and a token in a key about 1000.
pub const COMMAND_BYTES_MAX: usize = 8 << 10;

/// What a session is told.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes off the network.
    Bytes(&'a [u8]),
    /// The host closed its side.
    Closed,
    /// A deadline may have passed.
    Timeout,
    /// The key is good: go on.
    Accept,
    /// The host may not go on, for this reason; it is told, and the session ends.
    Refuse(&'a str),
}

/// What a session wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Write these bytes.
    Send(Bytes),
    /// The host wants to publish with this key; answer with `Accept` or `Refuse`.
    Publish {
        /// The last part of the address the host typed, with its query.
        key: String,
    },
    /// The body of a video tag.
    Video {
        /// Milliseconds, modulo 2^32.
        timestamp: u32,
        /// The tag's body.
        body: Bytes,
    },
    /// The body of an audio tag.
    Audio {
        /// Milliseconds, modulo 2^32.
        timestamp: u32,
        /// The tag's body.
        body: Bytes,
    },
    /// Close, after what was to be sent.
    Finished,
}

/// One host's session.
pub struct Session {
    state: State,
    unread: BytesMut,
    chunks: chunk::Reader,
    writer: ChunkWriter,
    reply: Vec<u8>,
    outputs: VecDeque<Output>,
    deadline: Instant,
    received: u64,
    acknowledged: u64,
    ack_window: u64,
}

impl Session {
    /// A session that began at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            state: State::Greeting(HandshakeServer::default()),
            unread: BytesMut::new(),
            // Who has not shown a key has nothing larger to say.
            chunks: chunk::Reader::new(COMMAND_BYTES_MAX),
            writer: ChunkWriter::default(),
            reply: Vec::new(),
            outputs: VecDeque::new(),
            deadline: now + SETUP_MAX,
            received: 0,
            acknowledged: 0,
            ack_window: ACK_WINDOW_BYTES,
        }
    }

    /// Takes one input. Then [`poll`](Self::poll) until it gives `None`.
    ///
    /// # Errors
    /// What the host did wrong; the session is over, and only outputs from before remain.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) -> Result<(), RtmpError> {
        let result = match input {
            Input::Bytes(bytes) => self.received(now, bytes),
            Input::Timeout if now < self.deadline || matches!(self.state, State::Over) => Ok(()),
            Input::Timeout => Err(RtmpError::Timeout(self.patience())),
            // Whoever hangs up without a word is a health check, not a host.
            Input::Closed if matches!(self.state, State::Over) || self.received == 0 => {
                self.finish();
                Ok(())
            }
            Input::Closed => Err(RtmpError::Closed),
            Input::Accept => self.accept(now),
            Input::Refuse(reason) => self.refuse(reason),
        };
        self.flush();
        if result.is_err() {
            self.state = State::Over;
        }
        result
    }

    /// What is to be done, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due. Changes with every input.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!matches!(self.state, State::Over)).then_some(self.deadline)
    }

    fn patience(&self) -> Duration {
        if matches!(self.state, State::Publishing) { IDLE_MAX } else { SETUP_MAX }
    }

    fn received(&mut self, now: Instant, bytes: &[u8]) -> Result<(), RtmpError> {
        if matches!(self.state, State::Over) {
            return Ok(());
        }
        self.received += bytes.len() as u64;
        self.unread.extend_from_slice(bytes);
        self.acknowledge()?;
        self.advance(now)
    }

    /// Reads as far as the state allows.
    fn advance(&mut self, now: Instant) -> Result<(), RtmpError> {
        while let State::Greeting(_) = self.state {
            if !self.greet()? {
                return Ok(());
            }
        }
        while matches!(self.state, State::Connected { .. } | State::Publishing) {
            let Some(message) = self.chunks.read(&mut self.unread)? else { break };
            if matches!(self.state, State::Publishing) {
                self.deadline = now + IDLE_MAX;
            }
            self.message(message)?;
        }
        Ok(())
    }

    /// One half of the handshake, if it is all there; whether there was one.
    fn greet(&mut self) -> Result<bool, RtmpError> {
        let State::Greeting(handshake) = &mut self.state else { return Ok(false) };
        let first = self.received == self.unread.len() as u64;
        let needed = if first { 1 + RTMP_HANDSHAKE_SIZE } else { RTMP_HANDSHAKE_SIZE };
        // A version other than 3 is no encoder of this century; it is refused at its first byte.
        if first && self.unread.first().is_some_and(|&version| version != RTMP_VERSION) {
            return Err(RtmpError::Handshake);
        }
        if self.unread.len() < needed {
            return Ok(false);
        }
        let half = self.unread.split_to(needed).freeze();
        handshake.handshake(&mut Cursor::new(half), &mut self.reply).map_err(|_| RtmpError::Handshake)?;
        if handshake.is_finished() {
            self.state = State::Connected { app: false };
        }
        Ok(true)
    }

    fn message(&mut self, message: chunk::Message) -> Result<(), RtmpError> {
        let publishing = matches!(self.state, State::Publishing);
        let (timestamp, body) = (message.timestamp, message.data);
        match message.kind {
            SET_CHUNK_SIZE => self.chunks.set_chunk_bytes(u32_of(&body)? & 0x7fff_ffff)?,
            ABORT => self.chunks.abort(u32_of(&body)?),
            WINDOW_ACK_SIZE => self.ack_window = u64::from(u32_of(&body)?).max(ACK_WINDOW_BYTES_MIN),
            AUDIO if publishing => self.outputs.push_back(Output::Audio { timestamp, body }),
            VIDEO if publishing => self.outputs.push_back(Output::Video { timestamp, body }),
            AUDIO | VIDEO => return Err(RtmpError::Order("media before it was allowed to publish")),
            COMMAND if body.len() > COMMAND_BYTES_MAX => return Err(RtmpError::TooLarge(body.len())),
            COMMAND => self.command(&body)?,
            // Metadata repeats what the headers say; the rest steers players.
            _ => {}
        }
        Ok(())
    }

    fn command(&mut self, body: &[u8]) -> Result<(), RtmpError> {
        let mut values = amf::Reader::new(body);
        let name = values.string()?;
        let transaction = values.number()?;
        match name {
            "connect" => {
                values.string_in_object("app")?;
                self.connect(transaction)
            }
            "createStream" => self.command_reply(
                transaction,
                CommandType::NetConnection(NetConnectionCommand::CreateStreamResult { stream_id: STREAM }),
            ),
            "publish" => {
                values.skip_value()?;
                self.ask(values.string()?)
            }
            "play" | "play2" => Err(RtmpError::Play),
            "FCUnpublish" | "deleteStream" | "closeStream" if matches!(self.state, State::Publishing) => {
                self.finish();
                Ok(())
            }
            // releaseStream, FCPublish, _checkbw and their like: encoders do not wait for an answer.
            _ => Ok(()),
        }
    }

    fn connect(&mut self, transaction: f64) -> Result<(), RtmpError> {
        let State::Connected { app: app @ false } = &mut self.state else {
            return Err(RtmpError::Order("a second connect"));
        };
        *app = true;
        let window = ACK_WINDOW_BYTES as u32;
        ProtocolControlMessageWindowAcknowledgementSize { acknowledgement_window_size: window }
            .write(&mut self.reply, &self.writer)
            .map_err(unwritable)?;
        ProtocolControlMessageSetPeerBandwidth {
            acknowledgement_window_size: window,
            limit_type: ProtocolControlMessageSetPeerBandwidthLimitType::Dynamic,
        }
        .write(&mut self.reply, &self.writer)
        .map_err(unwritable)?;
        ProtocolControlMessageSetChunkSize { chunk_size: CHUNK_BYTES as u32 }
            .write(&mut self.reply, &self.writer)
            .map_err(unwritable)?;
        self.writer.set_chunk_size(CHUNK_BYTES);
        let result = NetConnectionCommandConnectResult::default();
        self.command_reply(
            transaction,
            CommandType::NetConnection(NetConnectionCommand::ConnectResult(result)),
        )
    }

    fn ask(&mut self, key: &str) -> Result<(), RtmpError> {
        if !matches!(self.state, State::Connected { app: true }) {
            return Err(RtmpError::Order("publish"));
        }
        self.state = State::Asking;
        self.outputs.push_back(Output::Publish { key: key.to_owned() });
        Ok(())
    }

    fn accept(&mut self, now: Instant) -> Result<(), RtmpError> {
        if !matches!(self.state, State::Asking) {
            return Ok(());
        }
        EventMessageStreamBegin { stream_id: STREAM as u32 }
            .write(&self.writer, &mut self.reply)
            .map_err(unwritable)?;
        self.status(CommandResultLevel::Status, OnStatusCode::NET_STREAM_PUBLISH_START, "Publishing.")?;
        self.state = State::Publishing;
        self.chunks.set_message_bytes_max(chunk::MESSAGE_BYTES_MAX);
        self.deadline = now + IDLE_MAX;
        self.advance(now)
    }

    fn refuse(&mut self, reason: &str) -> Result<(), RtmpError> {
        let code = match self.state {
            State::Asking => "NetStream.Publish.BadName",
            State::Publishing => "NetStream.Failed",
            State::Greeting(_) | State::Connected { .. } | State::Over => return Ok(()),
        };
        self.status(CommandResultLevel::Error, code.into(), reason)?;
        self.finish();
        Ok(())
    }

    fn status(
        &mut self,
        level: CommandResultLevel,
        code: OnStatusCode,
        description: &str,
    ) -> Result<(), RtmpError> {
        let description = Some(description.to_owned().into());
        self.command_reply(0.0, CommandType::OnStatus(OnStatus { code, description, level, others: None }))
    }

    fn command_reply(&mut self, transaction: f64, command_type: CommandType<'_>) -> Result<(), RtmpError> {
        Command { command_type, transaction_id: transaction }
            .write(&mut self.reply, &self.writer)
            .map_err(unwritable)
    }

    fn finish(&mut self) {
        self.state = State::Over;
        self.flush();
        self.outputs.push_back(Output::Finished);
    }

    /// Says how much arrived, whenever a window's worth has (5.4.3).
    fn acknowledge(&mut self) -> Result<(), RtmpError> {
        let talking = !matches!(self.state, State::Greeting(_));
        if talking && self.received - self.acknowledged >= self.ack_window {
            self.acknowledged = self.received;
            // The count on the wire is of 32 bits and wraps.
            ProtocolControlMessageAcknowledgement { sequence_number: self.received as u32 }
                .write(&mut self.reply, &self.writer)
                .map_err(unwritable)?;
        }
        Ok(())
    }

    fn flush(&mut self) {
        if !self.reply.is_empty() {
            self.outputs.push_back(Output::Send(std::mem::take(&mut self.reply).into()));
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("state", &self.state).field("received", &self.received).finish()
    }
}

enum State {
    Greeting(HandshakeServer),
    /// Whether `connect` has been answered.
    Connected {
        app: bool,
    },
    Asking,
    Publishing,
    Over,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting(_) => "Greeting",
            Self::Connected { .. } => "Connected",
            Self::Asking => "Asking",
            Self::Publishing => "Publishing",
            Self::Over => "Over",
        })
    }
}

fn u32_of(body: &[u8]) -> Result<u32, RtmpError> {
    let bytes = body.first_chunk().ok_or(RtmpError::Chunk("a control message is too short"))?;
    Ok(u32::from_be_bytes(*bytes))
}

/// Writing into memory fails only if the answer itself cannot be written as AMF0.
fn unwritable<E>(_: E) -> RtmpError {
    RtmpError::Command("its answer cannot be written")
}

const RTMP_VERSION: u8 = 3;
/// The one message stream that a session has.
const STREAM: f64 = 1.0;
/// Bytes of our own chunks: every answer fits in one.
const CHUNK_BYTES: usize = 4096;
/// How often a host is told what arrived: about once in 5 s at 4 Mb/s.
const ACK_WINDOW_BYTES: u64 = 2_500_000;
/// A smaller window would have us answer more than we are sent.
const ACK_WINDOW_BYTES_MIN: u64 = 16 << 10;

const SET_CHUNK_SIZE: u8 = 1;
const ABORT: u8 = 2;
const WINDOW_ACK_SIZE: u8 = 5;
const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
const COMMAND: u8 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods, reason = "std has no other Instant to count from")]
    fn epoch() -> Instant {
        Instant::now()
    }

    /// A session with an encoder that does everything right up to and including `publish`.
    fn asked(now: Instant) -> Session {
        let mut session = Session::new(now);
        let hello = [&[RTMP_VERSION][..], &[0; 2 * RTMP_HANDSHAKE_SIZE]].concat();
        session.handle(now, Input::Bytes(&hello)).unwrap();
        let connect = b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x03\0\x03app\x02\0\x04live\0\0\x09";
        let publish = b"\x02\0\x07publish\0\0\0\0\0\0\0\0\0\x05\x02\0\x03key\x02\0\x04live";
        for body in [&connect[..], publish] {
            session.handle(now, Input::Bytes(&message(COMMAND, body))).unwrap();
        }
        session
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(body.len()).unwrap();
        [&[3, 0, 0, 0, 0, 0, length, kind, 0, 0, 0, 0], body].concat()
    }

    /// What the session sent as text, and the rest of its outputs.
    fn drain(session: &mut Session) -> (String, Vec<Output>) {
        let (sent, rest): (Vec<_>, _) =
            std::iter::from_fn(|| session.poll()).partition(|output| matches!(output, Output::Send(_)));
        let text = |output| if let Output::Send(bytes) = output { bytes.to_vec() } else { vec![] };
        let bytes: Vec<u8> = sent.into_iter().flat_map(text).collect();
        (String::from_utf8_lossy(&bytes).into_owned(), rest)
    }

    #[test]
    fn media_waits_for_the_answer_to_publish() {
        let now = epoch();
        let mut session = asked(now);
        session.handle(now, Input::Bytes(&message(VIDEO, b"tag"))).unwrap();
        let (sent, rest) = drain(&mut session);
        assert!(sent.contains("NetConnection.Connect.Success"));
        assert_eq!(rest, [Output::Publish { key: "key".into() }]);
        session.handle(now, Input::Accept).unwrap();
        let (sent, rest) = drain(&mut session);
        assert!(sent.contains("NetStream.Publish.Start"));
        assert_eq!(rest, [Output::Video { timestamp: 0, body: "tag".into() }]);
    }

    #[test]
    fn a_refused_host_is_told_why() {
        let now = epoch();
        let mut session = asked(now);
        drain(&mut session);
        session.handle(now, Input::Refuse("not you")).unwrap();
        let (sent, rest) = drain(&mut session);
        assert!(sent.contains("NetStream.Publish.BadName") && sent.contains("not you"));
        assert_eq!(rest, [Output::Finished]);
    }

    #[test]
    fn whoever_dawdles_is_cut_off() {
        let start = epoch();
        let mut dawdler = Session::new(start);
        for second in 1..10 {
            let now = start + Duration::from_secs(second);
            dawdler.handle(now, Input::Bytes(&[RTMP_VERSION])).unwrap();
            dawdler.handle(now, Input::Timeout).unwrap();
        }
        let end = dawdler.poll_timeout().unwrap();
        assert_eq!(dawdler.handle(end, Input::Timeout), Err(RtmpError::Timeout(SETUP_MAX)));
        assert_eq!(dawdler.poll_timeout(), None);

        let mut pausing = asked(start);
        pausing.handle(start, Input::Accept).unwrap();
        let later = start + Duration::from_secs(9);
        pausing.handle(later, Input::Bytes(&message(AUDIO, b"tag"))).unwrap();
        assert_eq!(pausing.poll_timeout(), Some(later + IDLE_MAX));
    }

    #[test]
    fn what_would_break_a_careless_server_is_an_error_or_nothing() {
        let now = epoch();
        let mut window_of_zero = asked(now);
        window_of_zero.handle(now, Input::Accept).unwrap();
        window_of_zero.handle(now, Input::Bytes(&message(WINDOW_ACK_SIZE, &[0; 4]))).unwrap();
        window_of_zero.handle(now, Input::Bytes(&message(AUDIO, b"tag"))).unwrap();

        let mut array_of_billions = Session::new(now);
        let hello = [&[RTMP_VERSION][..], &[0; 2 * RTMP_HANDSHAKE_SIZE]].concat();
        array_of_billions.handle(now, Input::Bytes(&hello)).unwrap();
        let body = b"\x02\0\x07publish\0\0\0\0\0\0\0\0\0\x0a\xff\xff\xff\xff";
        let result = array_of_billions.handle(now, Input::Bytes(&message(COMMAND, body)));
        assert!(matches!(result, Err(RtmpError::Command(_))));

        let mut web = Session::new(now);
        assert_eq!(web.handle(now, Input::Bytes(b"GET / HTTP/1.1")), Err(RtmpError::Handshake));
        let mut viewer = asked(now);
        viewer.handle(now, Input::Accept).unwrap();
        let play = message(COMMAND, b"\x02\0\x04play\0\0\0\0\0\0\0\0\0");
        assert_eq!(viewer.handle(now, Input::Bytes(&play)), Err(RtmpError::Play));
    }
}
