//! A key that a client brings along itself, as in the header of a DPoP proof (RFC 9449 section 4.2).

use aws_lc_rs::signature::ParsedPublicKey;
use jsonwebtoken::Algorithm;

use super::algorithm::Named;
use super::error::KeyFault;
use super::jwk::Members;

/// A public key as it was sent. Reading it parses no number and no point.
pub(crate) struct ClientKey<'a>(Members<'a>);

impl<'a> ClientKey<'a> {
    /// Reads a JSON value that is to be a public key.
    pub(crate) fn read(text: &'a str) -> Result<Self, KeyFault> {
        let members = Members::read(text);
        members.check_use()?;
        Ok(Self(members))
    }

    /// Its name, by which the authorization server binds tokens to it.
    pub(crate) fn thumbprint(&self) -> Result<[u8; 32], KeyFault> {
        self.0.thumbprint()
    }

    /// Whether its `alg`, if it has one, is that one.
    pub(crate) fn permits(&self, algorithm: Algorithm) -> bool {
        self.0.alg().is_none_or(|alg| alg == Named::Accepted(algorithm))
    }

    /// Parses it, to check signatures of that algorithm.
    pub(crate) fn prepare(&self, algorithm: Algorithm) -> Result<Prepared, KeyFault> {
        self.0.prepare(algorithm).map(Prepared)
    }
}

/// What checks signatures of one algorithm by one key.
pub(crate) struct Prepared(ParsedPublicKey);

impl Prepared {
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}
