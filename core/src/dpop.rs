//! Whether a request comes from the holder of the key that its token is bound to (RFC 9449).
//!
//! A proof is a JWT that the client signs for one request. The key stands in its header, and counts only if its
//! thumbprint is that of the token. What is cheap to see is looked at before the signature.

mod claims;
mod error;
mod header;
mod limits;
mod nonce;
mod proofs;
mod target;

pub use claims::{Expect, Proof};
pub use error::ProofError;
pub use header::ALGORITHMS;
pub use limits::{MAX_AGE, MAX_PROOF};
pub use nonce::{MIN_NONCE_SECRET, NONCE_LEN, Nonces};
pub use proofs::Proofs;
pub use target::{Base, BaseFault, Target};
