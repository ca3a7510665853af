//! RTMP's chunk stream, read: bytes in any pieces become whole messages (RTMP 1.0, section 5.3).
//!
//! Payload is taken as it comes, so the unread buffer never has to hold more than one header, and memory
//! is what has arrived, not what a header claims.

use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};

use super::RtmpError;

/// Bytes of a host's message at most: an intra picture of 4K at 50 Mb/s is about 1.5 MB.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Bytes of all other unfinished messages of one session at most: the sound beside a picture.
pub const BESIDE_BYTES_MAX: usize = 64 << 10;

/// Chunk streams of one session at most; OBS and ffmpeg use four or five.
pub const CHUNK_STREAMS_MAX: usize = 16;

/// One whole RTMP message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The message type id.
    pub kind: u8,
    /// Milliseconds, modulo 2^32.
    pub timestamp: u32,
    /// The payload.
    pub data: Bytes,
}

/// Puts messages together from chunks.
#[derive(Debug)]
pub struct Reader {
    streams: HashMap<u32, Stream>,
    chunk_bytes: usize,
    message_bytes_max: usize,
    unfinished_bytes: usize,
    open: Option<Open>,
}

impl Reader {
    /// A reader at the start of a chunk stream, of messages of this many bytes at most.
    pub fn new(message_bytes_max: usize) -> Self {
        Self {
            streams: HashMap::new(),
            chunk_bytes: CHUNK_BYTES_INITIAL,
            message_bytes_max,
            unfinished_bytes: 0,
            open: None,
        }
    }

    /// Takes what it can off the front of `buffer`; `None` if that gives no whole message yet.
    ///
    /// # Errors
    /// If the chunks make no sense or pass a limit. The session cannot go on after that.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<Message>, RtmpError> {
        loop {
            let Some(mut open) = self.open.take().map_or_else(|| self.header(buffer), |o| Ok(Some(o)))?
            else {
                return Ok(None);
            };
            let stream = self.streams.get_mut(&open.stream).ok_or(NO_HEADER)?;
            let count = open.missing.min(buffer.len());
            self.unfinished_bytes += count;
            if self.unfinished_bytes > self.message_bytes_max + BESIDE_BYTES_MAX {
                return Err(RtmpError::TooLarge(self.unfinished_bytes));
            }
            stream.body.extend_from_slice(&buffer[..count]);
            buffer.advance(count);
            open.missing -= count;
            if open.missing > 0 {
                self.open = Some(open);
                return Ok(None);
            }
            if stream.body.len() == stream.length {
                stream.started = false;
                self.unfinished_bytes -= stream.length;
                let data = stream.body.split().freeze();
                return Ok(Some(Message { kind: stream.kind, timestamp: stream.timestamp, data }));
            }
        }
    }

    /// The peer's chunks carry this many bytes from now on (5.4.1).
    ///
    /// # Errors
    /// If it is 0.
    pub fn set_chunk_bytes(&mut self, bytes: u32) -> Result<(), RtmpError> {
        if bytes == 0 {
            return Err(RtmpError::Chunk("a chunk size of 0"));
        }
        self.chunk_bytes = bytes as usize;
        Ok(())
    }

    /// Messages may have this many bytes from now on.
    pub fn set_message_bytes_max(&mut self, bytes: usize) {
        self.message_bytes_max = bytes;
    }

    /// The peer gives up the unfinished message of this chunk stream (5.4.2).
    pub fn abort(&mut self, stream: u32) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            self.unfinished_bytes -= stream.body.len();
            stream.body.clear();
            stream.started = false;
        }
    }

    /// Reads one chunk's header, if all of it is there.
    fn header(&mut self, buffer: &mut BytesMut) -> Result<Option<Open>, RtmpError> {
        let mut head = &buffer[..];
        let Some((format, id)) = basic_header(&mut head) else { return Ok(None) };
        let mut stream = match self.streams.get(&id) {
            Some(stream) => stream.header(),
            None if format != 0 => return Err(NO_HEADER),
            None if self.streams.len() == CHUNK_STREAMS_MAX => {
                return Err(RtmpError::Chunk("too many chunk streams"));
            }
            None => Stream::default(),
        };
        if stream.started && format != 3 {
            return Err(RtmpError::Chunk("a message starts inside another"));
        }
        if stream.message_header(format, &mut head).is_none() {
            return Ok(None);
        }
        if stream.length > self.message_bytes_max {
            return Err(RtmpError::TooLarge(stream.length));
        }
        let used = buffer.len() - head.len();
        buffer.advance(used);
        let kept = self.streams.entry(id).or_default();
        stream.body = std::mem::take(&mut kept.body);
        let missing = (stream.length - stream.body.len()).min(self.chunk_bytes);
        *kept = stream;
        Ok(Some(Open { stream: id, missing }))
    }
}

/// A chunk whose payload is still coming.
#[derive(Debug)]
struct Open {
    stream: u32,
    missing: usize,
}

/// What later headers of a chunk stream refer to, and its unfinished message.
#[derive(Debug, Default)]
struct Stream {
    timestamp: u32,
    step: u32,
    extended: bool,
    length: usize,
    kind: u8,
    started: bool,
    body: BytesMut,
}

impl Stream {
    /// The header alone, to be changed and kept only if the next header is whole.
    fn header(&self) -> Self {
        Self { body: BytesMut::new(), ..*self }
    }

    /// Reads the message header of this format (5.3.1.2); `None` if it is not all there.
    fn message_header(&mut self, format: u8, head: &mut &[u8]) -> Option<()> {
        let mut time = None;
        if format < 3 {
            time = Some(head.try_get_uint(3).ok()? as u32);
        }
        if format < 2 {
            self.length = head.try_get_uint(3).ok()? as usize;
            self.kind = head.try_get_u8().ok()?;
        }
        if format == 0 {
            // The message stream: a session here has one, so nothing depends on it.
            head.try_get_u32_le().ok()?;
        }
        if let Some(time) = time {
            self.extended = time == EXTENDED;
        }
        if self.extended {
            let extension = head.try_get_u32().ok()?;
            time = time.map(|_| extension);
        }
        match (format, time) {
            // After a whole time, "as before" means a step of that size (5.3.1.2.4).
            (0, Some(time)) => (self.timestamp, self.step) = (time, time),
            (_, Some(step)) => (self.timestamp, self.step) = (self.timestamp.wrapping_add(step), step),
            (_, None) if !self.started => self.timestamp = self.timestamp.wrapping_add(self.step),
            (_, None) => {}
        }
        self.started = true;
        Some(())
    }
}

/// Format and chunk stream id (5.3.1.1); `None` if not all there.
fn basic_header(head: &mut &[u8]) -> Option<(u8, u32)> {
    let first = head.try_get_u8().ok()?;
    let id = match first & 0x3f {
        0 => 64 + u32::from(head.try_get_u8().ok()?),
        1 => 64 + u32::from(head.try_get_u16_le().ok()?),
        id => u32::from(id),
    };
    Some((first >> 6, id))
}

/// Until a peer says otherwise (5.4.1).
const CHUNK_BYTES_INITIAL: usize = 128;
/// A 24-bit time that is followed by one of 32 bits (5.3.1.3).
const EXTENDED: u32 = 0xff_ffff;
const NO_HEADER: RtmpError = RtmpError::Chunk("a chunk refers to one that never came");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `bytes` in pieces of `step` and gives kind, time and length of each message.
    fn read(bytes: &[u8], step: usize) -> Result<Vec<(u8, u32, usize)>, RtmpError> {
        let (mut reader, mut buffer, mut messages) =
            (Reader::new(MESSAGE_BYTES_MAX), BytesMut::new(), vec![]);
        for piece in bytes.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(message) = reader.read(&mut buffer)? {
                messages.push((message.kind, message.timestamp, message.data.len()));
            }
        }
        Ok(messages)
    }

    #[test]
    fn a_message_is_the_same_in_whatever_pieces_it_comes() {
        let mut bytes = b"\x04\0\0\x10\0\0\xc8\x09\x01\0\0\0".to_vec();
        bytes.extend([7; 128]);
        bytes.push(0xc4);
        bytes.extend([7; 72]);
        for step in [1, 3, 127, 129, 500] {
            assert_eq!(read(&bytes, step), Ok(vec![(9, 16, 200)]));
        }
    }

    #[test]
    fn as_before_adds_the_step_and_times_wrap() {
        let mut bytes = b"\x04\xff\xff\xff\0\0\x01\x08\x01\0\0\0\xff\xff\xff\xf0x".to_vec();
        bytes.extend(b"\x84\0\0\x17y\xc4z\xc4z");
        let times: Vec<_> = read(&bytes, 1).unwrap().iter().map(|message| message.1).collect();
        assert_eq!(times, [0xffff_fff0, 7, 30, 53]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let inside =
            [&b"\x04\0\0\0\0\0\xc8\x09\x01\0\0\0"[..], &[0; 128], b"\x44\0\0\0\0\0\x01\x09"].concat();
        assert_eq!(read(&inside, 500), Err(RtmpError::Chunk("a message starts inside another")));
        assert_eq!(read(b"\xc4", 1), Err(NO_HEADER));
        assert!(matches!(read(b"\x04\0\0\0\xff\xff\xff\x09\x01\0\0\0", 1), Err(RtmpError::TooLarge(_))));
        let streams: Vec<u8> = (2..40).flat_map(|id| [id, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0]).collect();
        assert_eq!(read(&streams, 500), Err(RtmpError::Chunk("too many chunk streams")));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_end_alike(
            bytes in prop::collection::vec(any::<u8>(), 0..600),
            step in 1usize..50,
        ) {
            prop_assert_eq!(read(&bytes, step).ok(), read(&bytes, 600).ok());
        }
    }
}
