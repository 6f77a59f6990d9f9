//! Keys of the cache: from whom a verdict is and for which token, without the token.
//!
//! A token is never kept. What the cache holds are 160 bits of a keyed hash of it: nobody who reads the
//! memory can try tokens without the zone's secret, and nobody who chooses tokens can choose where in
//! the cache they land.

use blake3::Hasher;
use sha2::{Digest, Sha256};

/// Contexts of BLAKE3's key derivation mode. They keep realm keys apart from one another and, the
/// modes being apart by construction, from token keys.
const REALM_CONTEXT: &str = "ngx-http-phantom-token realm key v1";
const REQUEST_CONTEXT: &str = "ngx-http-phantom-token request realm key v1";
const FACTS_CONTEXT: &str = "ngx-http-phantom-token facts key v1";
const PROOF_CONTEXT: &str = "ngx-http-phantom-token proof key v1";
const KEYS_CONTEXT: &str = "ngx-http-phantom-token key of a key set v1";
const IDENTITY_CONTEXT: &str = "ngx-http-phantom-token identity v1";

/// What a verdict belongs to, as a key: everything that shapes the authorization server's answer.
///
/// Has no `Debug`: whoever knows it can test guesses of tokens against the cache.
#[derive(Clone, Copy)]
pub struct RealmKey([u8; 32]);

impl RealmKey {
    /// Derives the key from the zone's secret and the parts that are known with the configuration.
    ///
    /// Each part counts with its length: no two different lists give the same key.
    #[must_use]
    pub fn new<'a>(secret: &[u8; 32], parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::derive(REALM_CONTEXT, secret, parts)
    }

    /// Derives a key for this realm and the parts that vary per request.
    #[must_use]
    pub fn and<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::derive(REQUEST_CONTEXT, &self.0, parts)
    }

    fn derive<'a>(
        context: &str,
        key: &[u8; 32],
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Self {
        let mut hasher = Hasher::new_derive_key(context);
        hasher.update(key);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The key under which the cache knows `token` in this realm. Tokens of up to 64 bytes cost one
    /// compression.
    #[must_use]
    pub fn token(&self, token: &[u8]) -> TokenKey {
        TokenKey(*blake3::keyed_hash(&self.0, token).as_bytes())
    }
}

/// The key of one token in one realm. Has no `Debug`, so that it does not reach a log.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 160 bits of it, for the cache.
    #[inline]
    pub(crate) fn cut(&self) -> &[u8; 20] {
        // There are as many, which the compiler knows.
        self.0.first_chunk().unwrap_or(&[0; 20])
    }

    /// One of 256 buckets for tables of the caller's own; who chooses tokens cannot choose it.
    #[must_use]
    pub fn bucket(&self) -> u8 {
        let [first, ..] = self.0;
        first
    }
}

/// What names of scopes, audiences, subjects and the like are digested under, the same in all realms of a
/// zone. Has no `Debug`: whoever knows it can make names with a given digest.
#[derive(Clone, Copy)]
pub struct FactsKey([u8; 32]);

impl FactsKey {
    /// Derives the key from the zone's secret.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(RealmKey::derive(FACTS_CONTEXT, secret, []).0)
    }

    /// 64 bits for a name of that kind.
    pub(crate) fn digest(&self, kind: u8, name: &[u8]) -> [u8; 8] {
        let mut hasher = Hasher::new_keyed(&self.0);
        hasher.update(&[kind]);
        hasher.update(name);
        let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
        [a, b, c, d, e, f, g, h]
    }
}

/// What used DPoP proofs are known by. Has no `Debug`: whoever knows it can choose where a proof lands.
#[derive(Clone, Copy)]
pub struct ProofKey([u8; 32]);

impl ProofKey {
    /// Derives the key from the zone's secret.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(RealmKey::derive(PROOF_CONTEXT, secret, []).0)
    }

    /// A name for the proof that the client with that key has given that `jti`.
    pub(crate) fn proof(&self, thumbprint: &[u8; 32], jti: &str) -> [u8; 32] {
        let mut hasher = Hasher::new_keyed(&self.0);
        hasher.update(thumbprint);
        hasher.update(jti.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

/// The key under which the cache has a JWK set, by the zone's secret and where the set is from. No token has it.
#[must_use]
pub fn keys<'a>(secret: &[u8; 32], parts: impl IntoIterator<Item = &'a [u8]>) -> TokenKey {
    TokenKey(RealmKey::derive(KEYS_CONTEXT, secret, parts).0)
}

/// A name of 256 bits for a list of parts, for what is known by several strings.
#[must_use]
pub fn identity<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    RealmKey::derive(IDENTITY_CONTEXT, &[0; 32], parts).0
}

/// A number for a server, by all that leads to it.
#[must_use]
pub fn server_number<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = identity(parts);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The first eight lower-case hex digits of the token's SHA-256: enough to find a token in the logs for
/// whoever holds it, too little to be of use to anyone else.
#[must_use]
pub fn fingerprint(token: &[u8]) -> [u8; 8] {
    let digest = Sha256::digest(token);
    let mut text = [0; 8];
    for (pair, byte) in text.chunks_exact_mut(2).zip(digest) {
        if let [high, low] = pair {
            *high = hex_digit(byte >> 4);
            *low = hex_digit(byte & 0x0f);
        }
    }
    text
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn realm(parts: &[&[u8]]) -> RealmKey {
        RealmKey::new(&SECRET, parts.iter().copied())
    }

    #[test]
    fn the_same_input_gives_the_same_key() {
        assert!(realm(&[b"a", b"b"]).token(b"t") == realm(&[b"a", b"b"]).token(b"t"));
        assert!(realm(&[b"a"]).and([&b"b"[..]]).0 == realm(&[b"a"]).and([&b"b"[..]]).0);
    }

    #[test]
    fn no_two_lists_of_parts_give_the_same_key() {
        let lists: [&[&[u8]]; 8] = [
            &[],
            &[b""],
            &[b"", b""],
            &[b"a", b"b"],
            &[b"ab"],
            &[b"ab", b""],
            &[b"", b"ab"],
            &[b"a\0\0\0\0\0\0\0b"],
        ];
        for (n, one) in lists.iter().enumerate() {
            for other in &lists[n + 1..] {
                assert!(realm(one).0 != realm(other).0, "{one:?} and {other:?}");
                let (one, other) = (one.iter().copied(), other.iter().copied());
                assert!(realm(&[b"r"]).and(one).0 != realm(&[b"r"]).and(other).0);
            }
        }
    }

    #[test]
    fn secret_realm_and_request_parts_all_count() {
        let key = realm(&[b"a"]).token(b"t");
        assert!(key != RealmKey::new(&[8; 32], [&b"a"[..]]).token(b"t"));
        assert!(key != realm(&[b"b"]).token(b"t"));
        assert!(key != realm(&[b"a"]).and([]).token(b"t"));
        assert!(key != realm(&[b"a"]).token(b"T"));
    }

    #[test]
    fn a_token_that_spells_out_parts_is_no_realm() {
        // `and` hashes the realm key, then length and bytes of each part.
        let base = realm(&[b"a"]);
        let mut spelled = base.0.to_vec();
        spelled.extend(1_u64.to_le_bytes());
        spelled.push(b'x');
        assert!(base.token(&spelled).0 != base.and([&b"x"[..]]).0);
        assert!(base.token(&spelled[32..]).0 != base.and([&b"x"[..]]).0);
    }

    #[test]
    fn a_key_set_has_no_tokens_key() {
        let parts = || [&b"a"[..], b"b"];
        assert!(keys(&SECRET, parts()) == keys(&SECRET, parts()));
        assert!(keys(&SECRET, parts()) != keys(&SECRET, [&b"ab"[..]]));
        assert!(keys(&SECRET, parts()) != keys(&[8; 32], parts()));
        let realm = RealmKey::new(&SECRET, parts());
        assert!(keys(&SECRET, parts()).0 != realm.0);
        assert!(keys(&SECRET, parts()) != realm.token(b""));
    }

    #[test]
    fn fingerprint_is_what_sha256sum_prints() {
        assert_eq!(&fingerprint(b""), b"e3b0c442");
        assert_eq!(&fingerprint(b"abc"), b"ba7816bf");
    }
}
