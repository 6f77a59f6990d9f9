//! An API that accepts JWT access tokens alone and answers what it received.

use std::sync::Arc;

use anyhow::{Context, ensure};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use jsonwebtoken::jwk::JwkSet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::authorization_server::metadata::Metadata;
use crate::jwt::{Verified, Verifier};

/// What the API answers: the request as it arrived, without the JWT itself.
#[derive(Serialize, Deserialize)]
pub struct Received {
    /// The method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// The credentials.
    pub authorization: Authorization,
}

/// Credentials that were verified.
#[derive(Serialize, Deserialize)]
pub struct Authorization {
    /// The scheme of the Authorization header, as it was written.
    pub scheme: String,
    /// The JWT's header and claims.
    #[serde(flatten)]
    pub token: Verified,
    /// True: the JWT's signature and claims were verified.
    pub verified: bool,
}

/// Reads the metadata and the keys of `issuer` (RFC 8414 section 3), once: its key pair lives as
/// long as it does.
///
/// # Errors
/// If it cannot be reached, or its metadata is that of another issuer.
pub async fn discover(issuer: &str, audience: &str) -> anyhow::Result<Verifier> {
    let well_known = format!("{issuer}/.well-known/oauth-authorization-server");
    let metadata: Metadata = get(&well_known).await?;
    ensure!(metadata.issuer == issuer, "{well_known} is the metadata of another issuer");
    let keys: JwkSet = get(&metadata.jwks_uri).await?;
    Ok(Verifier::new(keys, issuer, audience))
}

async fn get<T: DeserializeOwned>(url: &str) -> anyhow::Result<T> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
    answer
        .context("cannot read from the authorization server")?
        .json()
        .await
        .context(url.to_owned())
}

/// The API: every path and method answers alike.
pub fn router(verifier: Verifier) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(verifier))
}

async fn answer(
    State(verifier): State<Arc<Verifier>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    match authorize(&verifier, &headers) {
        Ok(authorization) => {
            let (method, path) = (method.to_string(), uri.path().to_owned());
            Json(Received { method, path, authorization }).into_response()
        }
        Err(reason) => (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Bearer realm=\"demo\"")],
            Json(json!({ "verified": false, "reason": format!("{reason:#}") })),
        )
            .into_response(),
    }
}

fn authorize(verifier: &Verifier, headers: &HeaderMap) -> anyhow::Result<Authorization> {
    let mut values = headers.get_all(header::AUTHORIZATION).into_iter();
    let value = values.next().context("there is no Authorization header")?;
    ensure!(values.next().is_none(), "there are several Authorization headers");
    let (scheme, jwt) =
        value.to_str()?.split_once(' ').context("the Authorization header has no credentials")?;
    ensure!(
        scheme.eq_ignore_ascii_case("bearer"),
        "the Authorization header is not of type Bearer"
    );
    let token = verifier.verify(jwt).context("the bearer token was not accepted")?;
    Ok(Authorization { scheme: scheme.to_owned(), token, verified: true })
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;
    use crate::AUDIENCE;
    use crate::jwt::{Claims, Signer};

    const ISSUER: &str = "http://127.0.0.1:1";

    async fn call(router: &Router, authorization: &[&str]) -> (StatusCode, Value) {
        let mut request = Request::get("/accounts?page=2");
        for value in authorization {
            request = request.header(header::AUTHORIZATION, *value);
        }
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_jwt_is_decoded_and_never_repeated() {
        let signer = Signer::generate().unwrap();
        let jwt = signer
            .sign(&Claims {
                iss: ISSUER,
                sub: "demo",
                aud: AUDIENCE,
                client_id: "demo",
                scope: "read",
                iat: 0,
                exp: u64::from(u32::MAX),
                jti: "1",
            })
            .unwrap();
        let router = router(Verifier::new(signer.jwks(), ISSUER, AUDIENCE));

        let (status, body) = call(&router, &[&format!("Bearer {jwt}")]).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(body["path"], "/accounts");
        assert_eq!(body["authorization"]["verified"], true);
        assert_eq!(body["authorization"]["claims"]["sub"], "demo");
        assert_eq!(body["authorization"]["header"]["typ"], "at+jwt");
        assert!(jwt.split('.').all(|part| !body.to_string().contains(part)));

        let bearer = format!("Bearer {jwt}");
        let twice = [bearer.as_str(), bearer.as_str()];
        let basic = format!("Basic {jwt}");
        for refused in [&[][..], &twice, &["Bearer opaque"], &["Bearer"], &[basic.as_str()]] {
            let (status, body) = call(&router, refused).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED);
            assert_eq!(body["verified"], false);
        }
    }
}
