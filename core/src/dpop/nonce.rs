//! Nonces that a proof has to carry (RFC 9449 section 9): so that it cannot be made in advance.
//!
//! A nonce says when it was given, sealed with a key. Nobody has to remember any: whoever has the key can tell.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::record::UnixMillis;

/// Bytes of a nonce, which are of base64url.
pub const NONCE_LEN: usize = 32;
/// Bytes that the secret has at least.
pub const MIN_NONCE_SECRET: usize = 32;

const CONTEXT: &str = "ngx-http-phantom-token DPoP nonce v1";
const SEAL: usize = 16;
const SEALED: usize = size_of::<u64>() + SEAL;
/// As far may the clock of another machine be ahead that has the same key.
const AHEAD: UnixMillis = 30_000;

/// Gives nonces and knows its own. Has no `Debug`: whoever has the key can make them.
#[derive(Clone, Copy)]
pub struct Nonces([u8; 32]);

impl Nonces {
    /// By a secret, which may be shared by machines.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(blake3::derive_key(CONTEXT, secret))
    }

    /// The nonce of this instant.
    #[must_use]
    pub fn give(&self, now: UnixMillis) -> [u8; NONCE_LEN] {
        let mut sealed = [0; SEALED];
        let (time, seal) = sealed.split_at_mut(size_of::<u64>());
        time.copy_from_slice(&now.to_be_bytes());
        seal.copy_from_slice(&self.seal(now));
        let mut nonce = [0; NONCE_LEN];
        let written = URL_SAFE_NO_PAD.encode_slice(sealed, &mut nonce);
        debug_assert_eq!(written, Ok(NONCE_LEN));
        nonce
    }

    /// How long ago a nonce was given, in milliseconds; `None`: it is none of ours.
    #[must_use]
    pub fn age(&self, nonce: &str, now: UnixMillis) -> Option<UnixMillis> {
        let mut sealed = [0; SEALED];
        if nonce.len() != NONCE_LEN {
            return None;
        }
        URL_SAFE_NO_PAD.decode_slice(nonce, &mut sealed).ok()?;
        let (time, seal) = sealed.split_first_chunk()?;
        let given = UnixMillis::from_be_bytes(*time);
        // In a time that does not depend on how much of it is right.
        let differ = self.seal(given).iter().zip(seal).fold(0, |all, (a, b)| all | (a ^ b));
        if differ != 0 || given > now.saturating_add(AHEAD) {
            return None;
        }
        Some(now.saturating_sub(given).max(0))
    }

    fn seal(&self, given: UnixMillis) -> [u8; SEAL] {
        let [seal @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            *blake3::keyed_hash(&self.0, &given.to_be_bytes()).as_bytes();
        seal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = 1_800_000_000_000;

    fn text(nonce: &[u8; NONCE_LEN]) -> &str {
        std::str::from_utf8(nonce).unwrap()
    }

    #[test]
    fn nonces_age() {
        let nonces = Nonces::new(b"secret");
        let nonce = nonces.give(NOW);
        for age in [0, 1, 60_000, UnixMillis::MAX - NOW] {
            assert_eq!(nonces.age(text(&nonce), NOW + age), Some(age));
        }
        // Given by a machine whose clock is ahead, or before the clock was set back.
        assert_eq!(nonces.age(text(&nonce), NOW - AHEAD), Some(0));
        assert_eq!(nonces.age(text(&nonce), NOW - AHEAD - 1), None);
        assert_eq!(nonces.age(text(&nonces.give(UnixMillis::MIN)), NOW), Some(UnixMillis::MAX));
    }

    /// RFC 9449 section 8.1: NQCHAR, here of base64url.
    #[test]
    fn they_are_of_a_header() {
        for now in [0, NOW, UnixMillis::MAX, -1] {
            let nonce = Nonces::new(b"secret").give(now);
            assert!(nonce.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')));
        }
    }

    #[test]
    fn each_byte_counts() {
        let nonces = Nonces::new(b"secret");
        let nonce = nonces.give(NOW);
        assert_eq!(Nonces::new(b"another").age(text(&nonce), NOW), None);
        for at in 0..NONCE_LEN {
            for byte in b'!'..=b'~' {
                let mut other = nonce;
                other[at] = byte;
                let expected = (byte == nonce[at]).then_some(0);
                assert_eq!(nonces.age(text(&other), NOW), expected, "{byte} at {at}");
            }
            assert_eq!(nonces.age(&text(&nonce)[..at], NOW), None);
        }
        assert_eq!(nonces.age(&format!("{}A", text(&nonce)), NOW), None);
    }
}
