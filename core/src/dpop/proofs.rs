//! A proof is checked, with the keys that were seen last at hand.

use core::num::NonZeroUsize;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use lru::LruCache;

use super::claims::{Claims, Expect, Proof};
use super::error::ProofError;
use super::header::Header;
use super::limits::MAX_PROOF;
use crate::jose::Prepared;
use crate::jwt;
use crate::key::ProofKey;
use crate::record::UnixMillis;

/// Checks proofs. It keeps the keys that were seen last, so that the key of a client is parsed once.
pub struct Proofs {
    /// By thumbprint, which is one of the key itself, and what it checks.
    keys: LruCache<([u8; 32], Algorithm), Prepared>,
    scratch: Box<[u8]>,
}

impl Proofs {
    /// Keeps as many keys.
    #[must_use]
    pub fn new(keys: NonZeroUsize) -> Self {
        Self { keys: LruCache::new(keys), scratch: vec![0; MAX_PROOF].into() }
    }

    /// Checks the value of the `DPoP` header (RFC 9449 section 4.3), all but whether it was used before.
    ///
    /// # Errors
    /// [`ProofError`], the first that is found.
    pub fn check(
        &mut self,
        proof: &[u8],
        expect: &Expect<'_>,
        names: &ProofKey,
        now: UnixMillis,
    ) -> Result<Proof, ProofError> {
        if proof.len() > MAX_PROOF {
            return Err(ProofError::TooLarge);
        }
        let [header, payload, signature] = jwt::parts(proof).ok_or(ProofError::Jwt)?;
        let message_len = header.len() + 1 + payload.len();
        let message = proof.get(..message_len).ok_or(ProofError::Jwt)?;

        let (header, rest) = decode(header, &mut self.scratch)?;
        let (payload, rest) = decode(payload, rest)?;
        let (signature, _) = decode(signature, rest)?;

        let Header { algorithm, key } = Header::read(header)?;
        let thumbprint = key.thumbprint()?;
        if thumbprint != *expect.thumbprint {
            return Err(ProofError::OtherKey);
        }
        let proof = Claims::read(payload, expect, names, now)?.check(expect, now)?;

        let name = (thumbprint, algorithm);
        let key = self.keys.try_get_or_insert(name, || key.prepare(algorithm))?;
        if key.verifies(message, signature) { Ok(proof) } else { Err(ProofError::Signature) }
    }
}

/// Decodes a part of a JWT to the beginning of `room`. What is left of it, too.
fn decode<'s>(part: &[u8], room: &'s mut [u8]) -> Result<(&'s [u8], &'s mut [u8]), ProofError> {
    let len = URL_SAFE_NO_PAD.decode_slice(part, room).map_err(|_| ProofError::Jwt)?;
    let (decoded, rest) = room.split_at_mut_checked(len).ok_or(ProofError::Jwt)?;
    Ok((decoded, rest))
}
