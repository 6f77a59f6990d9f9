//! What anybody may read: the server's metadata (RFC 8414) and its public keys (RFC 7517).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Json;
use axum::extract::State;
use jsonwebtoken::jwk::JwkSet;
use serde::{Deserialize, Serialize};

use super::{SCOPES, Server};

/// Metadata of an authorization server, as far as this one has any.
#[derive(Serialize, Deserialize)]
pub struct Metadata {
    /// The server's identifier; must equal the URL that the document was fetched for.
    pub issuer: String,
    /// Where clients obtain tokens.
    pub token_endpoint: String,
    /// Where the gateway asks about tokens.
    pub introspection_endpoint: String,
    /// Where clients revoke tokens.
    pub revocation_endpoint: String,
    /// Where the public keys are.
    pub jwks_uri: String,
    scopes_supported: Vec<String>,
    response_types_supported: Vec<String>,
    grant_types_supported: Vec<String>,
    token_endpoint_auth_methods_supported: Vec<String>,
    introspection_endpoint_auth_methods_supported: Vec<String>,
    revocation_endpoint_auth_methods_supported: Vec<String>,
}

/// `GET /.well-known/oauth-authorization-server`.
pub(super) async fn metadata(State(server): State<Arc<Server>>) -> Json<Metadata> {
    server.calls.metadata.fetch_add(1, Relaxed);
    let issuer = &server.configuration.issuer;
    let basic = || vec!["client_secret_basic".to_owned()];
    Json(Metadata {
        issuer: issuer.clone(),
        token_endpoint: format!("{issuer}/token"),
        introspection_endpoint: format!("{issuer}/introspect"),
        revocation_endpoint: format!("{issuer}/revoke"),
        jwks_uri: format!("{issuer}/jwks"),
        scopes_supported: SCOPES.map(String::from).into(),
        response_types_supported: Vec::new(),
        grant_types_supported: vec!["client_credentials".into()],
        token_endpoint_auth_methods_supported: basic(),
        introspection_endpoint_auth_methods_supported: basic(),
        revocation_endpoint_auth_methods_supported: basic(),
    })
}

/// `GET /jwks`.
pub(super) async fn jwks(State(server): State<Arc<Server>>) -> Json<JwkSet> {
    server.calls.jwks.fetch_add(1, Relaxed);
    Json(server.signer.jwks())
}
