//! DPoP proofs: those of RFC 9449, proofs made here, and whatever was tampered with.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod heap;
#[path = "../jose/support.rs"]
#[allow(dead_code, reason = "the tests of JWTs use all of it")]
mod keys;
mod nonces;
mod rules;
mod support;
mod tampering;
mod targets;
mod vectors;
