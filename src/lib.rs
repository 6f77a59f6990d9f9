//! NGINX dynamic module that turns opaque OAuth tokens into signed JWTs on their way upstream.
//!
//! This crate is the edge: it turns NGINX's structures into the types of `phantom-token-core`, which
//! decides, and back. One request's way through it is told in `access`, top to bottom.
//!
//! Imports run one way, without circles: ARCHITECTURE.md draws the layers.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable
)]

mod access;
mod answer;
mod binding;
mod by_value;
mod cache_zone;
mod claims;
mod code;
mod conf;
mod context;
mod directives;
mod entry;
mod filter;
mod flight;
mod guard;
mod headers;
mod host;
mod key_sets;
mod keys;
mod log;
mod metadata;
mod module;
mod nginx;
mod policy;
mod pool;
mod precontent;
mod proof;
mod proof_zone;
mod question;
mod random;
mod realm;
mod refusal;
mod request;
mod slab;
mod slot;
mod stale;
mod upstream;
mod variables;
mod zones;
