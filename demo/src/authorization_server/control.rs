//! `/control`: how often each endpoint was called, and how introspection behaves from now on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::Json;
use axum::extract;
use serde::{Deserialize, Serialize};

use super::Server;
pub use super::fault::Fault;

/// What `/control` tells.
#[derive(Serialize, Deserialize)]
pub struct State {
    /// Calls per endpoint since the start, whatever their outcome.
    pub calls: Counts,
    /// How introspection behaves.
    pub behaviour: Behaviour,
}

/// Calls per endpoint.
#[derive(Serialize, Deserialize)]
pub struct Counts {
    /// Tokens asked for.
    pub token: u64,
    /// Questions about tokens.
    pub introspection: u64,
    /// Revocations.
    pub revocation: u64,
    /// Readings of the keys.
    pub jwks: u64,
    /// Readings of the metadata.
    pub metadata: u64,
}

/// The counters behind [`Counts`].
#[derive(Default)]
pub(super) struct Calls {
    pub(super) token: AtomicU64,
    pub(super) introspection: AtomicU64,
    pub(super) revocation: AtomicU64,
    pub(super) jwks: AtomicU64,
    pub(super) metadata: AtomicU64,
}

impl Calls {
    fn counts(&self) -> Counts {
        Counts {
            token: self.token.load(Relaxed),
            introspection: self.introspection.load(Relaxed),
            revocation: self.revocation.load(Relaxed),
            jwks: self.jwks.load(Relaxed),
            metadata: self.metadata.load(Relaxed),
        }
    }
}

/// The form of an introspection answer.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The JWT as the body where `Accept` asks for `application/jwt`, else JSON without one.
    #[default]
    ByAccept,
    /// JSON with the JWT in the member `jwt`, whatever `Accept` says.
    Member,
    /// JSON without a JWT, whatever `Accept` says.
    Json,
}

/// How introspection behaves.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct Behaviour {
    /// The form of its answers.
    pub format: Format,
    /// How long it takes to answer, in milliseconds.
    pub delay_ms: u64,
    /// What its answers suffer.
    pub fault: Fault,
}

/// What shall be different; what is left out stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    format: Option<Format>,
    delay_ms: Option<u64>,
    fault: Option<Fault>,
}

/// `GET /control`.
pub(super) async fn show(extract::State(server): extract::State<Arc<Server>>) -> Json<State> {
    let behaviour = *server.behaviour();
    Json(State { calls: server.calls.counts(), behaviour })
}

/// `PATCH /control` with members of `behaviour`; answers what now holds.
pub(super) async fn change(
    extract::State(server): extract::State<Arc<Server>>,
    Json(change): Json<Change>,
) -> Json<Behaviour> {
    let mut behaviour = server.behaviour();
    behaviour.format = change.format.unwrap_or(behaviour.format);
    behaviour.delay_ms = change.delay_ms.unwrap_or(behaviour.delay_ms);
    behaviour.fault = change.fault.unwrap_or(behaviour.fault);
    Json(*behaviour)
}
