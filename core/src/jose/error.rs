//! Why a key or a JWT does not count. The texts are for the log: what is wrong, and what to do.

use core::fmt;

use super::limits::{MAX_KEYS, MAX_SET};
use crate::json::JsonError;
use crate::jwt::JwtError;

/// Why a set of keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Longer than [`MAX_SET`].
    #[error("it is larger than {MAX_SET} bytes")]
    TooLarge,
    /// Nothing but blanks.
    #[error("it is empty")]
    Empty,
    /// No JSON object.
    #[error("it is {0}: a JWK set is a JSON object (RFC 7517), not PEM")]
    Json(JsonError),
    /// No array `keys`, or two.
    #[error("it has no array \"keys\", which a JWK set has once (RFC 7517 section 5)")]
    NoKeys,
    /// More than [`MAX_KEYS`].
    #[error("it has more than {MAX_KEYS} keys")]
    TooManyKeys,
    /// `keys` is empty.
    #[error("its \"keys\" is empty")]
    NoKey,
    /// There are keys, and each has a fault.
    #[error("none of its keys can be used: {0}")]
    NoUsableKey(Unusable),
}

/// Keys with their faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(pub(super) Vec<Ignored>);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        for (n, key) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{key}", if n == 0 { "" } else { "; " })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            rest => write!(f, "; and {rest} more"),
        }
    }
}

/// A key of a set that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Its place in the set, from 1.
    pub place: usize,
    /// Its `kid`, as far as a log can show it; empty if it has none.
    pub kid: String,
    /// Why.
    pub fault: KeyFault,
    /// Its `kid` as it is.
    name: Option<String>,
}

impl Ignored {
    pub(super) fn new(place: usize, name: Option<String>, fault: KeyFault) -> Self {
        /// Longer ones are cut.
        const SHOWN: usize = 64;
        let kid = name.as_deref().unwrap_or_default().escape_default().take(SHOWN).collect();
        Self { place, kid, fault, name }
    }

    pub(super) fn is_named(&self, kid: &str) -> bool {
        self.name.as_deref() == Some(kid)
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.place)?;
        if !self.kid.is_empty() {
            write!(f, " (\"kid\" {})", self.kid)?;
        }
        write!(f, " {}", self.fault)
    }
}

/// Why one key is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// RFC 7517, RFC 7518 section 6, RFC 8037 section 2.
    #[error("is no JWK: a member is missing, there twice, of another type or not base64url")]
    Malformed,
    /// `kty` is another.
    #[error("has a \"kty\" other than RSA, EC and OKP")]
    Type,
    /// `kty` is `oct`.
    #[error("is a shared secret: a verifier needs public keys, and whoever has this one can sign")]
    Symmetric,
    /// It has the private members, too.
    #[error("is a private key, which belongs to the server alone: give the public one")]
    Private,
    /// `crv` is another.
    #[error("has a \"crv\" other than P-256, P-384 and Ed25519")]
    Curve,
    /// `use` or `key_ops` is for something else.
    #[error("is not for signatures, by its \"use\" or \"key_ops\"")]
    Use,
    /// `alg` is not accepted, or one of other keys.
    #[error("has an \"alg\" that is not accepted, or not that of such a key")]
    Algorithm,
    /// The modulus of an RSA key.
    #[error("has {0} bits: RSA keys of 2048 to 8192 bits are accepted")]
    Size(usize),
    /// What it has is no public key.
    #[error(
        "is no valid public key: its modulus or exponent is even or too small, or its point not on the curve"
    )]
    Invalid,
}

impl KeyFault {
    /// Whether there are such keys in many sets, beside those that sign: they are no trouble.
    #[must_use]
    pub fn is_usual(self) -> bool {
        matches!(self, Self::Use | Self::Algorithm | Self::Curve | Self::Type)
    }
}

/// Why a JWT is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It is no JWT of the expected kind, by its shape and its header.
    #[error("{0}")]
    Jwt(JwtError),
    /// Longer than [`super::MAX_JWT`], or [`super::MAX_PRESENTED`], or its header than [`super::MAX_HEADER`].
    #[error("it is too large, or its header or signature is oversized")]
    TooLarge,
    /// RFC 7515 section 4.
    #[error("its header has a parameter twice or of another type")]
    Header,
    /// `crit`, or `b64` in any way but true (RFC 7515 section 4.1.11, RFC 7797).
    #[error("its header has \"crit\" or \"b64\", extensions that are not supported")]
    Critical,
    /// `HS256` and its like.
    #[error(
        "its \"alg\" is for a shared secret (HS256, HS384 or HS512): let the authorization server sign with \
         a private key"
    )]
    Symmetric,
    /// Not on the list.
    #[error(
        "its \"alg\" is not accepted: let the authorization server sign with RS256, RS384, RS512, PS256, \
         PS384, PS512, ES256, ES384, Ed25519 or EdDSA with that curve"
    )]
    Algorithm,
    /// The set has no key of that `kid`; it may have been rotated in since.
    #[error(
        "its \"kid\" is that of no key: check that phantom_token_jwks has the server's present keys"
    )]
    UnknownKid,
    /// The set has a key of that `kid`, which is not used.
    #[error("its \"kid\" names a key that cannot be used: it {0}")]
    UnusableKey(KeyFault),
    /// No key may verify that algorithm.
    #[error("its \"alg\" fits no key that could have signed it: check phantom_token_jwks")]
    NoKey,
    /// It names no key, and the signature is of none that fits; the one that it is of may have been rotated in since.
    #[error("its signature is not by the keys of phantom_token_jwks")]
    Signature,
    /// The signature is not of a key that it names.
    #[error("its signature is not by the keys of phantom_token_jwks: not by one of its \"kid\"")]
    NamedKey,
    /// The payload is no JSON object, or the part of it that an envelope holds.
    #[error("its payload is not a JSON object, or lacks what its kind must have")]
    Payload,
    /// Two readers could take different ones.
    #[error("its payload has a claim twice")]
    Repeated,
    /// A client presents it, and its claims are those of something else.
    #[error(
        "it is no access token: it has the \"events\" of a logout token or security event, the \"active\" of \
         an introspection answer, or says that it is a refresh token"
    )]
    OtherKind,
    /// A client presents it, and it has no `exp` (RFC 9068 section 2.2).
    #[error("it has no \"exp\", without which an access token would be good for ever")]
    NoExpiry,
    /// `iss`.
    #[error("its \"iss\" is not that of phantom_token_issuer")]
    Issuer,
    /// `aud`.
    #[error("its \"aud\" has none of phantom_token_audience")]
    Audience,
    /// `exp`, `nbf` or `iat` is no date.
    #[error("its \"exp\", \"nbf\" or \"iat\" is not a number of seconds")]
    Date,
    /// `nbf` or `iat` is to come.
    #[error(
        "it is not valid yet, by its \"nbf\" or \"iat\": check the clocks of both machines, and \
         phantom_token_leeway"
    )]
    NotYet,
    /// `exp` has passed; all else is right.
    #[error("it is past its \"exp\"")]
    Expired,
}

impl VerifyError {
    /// Whether other keys could make it right: the server may have new ones.
    #[must_use]
    pub fn is_about_keys(&self) -> bool {
        self.is_about_absent_key() || matches!(self, Self::NamedKey)
    }

    /// The same, where the key that it should be by is not there: whether the JWT is at fault cannot be told.
    #[must_use]
    pub fn is_about_absent_key(&self) -> bool {
        matches!(self, Self::UnknownKid | Self::UnusableKey(_) | Self::NoKey | Self::Signature)
    }
}

impl From<JwtError> for VerifyError {
    fn from(error: JwtError) -> Self {
        Self::Jwt(error)
    }
}
