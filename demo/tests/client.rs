//! The demo's client against a stand-in for the gateway: it is content with one that does right,
//! and with no other. (`scripts/demo` runs it against NGINX.)

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use phantom_token_demo::authorization_server::{self, Configuration};
use phantom_token_demo::client::{self, Settings};
use phantom_token_demo::credential::Credential;
use phantom_token_demo::{AUDIENCE, api};
use tokio::net::TcpListener;

/// What the gateway does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    /// It sends the opaque token upstream.
    NotTranslated,
    /// It asks each time, whatever it says.
    NotCached,
    /// It caches, but says that it asked.
    WrongStatus,
    /// It sends what it cannot translate upstream.
    LetsAnybodyIn,
    /// Its refusals have no challenge.
    NoChallenge,
    /// It never learns that a token was revoked.
    CachesEverywhere,
}

struct Gateway {
    flaw: Flaw,
    authorization_server: String,
    api: String,
    http: reqwest::Client,
    cache: Mutex<HashMap<String, String>>,
}

impl Gateway {
    /// The JWT of a token.
    async fn ask(&self, token: &str) -> Option<String> {
        let url = format!("{}/introspect", self.authorization_server);
        let request = self
            .http
            .post(url)
            .header(header::AUTHORIZATION, gateway_credential().authorization())
            .header(header::ACCEPT, "application/jwt")
            .form(&[("token", token)]);
        let answer = request.send().await.unwrap();
        match answer.status() {
            StatusCode::OK => Some(answer.text().await.unwrap()),
            _ => None,
        }
    }

    async fn upstream(&self, uri: &Uri, bearer: Option<&str>, cache: &str) -> Response {
        let mut request = self.http.get(format!("{}{}", self.api, uri.path()));
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        let answer = request.send().await.unwrap();
        let headers = [("Phantom-Token-Cache-Status", cache)];
        (answer.status(), headers, answer.text().await.unwrap()).into_response()
    }

    fn refuse(&self, challenge: &'static str) -> Response {
        match self.flaw {
            Flaw::NoChallenge => StatusCode::UNAUTHORIZED.into_response(),
            _ => {
                (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
            }
        }
    }
}

async fn handle(State(gateway): State<Arc<Gateway>>, uri: Uri, headers: HeaderMap) -> Response {
    let bearer = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap());
    let Some(token) = bearer.and_then(|value| value.strip_prefix("Bearer ")) else {
        return gateway.refuse("Bearer realm=\"api\"");
    };
    let known = gateway.cache.lock().unwrap().get(token).cloned();
    let asks = uri.path() == "/payments" && gateway.flaw != Flaw::CachesEverywhere;
    let cache = if known.is_some() && !asks { "HIT" } else { "MISS" };
    let jwt = match known {
        Some(jwt) if !asks && gateway.flaw != Flaw::NotCached => Some(jwt),
        _ => gateway.ask(token).await,
    };
    let Some(jwt) = jwt else {
        return match gateway.flaw {
            Flaw::LetsAnybodyIn => gateway.upstream(&uri, Some(token), cache).await,
            _ => gateway.refuse("Bearer realm=\"api\", error=\"invalid_token\""),
        };
    };
    gateway.cache.lock().unwrap().insert(token.to_owned(), jwt.clone());
    match gateway.flaw {
        Flaw::NotTranslated => gateway.upstream(&uri, Some(token), cache).await,
        Flaw::WrongStatus => gateway.upstream(&uri, Some(&jwt), "MISS").await,
        _ => gateway.upstream(&uri, Some(&jwt), cache).await,
    }
}

fn client_credential() -> Credential {
    Credential::new("demo", "client's secret")
}

fn gateway_credential() -> Credential {
    Credential::new("gateway", "gateway's secret")
}

async fn bind() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    (listener, format!("http://{address}"))
}

/// Starts the servers on a thread of their own; they end with the process.
fn start(flaw: Flaw) -> Settings {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (listener, authorization_server) = bind().await;
            let router = authorization_server::router(Configuration {
                issuer: authorization_server.clone(),
                audience: AUDIENCE.into(),
                client: client_credential(),
                gateway: gateway_credential(),
                expires_in: 600,
            });
            tokio::spawn(axum::serve(listener, router.unwrap()).into_future());

            let (listener, api) = bind().await;
            let verifier = api::discover(&authorization_server, AUDIENCE).await.unwrap();
            tokio::spawn(axum::serve(listener, api::router(verifier)).into_future());

            let (listener, gateway) = bind().await;
            tell.send(Settings {
                gateway,
                authorization_server: authorization_server.clone(),
                credential: client_credential(),
            })
            .unwrap();
            let http = reqwest::Client::builder().no_proxy().build().unwrap();
            let state = Gateway { flaw, authorization_server, api, http, cache: Mutex::default() };
            let router = Router::new().fallback(handle).with_state(Arc::new(state));
            axum::serve(listener, router).await.unwrap();
        });
    });
    told.recv().unwrap()
}

#[test]
fn it_shows_what_a_right_gateway_does() {
    let settings = start(Flaw::None);
    let mut shown = Vec::new();
    client::run(&settings, &mut shown).unwrap();
    let shown = String::from_utf8(shown).unwrap();
    for part in [
        "opaque token ",
        "Authorization: Bearer <JWT>, signature verified",
        "\"at+jwt\"",
        "200 OK, MISS:",
        "200 OK, HIT:",
        "401 Unauthorized",
        "WWW-Authenticate: Bearer realm=\"api\", error=\"invalid_token\"",
        "phantom_token_cache_max_ttl",
    ] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    // 43 characters are a token, and a JWT is longer.
    let words = shown.split(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c));
    let long: Vec<_> =
        words.filter(|word| word.len() > 43 && word.matches('.').count() == 2).collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn it_is_content_with_no_other() {
    for flaw in [
        Flaw::NotTranslated,
        Flaw::NotCached,
        Flaw::WrongStatus,
        Flaw::LetsAnybodyIn,
        Flaw::NoChallenge,
        Flaw::CachesEverywhere,
    ] {
        let settings = start(flaw);
        assert!(client::run(&settings, &mut std::io::sink()).is_err(), "{flaw:?}");
    }
}
