//! What the demo's three programs share: a small authorization server, an API and a client.
//!
//! They show a gateway with the phantom-token module at work, and serve tests that want a whole
//! authorization server. Everything listens on 127.0.0.1, lives in memory and is made afresh at
//! each start; nothing here writes a token, a key or a secret to a log or a file.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable
)]

pub mod api;
pub mod authorization_server;
pub mod client;
pub mod command_line;
pub mod credential;
pub mod jwt;
pub mod loopback;
pub mod random;

/// The resource server that access tokens are for: their `aud` (RFC 9068 section 3).
pub const AUDIENCE: &str = "https://api.example.com";
