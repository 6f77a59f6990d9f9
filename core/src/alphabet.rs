//! Whether text keeps to an alphabet, at the cost of few instructions per byte.

/// Bytes that are looked at together: a vector register of any processor has room for them.
const TOGETHER: usize = 16;

/// Whether `is` holds for every byte. Where there are enough of them it is run without a way out, so that the
/// compiler can make vector instructions of it: of comparisons joined by `|` and `&`, not of `||` or a look-up.
pub(crate) fn holds(bytes: &[u8], is: impl Fn(u8) -> bool) -> bool {
    let Some(last) = bytes.last_chunk() else { return bytes.iter().all(|&byte| is(byte)) };
    let mut faults = [0_u8; TOGETHER];
    let mut look_at = |piece: &[u8; TOGETHER]| {
        for (fault, &byte) in faults.iter_mut().zip(piece) {
            *fault |= u8::from(!is(byte));
        }
    };
    bytes.as_chunks().0.iter().for_each(&mut look_at);
    // The last ones together with some that were looked at before.
    look_at(last);
    faults == [0; TOGETHER]
}

/// ALPHA / DIGIT (RFC 5234 appendix B.1).
pub(crate) fn is_alphanumeric(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let is_digit = byte.wrapping_sub(b'0') < 10;
    is_letter | is_digit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphanumeric() {
        for byte in 0..=255_u8 {
            assert_eq!(is_alphanumeric(byte), byte.is_ascii_alphanumeric(), "{byte}");
        }
    }

    #[test]
    fn every_byte_counts() {
        for len in 0..70 {
            let mut bytes = vec![b'a'; len];
            assert!(holds(&bytes, is_alphanumeric), "{len}");
            for at in 0..len {
                bytes[at] = b'.';
                assert!(!holds(&bytes, is_alphanumeric), "{at} of {len}");
                bytes[at] = b'a';
            }
        }
    }
}
