//! AMF0, as far as a publishing host's commands need it: read in place, with a limit on depth, and with
//! no allocation by any length that a peer claims.

use super::RtmpError;

/// Objects within objects at most. A `connect` has one level, Enhanced RTMP's has two.
pub const DEPTH_MAX: usize = 8;

/// Reads values off the front of a command.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next value, which must be a number.
    ///
    /// # Errors
    /// If it is something else, or ends early.
    pub fn number(&mut self) -> Result<f64, RtmpError> {
        match self.u8()? {
            NUMBER => self.take(8).map(|bytes| f64::from_bits(big_endian(bytes))),
            _ => Err(RtmpError::Command("a number was expected")),
        }
    }

    /// The next value, which must be a string.
    ///
    /// # Errors
    /// If it is something else, is not UTF-8, or ends early.
    pub fn string(&mut self) -> Result<&'a str, RtmpError> {
        match self.u8()? {
            STRING => self.text(2),
            LONG_STRING => self.text(4),
            _ => Err(RtmpError::Command("a string was expected")),
        }
    }

    /// The string `key` of the next value, which must be an object; the object is read to its end.
    ///
    /// # Errors
    /// If it is no object, is broken, or has no such string.
    pub fn string_in_object(&mut self, key: &str) -> Result<&'a str, RtmpError> {
        match self.u8()? {
            OBJECT => {}
            ECMA_ARRAY => self.take(4).map(drop)?,
            _ => return Err(RtmpError::Command("an object was expected")),
        }
        let mut found = None;
        while let Some(name) = self.name()? {
            if name == key && matches!(self.rest.first(), Some(&(STRING | LONG_STRING))) {
                found = Some(self.string()?);
            } else {
                self.skip(DEPTH_MAX - 1)?;
            }
        }
        found.ok_or(RtmpError::Command("an object lacks what it must have"))
    }

    /// Passes over the next value, whatever it is.
    ///
    /// # Errors
    /// If it is broken, of an unknown type, or nested deeper than [`DEPTH_MAX`].
    pub fn skip_value(&mut self) -> Result<(), RtmpError> {
        self.skip(DEPTH_MAX)
    }

    fn skip(&mut self, depth: usize) -> Result<(), RtmpError> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(RtmpError::Command("objects are nested too deeply"));
        };
        match self.u8()? {
            NUMBER => self.take(8).map(drop),
            BOOLEAN => self.take(1).map(drop),
            STRING => self.text(2).map(drop),
            LONG_STRING | XML => self.text(4).map(drop),
            NULL | UNDEFINED => Ok(()),
            REFERENCE => self.take(2).map(drop),
            DATE => self.take(10).map(drop),
            OBJECT => self.skip_members(depth),
            TYPED_OBJECT => self.text(2).and_then(|_| self.skip_members(depth)),
            ECMA_ARRAY => self.take(4).and_then(|_| self.skip_members(depth)),
            STRICT_ARRAY => {
                // Each value takes a byte at least, so a count that lies ends with the message.
                let count: u64 = self.take(4).map(big_endian)?;
                (0..count).try_for_each(|_| self.skip(depth))
            }
            _ => Err(RtmpError::Command("a value of unknown type")),
        }
    }

    fn skip_members(&mut self, depth: usize) -> Result<(), RtmpError> {
        while self.name()?.is_some() {
            self.skip(depth)?;
        }
        Ok(())
    }

    /// The next member's name; `None` at the end of the object.
    fn name(&mut self) -> Result<Option<&'a str>, RtmpError> {
        let name = self.text(2)?;
        if name.is_empty() && self.rest.first() == Some(&OBJECT_END) {
            self.rest = &self.rest[1..];
            return Ok(None);
        }
        Ok(Some(name))
    }

    fn text(&mut self, length_bytes: usize) -> Result<&'a str, RtmpError> {
        let length = self.take(length_bytes).map(big_endian)?;
        let length = usize::try_from(length).map_err(|_| ENDS)?;
        str::from_utf8(self.take(length)?).map_err(|_| RtmpError::Command("a string is not UTF-8"))
    }

    fn u8(&mut self) -> Result<u8, RtmpError> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], RtmpError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ENDS)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

const ENDS: RtmpError = RtmpError::Command("it ends too early");

const NUMBER: u8 = 0;
const BOOLEAN: u8 = 1;
const STRING: u8 = 2;
const OBJECT: u8 = 3;
const NULL: u8 = 5;
const UNDEFINED: u8 = 6;
const REFERENCE: u8 = 7;
const ECMA_ARRAY: u8 = 8;
const OBJECT_END: u8 = 9;
const STRICT_ARRAY: u8 = 10;
const DATE: u8 = 11;
const LONG_STRING: u8 = 12;
const XML: u8 = 15;
const TYPED_OBJECT: u8 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_connect_command_is_read_past_what_nobody_needs() {
        let command = b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\
            \x03\0\x01x\x03\0\x01y\x05\0\0\x09\0\x03app\x02\0\x04live\0\0\x09";
        let mut reader = Reader::new(command);
        assert_eq!(reader.string(), Ok("connect"));
        assert_eq!(reader.number(), Ok(1.0));
        assert_eq!(reader.string_in_object("app"), Ok("live"));
        assert_eq!(reader.skip_value(), Err(ENDS));
    }

    #[test]
    fn a_claimed_length_costs_nothing() {
        assert_eq!(Reader::new(b"\x0a\xff\xff\xff\xff").skip_value(), Err(ENDS));
        assert_eq!(Reader::new(b"\x0c\xff\xff\xff\xff").string(), Err(ENDS));
        let nested = b"\x0a\0\0\0\x01".repeat(100_000);
        let deep = Err(RtmpError::Command("objects are nested too deeply"));
        assert_eq!(Reader::new(&nested).skip_value(), deep);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes in prop::collection::vec(0u8..20, 0..200)) {
            let mut reader = Reader::new(&bytes);
            while reader.skip_value().is_ok() {}
            let _ = Reader::new(&bytes).string_in_object("app");
        }
    }
}
