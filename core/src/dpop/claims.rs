//! The payload of a proof (RFC 9449 section 4.2), and what it must say. Where `nonce` is not asked for, it means nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::error::ProofError;
use super::limits::{MAX_AGE, MAX_JTI};
use super::nonce::Nonces;
use super::target::Target;
use crate::json::{self, Value};
use crate::key::ProofKey;
use crate::members;
use crate::record::UnixMillis;

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

#[derive(Clone, Copy)]
#[repr(u8)]
enum Name {
    Htm,
    Htu,
    Iat,
    Jti,
    Ath,
    Nonce,
}

impl Name {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "htm" => Self::Htm,
            "htu" => Self::Htu,
            "iat" => Self::Iat,
            "jti" => Self::Jti,
            "ath" => Self::Ath,
            "nonce" => Self::Nonce,
            _ => return None,
        })
    }
}

/// What the claims say, beside what is expected.
#[derive(Default)]
pub(super) struct Claims {
    is_method: Option<bool>,
    is_target: Option<bool>,
    is_for_token: Option<bool>,
    /// `iat`, with a fraction of a second cut off, and as a whole second that is not before it.
    issued: Option<(UnixMillis, UnixMillis)>,
    /// There is a `nonce`, and it was given so many milliseconds ago, if it is one of ours.
    nonce: Option<Option<UnixMillis>>,
    /// What the proof is known by, of its `jti`.
    name: Option<[u8; 32]>,
    repeated: bool,
    seen: u8,
}

impl Claims {
    pub(super) fn read(
        payload: &[u8],
        expect: &Expect<'_>,
        names: &ProofKey,
        now: UnixMillis,
    ) -> Result<Self, ProofError> {
        let mut claims = Self::default();
        json::object(payload, Name::of, |name, value| {
            claims.note(name, &value, expect, names, now)
        })
        .map_err(|_| ProofError::Payload)?;
        if claims.repeated { Err(ProofError::Repeated) } else { Ok(claims) }
    }

    fn note(
        &mut self,
        name: Name,
        value: &Value<'_, '_>,
        expect: &Expect<'_>,
        names: &ProofKey,
        now: UnixMillis,
    ) {
        let bit = 1 << (name as u8);
        self.repeated |= self.seen & bit != 0;
        self.seen |= bit;
        let text = value.text();
        match name {
            Name::Htm => self.is_method = text.map(|text| text.as_bytes() == expect.method),
            Name::Htu => self.is_target = text.map(|text| expect.target.is(text.as_bytes())),
            Name::Iat => self.issued = issued(value),
            Name::Jti => {
                self.name = text
                    .filter(|jti| (1..=MAX_JTI).contains(&jti.len()))
                    .map(|jti| names.proof(expect.thumbprint, jti));
            }
            Name::Ath => self.is_for_token = text.map(|text| is_hash(text, expect.token)),
            Name::Nonce => {
                let age = |text| expect.nonce.and_then(|(nonces, _)| nonces.age(text, now));
                self.nonce = text.map(age);
            }
        }
    }

    pub(super) fn check(&self, expect: &Expect<'_>, now: UnixMillis) -> Result<Proof, ProofError> {
        let (Some(is_method), Some(is_target), Some(is_for_token), Some(issued), Some(name)) =
            (self.is_method, self.is_target, self.is_for_token, self.issued, self.name)
        else {
            return Err(ProofError::Payload);
        };
        if !is_method {
            return Err(ProofError::Method);
        }
        if !is_target {
            return Err(ProofError::Target);
        }
        if !is_for_token {
            return Err(ProofError::Token);
        }
        let (earliest, latest) = issued;
        if latest > now.saturating_add(expect.leeway.max(0)) {
            return Err(ProofError::NotYet);
        }
        let until = earliest.saturating_add(MAX_AGE as i64 * 1_000);
        if now > until {
            return Err(ProofError::TooOld);
        }
        let until = u64::try_from(until / 1_000).map_err(|_| ProofError::TooOld)?;
        let renew = self.check_nonce(expect)?;
        Ok(Proof { name, until, renew })
    }

    /// Last of all: whoever is told a nonce shall have to change nothing else. Says whether it is old.
    fn check_nonce(&self, expect: &Expect<'_>) -> Result<bool, ProofError> {
        let Some((_, longest)) = expect.nonce else { return Ok(false) };
        match self.nonce {
            None => Err(ProofError::NoNonce),
            Some(Some(age)) if age <= longest => Ok(age > longest / 2),
            Some(_) => Err(ProofError::Nonce),
        }
    }
}

/// A NumericDate, which is a number (RFC 7519 section 2).
fn issued(value: &Value<'_, '_>) -> Option<(UnixMillis, UnixMillis)> {
    let instant = |value: &Value<'_, '_>| members::instant(value).ok().flatten();
    match value {
        Value::Unsigned(_) | Value::Negative(_) => instant(value).map(|at| (at, at)),
        Value::Float(seconds) => Some((instant(value)?, instant(&Value::Float(seconds.ceil()))?)),
        _ => None,
    }
}

/// Whether this is base64url of the token's SHA-256.
fn is_hash(text: &str, token: &[u8]) -> bool {
    let mut expected = [0; 43];
    let encoded = URL_SAFE_NO_PAD.encode_slice(Sha256::digest(token), &mut expected);
    encoded == Ok(expected.len()) && text.as_bytes() == expected
}
