//! The AUTHORIZATION TOKEN structure (draft-18, 10.2.2).

use bytes::{BufMut, Bytes, BytesMut};

use super::reader::Reader;
use super::{DecodeError, varint};

/// Bytes of one token at most: a JWT has some 300, and the message around it has 65,535.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// A token, or the alias of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Forget the alias.
    Delete {
        /// Which.
        alias: u64,
    },
    /// Use this token, and remember it under the alias.
    Register {
        /// Under which name.
        alias: u64,
        /// Its type; 0 where both sides know it.
        kind: u64,
        /// The token.
        value: Bytes,
    },
    /// Use the token that was registered under the alias.
    UseAlias {
        /// Which.
        alias: u64,
    },
    /// Use this token.
    UseValue {
        /// Its type; 0 where both sides know it.
        kind: u64,
        /// The token.
        value: Bytes,
    },
}

impl Token {
    /// Reads the value of an AUTHORIZATION TOKEN parameter or option.
    ///
    /// # Errors
    /// [`DecodeError::KeyValue`] whatever is wrong, as the draft has it.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        Self::read(Reader::new(bytes)).map_err(|_| DecodeError::KeyValue("authorization token"))
    }

    fn read(mut from: Reader) -> Result<Self, DecodeError> {
        let token = match from.varint("alias type")? {
            0 => Self::Delete { alias: from.varint("alias")? },
            1 => Self::Register {
                alias: from.varint("alias")?,
                kind: from.varint("type")?,
                value: Self::value(&mut from)?,
            },
            2 => Self::UseAlias { alias: from.varint("alias")? },
            3 => Self::UseValue { kind: from.varint("type")?, value: Self::value(&mut from)? },
            value => return Err(DecodeError::Invalid { what: "alias type", value }),
        };
        from.end()?;
        Ok(token)
    }

    fn value(from: &mut Reader) -> Result<Bytes, DecodeError> {
        let (len, max) = (from.len() as u64, TOKEN_BYTES_MAX as u64);
        if len > max {
            return Err(DecodeError::TooLong { what: "token", len, max });
        }
        Ok(from.rest())
    }

    /// The bytes of the structure.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Delete { alias } => {
                out.put_u8(0);
                varint::encode(*alias, &mut out);
            }
            Self::Register { alias, kind, value } => {
                out.put_u8(1);
                varint::encode(*alias, &mut out);
                varint::encode(*kind, &mut out);
                out.put_slice(value);
            }
            Self::UseAlias { alias } => {
                out.put_u8(2);
                varint::encode(*alias, &mut out);
            }
            Self::UseValue { kind, value } => {
                out.put_u8(3);
                varint::encode(*kind, &mut out);
                out.put_slice(value);
            }
        }
        out.freeze()
    }
}
