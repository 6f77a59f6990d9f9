//! A name in the facts: what it is of, and its digest.

use super::layout::DIGEST;
use crate::key::FactsKey;

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A scope-token (RFC 6749 section 3.3).
    Scope = 1,
    /// An audience (RFC 7519 section 4.1.3).
    Audience = 2,
    /// `sub`.
    Subject = 3,
    /// `client_id`, or else `azp`.
    Client = 4,
    /// `sid`.
    Session = 5,
}

/// A name, as far as it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub(super) [u8; DIGEST]);

impl Digest {
    /// The digest of a name of that kind.
    #[must_use]
    pub fn new(key: &FactsKey, kind: Kind, name: &[u8]) -> Self {
        Self(key.digest(kind as u8, name))
    }
}
