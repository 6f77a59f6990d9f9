//! Error answers of the OAuth endpoints (RFC 6749 section 5.2).

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OAuthError {
    /// A parameter is missing or repeated, or the body is no form.
    InvalidRequest,
    /// The caller did not authenticate as the client that may do this.
    InvalidClient,
    /// Not client credentials.
    UnsupportedGrantType,
    /// A scope that the client may not have.
    InvalidScope,
    /// A fault of the server itself.
    ServerError,
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let (status, code) = match self {
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::InvalidClient => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Self::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            Self::InvalidScope => (StatusCode::BAD_REQUEST, "invalid_scope"),
            Self::ServerError => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
        };
        let body = ([(header::CACHE_CONTROL, "no-store")], Json(json!({ "error": code })));
        match self {
            Self::InvalidClient => {
                let challenge =
                    [(header::WWW_AUTHENTICATE, "Basic realm=\"authorization server\"")];
                (status, challenge, body).into_response()
            }
            _ => (status, body).into_response(),
        }
    }
}
