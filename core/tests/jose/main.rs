//! Keys and signatures from outside: published vectors, keys made here, and whatever was tampered with.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod answers;
mod key_sets;
mod presented;
mod support;
mod tampering;
mod vectors;
mod verification;
