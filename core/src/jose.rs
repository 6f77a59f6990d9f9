//! Signatures of JWTs (RFC 7515, RFC 7518): the authorization server's public keys, and what they verify.
//!
//! The signatures themselves are checked by the crate jsonwebtoken. Its own reading of a JWT is not used: it
//! knows no `crit`, takes the last of two members of one name, and looks for times and names in ways of its
//! own. Every part of a JWT is read here once, by the readers that judge answers.

mod algorithm;
mod client_key;
mod error;
mod header;
mod jwk;
mod key_set;
mod life;
mod limits;
mod verify;

pub(crate) use algorithm::Named;
pub(crate) use client_key::{ClientKey, Prepared};
pub use error::{Ignored, KeyFault, KeySetError, Unusable, VerifyError};
pub use key_set::KeySet;
pub use life::{INTERVAL, SetAge, age, is_recent};
pub use limits::{
    MAX_HEADER, MAX_JWT, MAX_KEYS, MAX_PRESENTED, MAX_SET, MAX_TRIED, MAX_TRIED_PRESENTED,
};
pub use verify::{Expect, verify};
