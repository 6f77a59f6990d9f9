//! A small OAuth authorization server: opaque tokens for clients, JWTs for the gateway.
//!
//! It issues by client credentials (RFC 6749), introspects (RFC 7662), revokes (RFC 7009) and
//! publishes its keys and metadata (RFC 8414). Through `/control` it counts its calls and can be
//! told to be slow, broken or down.

pub mod control;
mod error;
mod fault;
mod form;
mod introspection;
pub mod issuance;
pub mod metadata;
mod revocation;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::{get, post};

use crate::credential::Credential;
use crate::jwt::{Claims, Signer};
use control::{Behaviour, Calls};
use error::OAuthError;
use store::{Grant, TokenStore};

/// What the client may ask for.
const SCOPES: [&str; 2] = ["read", "write"];

/// Who is known to the server, and how long its tokens live.
pub struct Configuration {
    /// The server's own identifier, an `http` URL without a path.
    pub issuer: String,
    /// The `aud` of its access tokens.
    pub audience: String,
    /// The client that may obtain and revoke tokens.
    pub client: Credential,
    /// The gateway that may introspect.
    pub gateway: Credential,
    /// The life of a token in seconds.
    pub expires_in: u64,
}

/// The server's state.
struct Server {
    configuration: Configuration,
    signer: Signer,
    tokens: Mutex<TokenStore>,
    behaviour: Mutex<Behaviour>,
    calls: Calls,
}

/// The server's endpoints, with a key pair made now.
///
/// # Errors
/// If the key pair cannot be made.
pub fn router(configuration: Configuration) -> anyhow::Result<Router> {
    let server = Arc::new(Server {
        configuration,
        signer: Signer::generate()?,
        tokens: Mutex::default(),
        behaviour: Mutex::default(),
        calls: Calls::default(),
    });
    Ok(Router::new()
        .route("/token", post(issuance::token))
        .route("/introspect", post(introspection::introspect))
        .route("/revoke", post(revocation::revoke))
        .route("/jwks", get(metadata::jwks))
        .route("/.well-known/oauth-authorization-server", get(metadata::metadata))
        .route("/control", get(control::show).patch(control::change))
        .with_state(server))
}

impl Server {
    fn tokens(&self) -> MutexGuard<'_, TokenStore> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a request that does not authenticate as `expected`.
    fn authenticate(headers: &HeaderMap, expected: &Credential) -> Result<(), OAuthError> {
        match Credential::presented(headers) {
            Some(presented) if presented.matches(expected) => Ok(()),
            _ => Err(OAuthError::InvalidClient),
        }
    }

    fn claims<'a>(&'a self, grant: &'a Grant) -> Claims<'a> {
        Claims {
            iss: &self.configuration.issuer,
            sub: &grant.client_id,
            aud: &self.configuration.audience,
            client_id: &grant.client_id,
            scope: &grant.scope,
            iat: grant.issued_at,
            exp: grant.expires_at,
            jti: &grant.id,
        }
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
