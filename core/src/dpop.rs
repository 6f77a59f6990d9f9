//! Whether a request comes from the holder of the key that its token is bound to (RFC 9449).
//!
//! A proof is a JWT that the client signs for one request. The key stands in its header, and counts only if its
//! thumbprint is that of the token. What is cheap to see is looked at before the signature.

mod claims;
mod error;
mod header;
mod nonce;
mod target;

use core::num::NonZeroUsize;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use lru::LruCache;

pub use error::ProofError;
pub use nonce::{MIN_NONCE_SECRET, NONCE_LEN, Nonces};
pub use target::{Base, BaseFault, Target};

use crate::jose::Prepared;
use crate::jwt;
use crate::key::ProofKey;
use crate::record::UnixMillis;
use claims::Claims;
use header::Header;

/// The longest proof, in bytes.
pub const MAX_PROOF: usize = 8 * 1024;

/// For how long a proof is accepted after its `iat`, in seconds.
pub const MAX_AGE: u64 = 60;

/// What a proof may be signed with, as `algs` of the challenge lists it (RFC 9449 section 5.1).
pub const ALGORITHMS: [&str; 9] =
    ["ES256", "ES384", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

/// What a proof must be of.
#[derive(Clone, Copy)]
pub struct Expect<'a> {
    /// The method of the request.
    pub method: &'a [u8],
    /// Its URL.
    pub target: Target<'a>,
    /// Its access token.
    pub token: &'a [u8],
    /// The thumbprint of the key that the token is bound to (`jkt`).
    pub thumbprint: &'a [u8; 32],
    /// How far `iat` may be in the future, in milliseconds; a negative one counts as 0.
    pub leeway: i64,
    /// Where a proof has to carry one of these, not older than so many milliseconds.
    pub nonce: Option<(&'a Nonces, i64)>,
}

/// A proof that is right. It counts only if it was not used before: see [`crate::replay::Replays::note`].
#[derive(Clone, Copy)]
pub struct Proof {
    /// What it is known by.
    pub name: [u8; 32],
    /// Until when it is accepted, in seconds of Unix time.
    pub until: u64,
    /// It had a nonce that is more than half as old as it may be: the client may as well have the next one.
    pub renew: bool,
}

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
