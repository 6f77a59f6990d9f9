//! What a JWT's header says of its signature (RFC 7515 section 4.1). Keys and addresses of keys in it (`jwk`,
//! `jku`, `x5c`, `x5u`) mean nothing here.

use jsonwebtoken::Algorithm;

use super::VerifyError;
use super::algorithm::Named;
use crate::json::{self, Value};

pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    /// The name of the key, and nothing more than a name.
    pub(super) kid: Option<String>,
}

impl Header {
    pub(super) fn read(header: &[u8]) -> Result<Self, VerifyError> {
        let known = |name: &str| match name {
            "alg" => Some(0_usize),
            "kid" => Some(1),
            "crit" => Some(2),
            "b64" => Some(3),
            _ => None,
        };
        let mut seen = [false; 4];
        let mut sound = true;
        let mut algorithm = None;
        let mut kid = None;
        let mut critical = false;
        json::object(header, known, |parameter, value| {
            if let Some(seen) = seen.get_mut(parameter) {
                sound &= !core::mem::replace(seen, true);
            }
            match parameter {
                0 => algorithm = value.text().map(Named::of),
                1 => {
                    kid = value.text().map(str::to_owned);
                    sound &= kid.is_some();
                }
                2 => critical = true,
                _ => critical |= !matches!(value, Value::Bool(true)),
            }
        })
        .map_err(|_| VerifyError::Header)?;
        if !sound {
            return Err(VerifyError::Header);
        }
        if critical {
            return Err(VerifyError::Critical);
        }
        match algorithm.ok_or(VerifyError::Header)? {
            Named::Accepted(algorithm) => Ok(Self { algorithm, kid }),
            Named::Symmetric => Err(VerifyError::Symmetric),
            Named::Other => Err(VerifyError::Algorithm),
        }
    }
}
