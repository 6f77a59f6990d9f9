//! One key of a set (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::KeyFault;
use super::algorithm::{Named, RSA};
use crate::key::identity;
use crate::raw_json::{self, Text};

/// Shorter RSA keys are not safe (RFC 7518 section 3.3), longer ones take long.
pub(super) const MIN_RSA_BITS: usize = 2048;
pub(super) const MAX_RSA_BITS: usize = 8192;

/// A key that can be used.
pub(super) struct Public {
    pub(super) key: DecodingKey,
    /// What it may verify.
    pub(super) algorithms: Vec<Algorithm>,
    /// A name for the key itself, whatever it is called.
    pub(super) identity: [u8; 32],
}

/// A key as it stands in the set.
pub(super) struct Jwk {
    pub(super) kid: Option<String>,
    pub(super) public: Result<Public, KeyFault>,
}

impl Jwk {
    /// Reads a JSON value that is to be a key.
    pub(super) fn read(text: &str) -> Self {
        let mut members = Members::default();
        let read = raw_json::members(text.as_bytes(), Name::of, |name, value| {
            if let Some(name) = name {
                members.note(name, value);
            }
        });
        members.malformed |= read.is_err();
        let public = members.public();
        Self { kid: members.kid, public }
    }
}

/// The members that count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Kty,
    Use,
    KeyOps,
    Alg,
    Kid,
    Crv,
    N,
    E,
    X,
    Y,
    /// Those of private keys.
    Private,
    /// The one of shared secrets.
    Secret,
}

impl Name {
    fn of(name: Text<'_, '_>) -> Option<Self> {
        Some(match name.as_str() {
            "kty" => Self::Kty,
            "use" => Self::Use,
            "key_ops" => Self::KeyOps,
            "alg" => Self::Alg,
            "kid" => Self::Kid,
            "crv" => Self::Crv,
            "n" => Self::N,
            "e" => Self::E,
            "x" => Self::X,
            "y" => Self::Y,
            "d" | "p" | "q" | "dp" | "dq" | "qi" | "oth" | "priv" => Self::Private,
            "k" => Self::Secret,
            _ => return None,
        })
    }
}

#[derive(Default)]
struct Members {
    kty: Option<String>,
    usage: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// `verify` is among the `key_ops`, if there are any.
    verifies: Option<bool>,
    private: bool,
    secret: bool,
    malformed: bool,
}

impl Members {
    /// Null counts as absent.
    fn note(&mut self, name: Name, value: &str) {
        let place = match name {
            Name::Kty => &mut self.kty,
            Name::Use => &mut self.usage,
            Name::Alg => &mut self.alg,
            Name::Kid => &mut self.kid,
            Name::Crv => &mut self.crv,
            Name::N => &mut self.n,
            Name::E => &mut self.e,
            Name::X => &mut self.x,
            Name::Y => &mut self.y,
            Name::KeyOps => {
                let mut verifies = false;
                let read = raw_json::elements(value, |operation| {
                    verifies |= string(operation).is_some_and(|it| it == "verify");
                });
                self.malformed |= read.is_err() || self.verifies.replace(verifies).is_some();
                return;
            }
            Name::Private => return self.private = true,
            Name::Secret => return self.secret = true,
        };
        if value == "null" && place.is_none() {
            return;
        }
        let text = string(value);
        self.malformed |= place.is_some() || text.is_none();
        *place = text;
    }

    fn public(&self) -> Result<Public, KeyFault> {
        let kty = self.kty.as_deref();
        // First what nobody should publish, whatever else is wrong with it.
        if self.secret || kty == Some("oct") {
            return Err(KeyFault::Symmetric);
        }
        if self.private {
            return Err(KeyFault::Private);
        }
        if self.malformed {
            return Err(KeyFault::Malformed);
        }
        let is_for_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.verifies.unwrap_or(true);
        if !is_for_signatures {
            return Err(KeyFault::Use);
        }
        let (key, material, fitting) = match kty.ok_or(KeyFault::Malformed)? {
            "RSA" => self.rsa()?,
            "EC" => self.elliptic()?,
            "OKP" => self.edwards()?,
            _ => return Err(KeyFault::Type),
        };
        let algorithms = match self.alg.as_deref().map(Named::of) {
            None => fitting.to_vec(),
            Some(Named::Accepted(only)) if fitting.contains(&only) => vec![only],
            Some(_) => return Err(KeyFault::Algorithm),
        };
        let family = fitting.first().map_or("", name_of);
        let identity = identity([family.as_bytes(), &material]);
        Ok(Public { key, algorithms, identity })
    }

    fn rsa(&self) -> Result<(DecodingKey, Vec<u8>, &'static [Algorithm]), KeyFault> {
        let (n, e) = (number(self.n.as_deref())?, number(self.e.as_deref())?);
        let bits = |number: &[u8]| {
            number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
        };
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits(&n)) {
            return Err(KeyFault::Size(bits(&n)));
        }
        // An exponent of 1 would make every message its own signature.
        if !is_odd(&n) || !is_odd(&e) || !(2..=32).contains(&bits(&e)) {
            return Err(KeyFault::Invalid);
        }
        let key = DecodingKey::from_rsa_raw_components(&n, &e);
        let material = [&e.len().to_le_bytes(), &e[..], &n[..]].concat();
        Ok((key, material, RSA))
    }

    fn elliptic(&self) -> Result<(DecodingKey, Vec<u8>, &'static [Algorithm]), KeyFault> {
        let (rules, len, fitting): (&'static dyn VerificationAlgorithm, _, &'static [_]) =
            match self.crv.as_deref().ok_or(KeyFault::Malformed)? {
                "P-256" => (&ECDSA_P256_SHA256_FIXED, 32, &[Algorithm::ES256]),
                "P-384" => (&ECDSA_P384_SHA384_FIXED, 48, &[Algorithm::ES384]),
                _ => return Err(KeyFault::Curve),
            };
        let (x, y) = (decode(self.x.as_deref())?, decode(self.y.as_deref())?);
        if x.len() != len || y.len() != len {
            return Err(KeyFault::Malformed);
        }
        // SEC 1 section 2.3.3, uncompressed.
        let point = [&[4], &x[..], &y[..]].concat();
        ParsedPublicKey::new(rules, &point).map_err(|_| KeyFault::Invalid)?;
        Ok((DecodingKey::from_ec_der(&point), point, fitting))
    }

    fn edwards(&self) -> Result<(DecodingKey, Vec<u8>, &'static [Algorithm]), KeyFault> {
        if self.crv.as_deref().ok_or(KeyFault::Malformed)? != "Ed25519" {
            return Err(KeyFault::Curve);
        }
        let x = decode(self.x.as_deref())?;
        if x.len() != 32 {
            return Err(KeyFault::Malformed);
        }
        ParsedPublicKey::new(&ED25519, &x).map_err(|_| KeyFault::Invalid)?;
        Ok((DecodingKey::from_ed_der(&x), x, &[Algorithm::EdDSA]))
    }
}

/// The curve or the kind of key, by its first algorithm.
fn name_of(algorithm: &Algorithm) -> &'static str {
    match algorithm {
        Algorithm::ES256 => "P-256",
        Algorithm::ES384 => "P-384",
        Algorithm::EdDSA => "Ed25519",
        _ => "RSA",
    }
}

/// The string that this JSON value is.
fn string(value: &str) -> Option<String> {
    raw_json::string(value, |text| text.as_str().to_owned()).ok()
}

fn decode(value: Option<&str>) -> Result<Vec<u8>, KeyFault> {
    URL_SAFE_NO_PAD.decode(value.ok_or(KeyFault::Malformed)?).map_err(|_| KeyFault::Malformed)
}

/// A positive number, big-endian, without the zeros in front that some servers write.
fn number(value: Option<&str>) -> Result<Vec<u8>, KeyFault> {
    let mut bytes = decode(value)?;
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    bytes.drain(..zeros);
    Ok(bytes)
}
