//! The header of a proof (RFC 9449 section 4.2).

use jsonwebtoken::Algorithm;

use super::error::ProofError;
use crate::jose::{ClientKey, Named};
use crate::json;
use crate::raw_json::{self, Text};

/// What a proof may be signed with, as `algs` of the challenge lists it (RFC 9449 section 5.1).
pub const ALGORITHMS: [&str; 10] =
    ["ES256", "ES384", "Ed25519", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

/// What the header says.
pub(super) struct Header<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key: ClientKey<'a>,
}

#[derive(Clone, Copy)]
#[repr(u8)]
enum Parameter {
    Typ,
    Alg,
    Jwk,
    Crit,
    B64,
}

impl Parameter {
    fn of(name: Text<'_, '_>) -> Option<Self> {
        Some(match name.as_str() {
            "typ" => Self::Typ,
            "alg" => Self::Alg,
            "jwk" => Self::Jwk,
            "crit" => Self::Crit,
            "b64" => Self::B64,
            _ => return None,
        })
    }
}

impl<'a> Header<'a> {
    pub(super) fn read(header: &'a [u8]) -> Result<Self, ProofError> {
        let mut seen = 0_u8;
        let mut repeated = false;
        let mut critical = false;
        let (mut typ, mut alg, mut jwk) = (None, None, None);
        // All of it, since what is read in parts below is not looked into.
        json::object(header, |_| None::<()>, |(), _| {}).map_err(|_| ProofError::Header)?;
        raw_json::members(header, Parameter::of, |parameter, value| {
            let Some(parameter) = parameter else { return };
            let bit = 1 << (parameter as u8);
            repeated |= seen & bit != 0;
            seen |= bit;
            match parameter {
                Parameter::Typ => {
                    typ = raw_json::string(value, |text| text.as_str() == "dpop+jwt").ok();
                }
                Parameter::Alg => {
                    alg = raw_json::string(value, |text| Named::of(text.as_str())).ok();
                }
                Parameter::Jwk => jwk = Some(value),
                Parameter::Crit => critical = true,
                Parameter::B64 => critical |= value != "true",
            }
        })
        .map_err(|_| ProofError::Header)?;
        if repeated {
            return Err(ProofError::Header);
        }
        if critical {
            return Err(ProofError::Critical);
        }
        let (typ, alg) = (typ.ok_or(ProofError::Header)?, alg.ok_or(ProofError::Header)?);
        if !typ {
            return Err(ProofError::Type);
        }
        let Named::Accepted(algorithm) = alg else { return Err(ProofError::Algorithm) };
        let key = ClientKey::read(jwk.ok_or(ProofError::Header)?)?;
        if key.permits(algorithm) {
            Ok(Self { algorithm, key })
        } else {
            Err(ProofError::Algorithm)
        }
    }
}
