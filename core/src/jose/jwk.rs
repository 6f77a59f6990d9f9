//! One key of a set (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2).

use std::borrow::Cow;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use sha2::{Digest as _, Sha256};

use super::algorithm::{Named, RSA};
use super::error::KeyFault;
use super::limits::{MAX_RSA_BITS, MIN_RSA_BITS};
use crate::alphabet;
use crate::key::identity;
use crate::raw_json::{self, Text};

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
        let members = Members::read(text);
        let public = members.public();
        Self { kid: members.kid.map(Cow::into_owned), public }
    }
}

/// The members that count.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
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

/// Texts without escapes are those of the key itself: nothing is allocated for them.
#[derive(Default)]
pub(super) struct Members<'a> {
    kty: Option<Cow<'a, str>>,
    usage: Option<Cow<'a, str>>,
    alg: Option<Cow<'a, str>>,
    kid: Option<Cow<'a, str>>,
    crv: Option<Cow<'a, str>>,
    n: Option<Cow<'a, str>>,
    e: Option<Cow<'a, str>>,
    x: Option<Cow<'a, str>>,
    y: Option<Cow<'a, str>>,
    /// `verify` is among the `key_ops`, if there are any.
    verifies: Option<bool>,
    private: bool,
    secret: bool,
    malformed: bool,
    seen: u16,
}

impl<'a> Members<'a> {
    /// Reads a JSON value that is to be a key.
    pub(super) fn read(text: &'a str) -> Self {
        let mut members = Self::default();
        let read = raw_json::members(text.as_bytes(), Name::of, |name, value| {
            if let Some(name) = name {
                members.note(name, value);
            }
        });
        members.malformed |= read.is_err();
        members
    }

    /// Null counts as absent, but for what is there twice: two readers could take different ones.
    fn note(&mut self, name: Name, value: &'a str) {
        let bit = 1 << (name as u8);
        self.malformed |= self.seen & bit != 0;
        self.seen |= bit;
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
                self.malformed |= read.is_err();
                self.verifies = Some(verifies);
                return;
            }
            Name::Private => return self.private = true,
            Name::Secret => return self.secret = true,
        };
        if value != "null" {
            *place = string(value);
            self.malformed |= place.is_none();
        }
    }

    fn public(&self) -> Result<Public, KeyFault> {
        self.check_use()?;
        let (key, material, fitting) = match self.kty.as_deref().ok_or(KeyFault::Malformed)? {
            "RSA" => self.rsa()?,
            "EC" => self.elliptic()?,
            "OKP" => self.edwards()?,
            _ => return Err(KeyFault::Type),
        };
        let algorithms = match self.alg() {
            None => fitting.to_vec(),
            Some(Named::Accepted(only)) if fitting.contains(&only) => vec![only],
            Some(_) => return Err(KeyFault::Algorithm),
        };
        let family = fitting.first().map_or("", name_of);
        let identity = identity([family.as_bytes(), &material]);
        Ok(Public { key, algorithms, identity })
    }

    /// What it says of its algorithm, if anything.
    pub(super) fn alg(&self) -> Option<Named> {
        self.alg.as_deref().map(Named::of)
    }

    /// Whether it is a public key for signatures, as far as its members say.
    pub(super) fn check_use(&self) -> Result<(), KeyFault> {
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
        if is_for_signatures { Ok(()) } else { Err(KeyFault::Use) }
    }

    /// Prepares to check signatures of that algorithm.
    pub(super) fn prepare(&self, algorithm: Algorithm) -> Result<ParsedPublicKey, KeyFault> {
        // With all that a key is refused for.
        if !self.public()?.algorithms.contains(&algorithm) {
            return Err(KeyFault::Algorithm);
        }
        let parsed = |rules: &'static dyn VerificationAlgorithm, bytes: &[u8]| {
            ParsedPublicKey::new(rules, bytes).map_err(|_| KeyFault::Invalid)
        };
        let rules = match algorithm {
            Algorithm::ES256 => return parsed(&ECDSA_P256_SHA256_FIXED, &self.point()?),
            Algorithm::ES384 => return parsed(&ECDSA_P384_SHA384_FIXED, &self.point()?),
            Algorithm::EdDSA => return parsed(&ED25519, &decode(self.x.as_deref())?),
            Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
            Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
            Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
            _ => return Err(KeyFault::Algorithm),
        };
        let (n, e) = (number(self.n.as_deref())?, number(self.e.as_deref())?);
        RsaPublicKeyComponents { n, e }.to_parsed_public_key(rules).map_err(|_| KeyFault::Invalid)
    }

    /// SHA-256 of the members that make the key, in their canonical form (RFC 7638 section 3, RFC 8037 section
    /// 2).
    pub(super) fn thumbprint(&self) -> Result<[u8; 32], KeyFault> {
        let members: &[(&str, &Option<Cow<'_, str>>)] = match self.kty.as_deref() {
            Some("RSA") => &[("e", &self.e), ("kty", &self.kty), ("n", &self.n)],
            Some("EC") => &[("crv", &self.crv), ("kty", &self.kty), ("x", &self.x), ("y", &self.y)],
            Some("OKP") => &[("crv", &self.crv), ("kty", &self.kty), ("x", &self.x)],
            Some(_) => return Err(KeyFault::Type),
            None => return Err(KeyFault::Malformed),
        };
        // Of all that such a member can be, nothing has to be escaped in JSON.
        let is_plain = |byte| alphabet::is_alphanumeric(byte) | (byte == b'-') | (byte == b'_');
        let mut hasher = Sha256::new();
        for (n, (name, value)) in members.iter().enumerate() {
            let value = value.as_deref().ok_or(KeyFault::Malformed)?;
            if !alphabet::holds(value.as_bytes(), is_plain) {
                return Err(KeyFault::Malformed);
            }
            for text in [if n == 0 { "{\"" } else { ",\"" }, name, "\":\"", value, "\""] {
                hasher.update(text);
            }
        }
        hasher.update("}");
        Ok(hasher.finalize().into())
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
        let point = self.point()?;
        if point.len() != 1 + 2 * len || decode(self.x.as_deref())?.len() != len {
            return Err(KeyFault::Malformed);
        }
        ParsedPublicKey::new(rules, &point).map_err(|_| KeyFault::Invalid)?;
        Ok((DecodingKey::from_ec_der(&point), point, fitting))
    }

    /// SEC 1 section 2.3.3, uncompressed.
    fn point(&self) -> Result<Vec<u8>, KeyFault> {
        let (x, y) = (decode(self.x.as_deref())?, decode(self.y.as_deref())?);
        Ok([&[4], &x[..], &y[..]].concat())
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
fn string(value: &str) -> Option<Cow<'_, str>> {
    raw_json::string(value, |text| match text {
        Text::Plain(text) => Cow::Borrowed(text),
        Text::Unescaped(text) => Cow::Owned(text.to_owned()),
    })
    .ok()
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
