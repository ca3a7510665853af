//! vi64, MoQT's integer: the number of leading ones of the first byte is the number of bytes that
//! follow it (draft-18, 1.4.1). One to nine bytes, all 64 bits. Any length that fits is valid to read;
//! the shortest is written.

use bytes::BufMut;

/// The longest encoding in bytes.
pub const LEN_MAX: usize = 9;

/// The bytes that `value` takes.
pub const fn len(value: u64) -> usize {
    let bits = 64 - value.leading_zeros() as usize;
    match bits {
        0..=7 => 1,
        57.. => LEN_MAX,
        _ => bits.div_ceil(7),
    }
}

/// Appends `value`.
pub fn encode(value: u64, out: &mut impl BufMut) {
    let len = len(value);
    if len == LEN_MAX {
        out.put_u8(0xff);
        out.put_u64(value);
        return;
    }
    // `len - 1` ones, a zero, and the value in the bits that are left.
    let ones = !(0xff_u8 >> (len - 1));
    let bytes = value.to_be_bytes();
    let Some((first, rest)) = bytes[8 - len..].split_first() else { return };
    out.put_u8(ones | first);
    out.put_slice(rest);
}

/// Reads a value from the front of `bytes`: the value and the bytes it took, or `None` if more are
/// needed.
pub fn decode(bytes: &[u8]) -> Option<(u64, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let follow = first.leading_ones() as usize;
    let rest = rest.get(..follow)?;
    let head = if follow >= 7 { 0 } else { u64::from(first & (0x7f >> follow)) };
    let value = rest.iter().fold(head, |value, &byte| value << 8 | u64::from(byte));
    Some((value, follow + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The draft's own examples (1.4.1, table 2).
    #[test]
    fn examples_of_the_draft() {
        let examples: [(&[u8], u64); 8] = [
            (&[0x25], 37),
            (&[0x80, 0x25], 37),
            (&[0xbb, 0xbd], 15_293),
            (&[0xed, 0x7f, 0x3e, 0x7d], 226_442_877),
            (&[0xfa, 0xa1, 0xa0, 0xe4, 0x03, 0xd8], 2_893_212_287_960),
            (&[0xfc, 0x89, 0x98, 0xab, 0xc6, 0x6b, 0xc0], 151_288_809_941_952),
            (&[0xfe, 0xfa, 0x31, 0x8f, 0xa8, 0xe3, 0xca, 0x11], 70_423_237_261_249_041),
            (&[0xff; 9], u64::MAX),
        ];
        for (bytes, value) in examples {
            assert_eq!(decode(bytes), Some((value, bytes.len())));
        }
    }

    #[test]
    fn every_length_round_trips_and_is_the_shortest() {
        for bits in 0..=64_u32 {
            let top = 1_u64.checked_shl(bits).unwrap_or(0);
            for value in [top.wrapping_sub(1), top, top.wrapping_add(1)] {
                let mut out = Vec::new();
                encode(value, &mut out);
                assert_eq!(out.len(), len(value), "{value}");
                assert_eq!(decode(&out), Some((value, out.len())), "{value}");
                assert_eq!(decode(&out[..out.len() - 1]), None);
            }
        }
        let lens = [0, 127, 128, 16_383, 16_384, (1 << 56) - 1, 1 << 56].map(len);
        assert_eq!(lens, [1, 1, 2, 2, 3, 8, 9]);
    }
}
