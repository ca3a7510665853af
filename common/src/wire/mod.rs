//! The MoQT wire format (draft-ietf-moq-transport-18), sans-IO: bytes to values and back.
//!
//! Decoding yields only valid values: whoever holds a [`message::Message`], a [`data::SubgroupHeader`]
//! or a [`properties::Properties`] need not check it again. Every length has a limit, and every error
//! says what was wrong and with which code the draft wants the session closed.
//!
//! Control messages differ between drafts, so their codec takes a [`Version`]; data streams and
//! datagrams have been the same since draft-18 and take none.
//!
//! The wire knows no session, no cache and no socket.

pub mod code;
pub mod data;
pub mod datagram;
pub mod message;
pub mod parameter;
pub mod properties;
pub mod token;
pub mod varint;

mod reader;

use crate::model::NameError;
use code::SessionCode;

/// Which draft the control messages follow. Negotiated by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Version {
    /// draft-ietf-moq-transport-18, ALPN `moqt-18`.
    #[default]
    Draft18,
    /// The same as the library that calls itself [`MOQ_LITE_JS`] speaks it, which every browser player of its
    /// family stands on: SUBSCRIBER_PRIORITY may come as a varint; a LARGEST_OBJECT, which it cannot read,
    /// is not sent; and it gives a track back by ending its half of the request's stream.
    Draft18MoqLiteJs,
}

/// What the peers of [`Version::Draft18MoqLiteJs`] call themselves in SETUP (seen in @moq/net 0.2.8 and 0.3.4).
pub const MOQ_LITE_JS: &str = "moq-lite-js";

/// What is wrong with the bytes that a peer sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message or stream ended inside this field.
    #[error("ends inside {0}")]
    Truncated(&'static str),
    /// The message goes on after its last field.
    #[error("{0} bytes after the last field")]
    Trailing(usize),
    /// A length is over its limit.
    #[error("{what} of {len} bytes; at most {max} are allowed")]
    TooLong {
        /// The field.
        what: &'static str,
        /// Its length as sent.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// A field has a value that the draft does not allow.
    #[error("{what} of {value:#x} is not allowed")]
    Invalid {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A sum of deltas passes 2^64 - 1.
    #[error("{0} passes 2^64 - 1")]
    Overflow(&'static str),
    /// A message of this type does not exist.
    #[error("unknown message type {0:#x}")]
    UnknownMessage(u64),
    /// A unidirectional stream of this type does not exist.
    #[error("unknown stream type {0:#x}")]
    UnknownStream(u64),
    /// A datagram of this type does not exist.
    #[error("unknown datagram type {0:#x}")]
    UnknownDatagram(u64),
    /// A parameter that does not exist, or may not appear in this message.
    #[error("parameter {parameter:#x} may not appear in message {message:#x}")]
    Misplaced {
        /// The parameter's type.
        parameter: u64,
        /// The message's type.
        message: u64,
    },
    /// A parameter or option that may appear once appears again.
    #[error("{0:#x} appears twice")]
    Duplicate(u64),
    /// A known key has a value that is not of its form.
    #[error("the value of {0} is malformed")]
    KeyValue(&'static str),
    /// A URI that is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    /// A PATH that is not UTF-8.
    #[error("the path is not UTF-8")]
    MalformedPath,
    /// An AUTHORITY that is not UTF-8.
    #[error("the authority is not UTF-8")]
    MalformedAuthority,
    /// An object has a property that only tracks may have: the track is malformed, which ends the
    /// subscription (draft-18, 2.4.2 and 2.5.1).
    #[error("object property {0:#x} is for tracks only")]
    MalformedTrack(u64),
    /// A name passes a limit.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl DecodeError {
    /// The code with which the session must be closed. Only [`DecodeError::MalformedTrack`] need not go
    /// that far.
    pub fn code(&self) -> SessionCode {
        match self {
            Self::KeyValue(_) => SessionCode::KEY_VALUE_FORMATTING_ERROR,
            Self::MalformedPath => SessionCode::MALFORMED_PATH,
            Self::MalformedAuthority => SessionCode::MALFORMED_AUTHORITY,
            _ => SessionCode::PROTOCOL_VIOLATION,
        }
    }
}
