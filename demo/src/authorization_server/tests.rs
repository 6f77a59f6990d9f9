//! The endpoints from outside: over the router, and where the connection matters over a socket.

use std::net::Ipv4Addr;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use super::*;
use crate::jwt::Verifier;

const ISSUER: &str = "http://127.0.0.1:1";

fn client() -> Credential {
    Credential::new("demo", "client's secret: ü")
}

fn gateway() -> Credential {
    Credential::new("gate:way", "gateway's+secret")
}

fn server(expires_in: u64) -> Router {
    router(Configuration {
        issuer: ISSUER.into(),
        audience: crate::AUDIENCE.into(),
        client: client(),
        gateway: gateway(),
        expires_in,
    })
    .unwrap()
}

fn post(path: &str, who: &Credential, form: &str) -> Request<Body> {
    Request::post(path)
        .header(header::AUTHORIZATION, who.authorization())
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form.to_owned()))
        .unwrap()
}

fn introspect(token: &str, accept: &str) -> Request<Body> {
    let mut request = post("/introspect", &gateway(), &format!("token={token}"));
    request.headers_mut().insert(header::ACCEPT, accept.parse().unwrap());
    request
}

async fn send(server: &Router, request: Request<Body>) -> Response {
    server.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response) -> String {
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(body.into()).unwrap()
}

async fn json(response: Response) -> Value {
    serde_json::from_str(&text(response).await).unwrap()
}

async fn get(server: &Router, path: &str) -> Value {
    json(send(server, Request::get(path).body(Body::empty()).unwrap()).await).await
}

async fn control(server: &Router, change: Value) -> StatusCode {
    let request = Request::patch("/control")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(change.to_string()))
        .unwrap();
    send(server, request).await.status()
}

async fn issue(server: &Router) -> String {
    let response =
        send(server, post("/token", &client(), "grant_type=client_credentials&scope=read")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let answer = json(response).await;
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["scope"], "read");
    let token = answer["access_token"].as_str().unwrap().to_owned();
    assert_eq!(token.len(), 43);
    token
}

#[tokio::test]
async fn a_token_is_introspected_as_a_jwt_that_verifies() {
    let server = server(600);
    let token = issue(&server).await;

    let response = send(&server, introspect(&token, "application/jwt")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/jwt");
    let cache_control = response.headers()[header::CACHE_CONTROL].to_str().unwrap();
    let max_age: u64 = cache_control.strip_prefix("max-age=").unwrap().parse().unwrap();
    assert!((1..=600).contains(&max_age));

    let keys = serde_json::from_value(get(&server, "/jwks").await).unwrap();
    let verified =
        Verifier::new(keys, ISSUER, crate::AUDIENCE).verify(&text(response).await).unwrap();
    let claims = verified.claims;
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["aud"], crate::AUDIENCE);
    assert_eq!(claims["sub"], "demo");
    assert_eq!(claims["client_id"], "demo");
    assert_eq!(claims["scope"], "read");
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 600);
    assert!(claims["jti"].is_string());
    assert!(!Value::Object(claims).to_string().contains(&token));
}

#[tokio::test]
async fn each_format_has_its_answer_for_active_and_inactive() {
    let server = server(600);
    let token = issue(&server).await;

    let plain = json(send(&server, introspect(&token, "application/json")).await).await;
    assert_eq!(plain["active"], true);
    assert_eq!(plain["client_id"], "demo");
    assert!(plain.get("jwt").is_none());
    let inactive = send(&server, introspect("unknown", "application/json")).await;
    assert_eq!(json(inactive).await, json!({ "active": false }));

    let inactive = send(&server, introspect("unknown", "application/jwt")).await;
    assert_eq!(inactive.status(), StatusCode::NO_CONTENT);
    assert_eq!(text(inactive).await, "");

    assert_eq!(control(&server, json!({ "format": "member" })).await, StatusCode::OK);
    let member = json(send(&server, introspect(&token, "application/jwt")).await).await;
    assert_eq!(member["active"], true);
    assert_eq!(member["jwt"].as_str().unwrap().split('.').count(), 3);
    let inactive = send(&server, introspect("unknown", "application/jwt")).await;
    assert_eq!(json(inactive).await, json!({ "active": false }));

    assert_eq!(control(&server, json!({ "format": "json" })).await, StatusCode::OK);
    assert_eq!(json(send(&server, introspect(&token, "application/jwt")).await).await, plain);
}

#[tokio::test]
async fn a_token_that_has_expired_or_was_revoked_is_inactive() {
    let server_of_dead_tokens = server(0);
    let token = issue(&server_of_dead_tokens).await;
    let response = send(&server_of_dead_tokens, introspect(&token, "application/jwt")).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);

    let server = server(600);
    let token = issue(&server).await;
    for _ in 0..2 {
        let revoked = send(&server, post("/revoke", &client(), &format!("token={token}"))).await;
        assert_eq!(revoked.status(), StatusCode::OK);
        let response = send(&server, introspect(&token, "application/jwt")).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
    }
}

#[tokio::test]
async fn each_caller_may_do_its_own_alone() {
    let server = server(600);
    let token = issue(&server).await;
    let form = format!("token={token}");
    for request in [
        post("/token", &gateway(), "grant_type=client_credentials"),
        post("/introspect", &client(), &form),
        post("/revoke", &gateway(), &form),
        post("/introspect", &Credential::new("gate:way", "wrong"), &form),
    ] {
        let path = request.uri().path().to_owned();
        let response = send(&server, request).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert!(
            response.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic ")
        );
        assert_eq!(json(response).await, json!({ "error": "invalid_client" }), "{path}");
    }
    let mut anonymous = introspect(&token, "application/jwt");
    anonymous.headers_mut().remove(header::AUTHORIZATION);
    assert_eq!(send(&server, anonymous).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn bad_requests_have_the_standard_errors() {
    let server = server(600);
    for (path, who, form, error) in [
        ("/token", client(), "", "invalid_request"),
        ("/token", client(), "grant_type=password", "unsupported_grant_type"),
        ("/token", client(), "grant_type=client_credentials&scope=all", "invalid_scope"),
        ("/token", client(), "grant_type=client_credentials&scope=read++write", "invalid_scope"),
        ("/introspect", gateway(), "", "invalid_request"),
        ("/introspect", gateway(), "token=", "invalid_request"),
        ("/introspect", gateway(), "token=a&token=a", "invalid_request"),
        ("/revoke", client(), "toke=a", "invalid_request"),
    ] {
        let response = send(&server, post(path, &who, form)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path} {form}");
        assert_eq!(json(response).await, json!({ "error": error }), "{path} {form}");
    }
    let mut no_form = introspect("a", "application/jwt");
    no_form.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    assert_eq!(send(&server, no_form).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn metadata_names_the_endpoints() {
    let server = server(600);
    let metadata = get(&server, "/.well-known/oauth-authorization-server").await;
    assert_eq!(metadata["issuer"], ISSUER);
    for (member, path) in [
        ("token_endpoint", "/token"),
        ("introspection_endpoint", "/introspect"),
        ("revocation_endpoint", "/revoke"),
        ("jwks_uri", "/jwks"),
    ] {
        assert_eq!(metadata[member], format!("{ISSUER}{path}"));
    }
    assert_eq!(metadata["response_types_supported"], json!([]));
}

#[tokio::test]
async fn calls_are_counted_whatever_their_outcome() {
    let server = server(600);
    let token = issue(&server).await;
    send(&server, introspect(&token, "application/jwt")).await;
    send(&server, introspect("unknown", "application/jwt")).await;
    send(&server, post("/introspect", &client(), "")).await;
    send(&server, post("/revoke", &client(), "")).await;
    let calls = &get(&server, "/control").await["calls"];
    let expected =
        json!({ "token": 1, "introspection": 3, "revocation": 1, "jwks": 0, "metadata": 0 });
    assert_eq!(calls, &expected);
}

#[tokio::test]
async fn faults_come_and_go() {
    let server = server(600);
    let token = issue(&server).await;
    for (fault, status) in [
        ("server_error", StatusCode::INTERNAL_SERVER_ERROR),
        ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
        ("html", StatusCode::OK),
    ] {
        assert_eq!(control(&server, json!({ "fault": fault })).await, StatusCode::OK);
        let response = send(&server, introspect(&token, "application/jwt")).await;
        assert_eq!(response.status(), status, "{fault}");
        if fault == "html" {
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        }
    }
    assert_eq!(control(&server, json!({ "fault": "none" })).await, StatusCode::OK);
    let response = send(&server, introspect(&token, "application/jwt")).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/jwt");

    assert!(control(&server, json!({ "fault": "unheard of" })).await.is_client_error());
    assert!(control(&server, json!({ "delay": 1 })).await.is_client_error());
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_kept() {
    let server = server(600);
    assert_eq!(control(&server, json!({ "delay_ms": 3_000 })).await, StatusCode::OK);
    let start = tokio::time::Instant::now();
    send(&server, introspect("unknown", "application/jwt")).await;
    assert_eq!(start.elapsed().as_millis(), 3_000);
}

/// Introspects over a socket; everything that arrives until the server closes the connection.
async fn received(server: Router, token: &str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, server).await });
    let body = format!("token={token}");
    let request = format!(
        "POST /introspect HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nAccept: application/jwt\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        gateway().authorization(),
        body.len()
    );
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut received = String::new();
    connection.read_to_string(&mut received).await.unwrap();
    serving.abort();
    received
}

#[tokio::test]
async fn a_truncated_answer_ends_before_its_length() {
    let server = server(600);
    let token = issue(&server).await;
    control(&server, json!({ "fault": "truncated" })).await;
    let received = received(server, &token).await;
    let (head, body) = received.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(body.len(), length.parse::<usize>().unwrap() / 2);
}

#[tokio::test]
async fn a_closed_connection_carries_nothing() {
    let server = server(600);
    let token = issue(&server).await;
    control(&server, json!({ "fault": "closed" })).await;
    assert_eq!(received(server, &token).await, "");
}
