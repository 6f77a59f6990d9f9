//! The algorithms that count (RFC 7518 section 3.1, RFC 8037, RFC 9864): all others are refused by their name.

use jsonwebtoken::Algorithm;

use super::limits::MAX_RSA_BITS;

/// What the name of an algorithm means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A signature with a private key.
    Accepted(Algorithm),
    /// A code that everybody can make who can check it.
    Symmetric,
    /// Anything else.
    Other,
}

impl Named {
    /// Names are case-sensitive (RFC 7515 section 4.1.1).
    pub(crate) fn of(name: &str) -> Self {
        Self::Accepted(match name {
            "RS256" => Algorithm::RS256,
            "RS384" => Algorithm::RS384,
            "RS512" => Algorithm::RS512,
            "PS256" => Algorithm::PS256,
            "PS384" => Algorithm::PS384,
            "PS512" => Algorithm::PS512,
            "ES256" => Algorithm::ES256,
            "ES384" => Algorithm::ES384,
            // One thing by its old name and by the one that took its place (RFC 9864 section 2.2), since no other curve is
            // accepted.
            "EdDSA" | "Ed25519" => Algorithm::EdDSA,
            "HS256" | "HS384" | "HS512" => return Self::Symmetric,
            _ => return Self::Other,
        })
    }
}

/// What an RSA key without an `alg` may verify.
pub(super) const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The length of a signature of this algorithm; for RSA the longest that counts, since it is the key's.
pub(super) fn signature_len(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::ES256 | Algorithm::EdDSA => 64,
        Algorithm::ES384 => 96,
        _ => MAX_RSA_BITS / 8,
    }
}
