//! The revocation endpoint (RFC 7009).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::Server;
use super::error::OAuthError;
use super::form::Form;

/// `POST /revoke`; a token that is not known is revoked as well (RFC 7009 section 2.2).
pub(super) async fn revoke(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    form: Result<Form, OAuthError>,
) -> Result<StatusCode, OAuthError> {
    server.calls.revocation.fetch_add(1, Relaxed);
    let client = &server.configuration.client;
    Server::authenticate(&headers, client)?;
    server.tokens().revoke(form?.required("token")?, client.id());
    Ok(StatusCode::OK)
}
