//! What the phantom-token module decides, apart from NGINX.
//!
//! Nothing in here knows of NGINX: every function turns plain bytes into a typed decision, so that
//! all of it is tested in milliseconds. The crate at the top of the workspace is the edge that turns
//! NGINX's structures into these types and back.
//!
//! Imports run one way, without circles: ARCHITECTURE.md draws the layers.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable
)]

mod alphabet;
pub mod answer;
pub mod binding;
pub mod by_value;
pub mod cache;
pub mod cache_control;
pub mod certificate;
pub mod challenge;
pub mod claims;
pub mod credentials;
pub mod dpop;
pub mod facts;
pub mod flights;
pub mod form;
pub mod freshness;
pub mod jose;
mod json;
pub mod jwt;
pub mod key;
mod lock;
mod members;
pub mod metadata;
#[cfg(test)]
#[path = "../tests/support/processes.rs"]
mod processes;
#[cfg(test)]
#[path = "../tests/support/random.rs"]
mod random;
mod raw_json;
pub mod reason;
pub mod record;
pub mod replay;
