//! The introspection endpoint (RFC 7662): the JWT as the body, in a JSON member, or no JWT at all.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::control::Format;
use super::error::OAuthError;
use super::form::Form;
use super::store::Grant;
use super::{Server, fault, now};
use crate::jwt::Claims;

/// The media type that asks for a JWT and names one.
const JWT: &str = "application/jwt";

/// A JSON answer about an active token (RFC 7662 section 2.2).
#[derive(Serialize)]
struct Active<'a> {
    active: bool,
    token_type: &'static str,
    #[serde(flatten)]
    claims: Claims<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<String>,
}

/// `POST /introspect`.
pub(super) async fn introspect(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    form: Result<Form, OAuthError>,
) -> Response {
    server.calls.introspection.fetch_add(1, Relaxed);
    let behaviour = *server.behaviour();
    tokio::time::sleep(Duration::from_millis(behaviour.delay_ms)).await;
    let answer = answer(&server, &headers, form, behaviour.format).into_response();
    fault::apply(behaviour.fault, answer).await
}

fn answer(
    server: &Server,
    headers: &HeaderMap,
    form: Result<Form, OAuthError>,
    format: Format,
) -> Result<Response, OAuthError> {
    Server::authenticate(headers, &server.configuration.gateway)?;
    let form = form?;
    let token = form.required("token")?;
    let now = now();
    let tokens = server.tokens();
    let grant = tokens.active(token, now);
    match (format, grant) {
        (Format::ByAccept, Some(grant)) if accepts_jwt(headers) => {
            let max_age = format!("max-age={}", grant.expires_at.saturating_sub(now));
            let headers = [(header::CONTENT_TYPE, JWT), (header::CACHE_CONTROL, &max_age)];
            Ok((headers, sign(server, grant)?).into_response())
        }
        (Format::ByAccept, None) if accepts_jwt(headers) => {
            Ok((StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response())
        }
        (_, None) => Ok(uncached(json!({ "active": false }))),
        (_, Some(grant)) => {
            let jwt = match format {
                Format::Member => Some(sign(server, grant)?),
                Format::ByAccept | Format::Json => None,
            };
            let claims = server.claims(grant);
            Ok(uncached(Active { active: true, token_type: "Bearer", claims, jwt }))
        }
    }
}

fn accepts_jwt(headers: &HeaderMap) -> bool {
    let values =
        headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|media_type| media_type.trim().eq_ignore_ascii_case(JWT))
}

fn sign(server: &Server, grant: &Grant) -> Result<String, OAuthError> {
    server.signer.sign(&server.claims(grant)).map_err(|_| OAuthError::ServerError)
}

fn uncached(answer: impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}
