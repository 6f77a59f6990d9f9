//! Why a proof does not count. The texts are for the log.

use super::limits::{MAX_AGE, MAX_PROOF};
use crate::jose::KeyFault;

/// Why a proof does not count (RFC 9449 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Longer than [`MAX_PROOF`].
    #[error("it is larger than {MAX_PROOF} bytes")]
    TooLarge,
    /// Not three parts of base64url.
    #[error("it is not a signed JWT in compact serialisation")]
    Jwt,
    /// The header is no JSON object, or one that RFC 7515 section 4 forbids.
    #[error("its header is not a JSON object with \"typ\", \"alg\" and \"jwk\", each once")]
    Header,
    /// `typ` is another.
    #[error("its \"typ\" is not dpop+jwt")]
    Type,
    /// `alg` is none of [`super::ALGORITHMS`].
    #[error("its \"alg\" is not accepted: none of ES256, ES384, Ed25519 (EdDSA), RS and PS")]
    Algorithm,
    /// `crit`, or `b64` in any way but true.
    #[error("its header has \"crit\" or \"b64\", extensions that are not supported")]
    Critical,
    /// `jwk` is no public key that can be used.
    #[error("its \"jwk\" {0}")]
    Key(KeyFault),
    /// The thumbprint of `jwk` is not the `jkt` of the token.
    #[error("its \"jwk\" is not the key that the token is bound to")]
    OtherKey,
    /// The payload is no JSON object, or one without the claims.
    #[error("its payload is not a JSON object with \"htm\", \"htu\", \"iat\", \"jti\" and \"ath\"")]
    Payload,
    /// Two readers could take different ones.
    #[error("its payload has a claim twice")]
    Repeated,
    /// `htm`.
    #[error("its \"htm\" is not the method of the request")]
    Method,
    /// `htu`.
    #[error(
        "its \"htu\" is not the URL of the request: check phantom_token_dpop_base where clients see another \
         one"
    )]
    Target,
    /// `ath`.
    #[error("its \"ath\" is not the hash of the access token")]
    Token,
    /// `iat` is too long ago.
    #[error("its \"iat\" is more than {MAX_AGE} seconds ago")]
    TooOld,
    /// `iat` is to come.
    #[error("its \"iat\" is to come: check the clocks, and phantom_token_leeway")]
    NotYet,
    /// `nonce` is missing, or no string.
    #[error("it has no \"nonce\": the client is told one")]
    NoNonce,
    /// `nonce` is another, or one of long ago.
    #[error("its \"nonce\" is too old, or none that was given here: the client is told another")]
    Nonce,
    /// The signature is not by `jwk`.
    #[error("its signature is not by its \"jwk\"")]
    Signature,
}

impl ProofError {
    /// Whether the client is told a nonce (RFC 9449 section 9).
    #[must_use]
    pub fn is_of_nonce(self) -> bool {
        matches!(self, Self::NoNonce | Self::Nonce)
    }
}

impl From<KeyFault> for ProofError {
    fn from(fault: KeyFault) -> Self {
        Self::Key(fault)
    }
}
