//! The token endpoint: opaque tokens by client credentials (RFC 6749 sections 4.4 and 5.1).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::error::OAuthError;
use super::form::Form;
use super::{SCOPES, Server, now};

/// What the token endpoint answers (RFC 6749 section 5.1).
#[derive(Serialize, Deserialize)]
pub struct Issued {
    /// The opaque token.
    pub access_token: String,
    /// How to present it.
    pub token_type: String,
    /// Its life in seconds.
    pub expires_in: u64,
    /// What it permits.
    pub scope: String,
}

/// `POST /token`.
pub(super) async fn token(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    form: Result<Form, OAuthError>,
) -> Result<Response, OAuthError> {
    server.calls.token.fetch_add(1, Relaxed);
    let configuration = &server.configuration;
    Server::authenticate(&headers, &configuration.client)?;
    let form = form?;
    if form.required("grant_type")? != "client_credentials" {
        return Err(OAuthError::UnsupportedGrantType);
    }
    let scope = match form.get("scope")? {
        Some(scope) if scope.split(' ').all(|word| SCOPES.contains(&word)) => scope.to_owned(),
        Some(_) => return Err(OAuthError::InvalidScope),
        None => SCOPES.join(" "),
    };
    let access_token = server
        .tokens()
        .issue(configuration.client.id(), &scope, now(), configuration.expires_in)
        .map_err(|_| OAuthError::ServerError)?;
    let (token_type, expires_in) = ("Bearer".to_owned(), configuration.expires_in);
    let issued = Issued { access_token, token_type, expires_in, scope };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(issued)).into_response())
}
