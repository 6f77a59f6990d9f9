//! The steps of the demo; each explains itself and fails if the gateway does not do as it says.

use std::io::{self, Write};

use anyhow::{Context, ensure};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Settings;
use super::http::{Exchange, Http, send};
use crate::api::Received;
use crate::authorization_server::control;
use crate::authorization_server::issuance::Issued;
use crate::random;

/// The response header in which the demo's gateway tells `$phantom_token_cache_status`.
const CACHE_STATUS: &str = "Phantom-Token-Cache-Status";
/// A location with the default cache.
const CACHED: &str = "/accounts";
/// A location with `phantom_token_cache off`.
const UNCACHED: &str = "/payments";

/// A running demo.
pub(super) struct Demo<'a> {
    http: Http,
    settings: &'a Settings,
    out: &'a mut dyn Write,
}

impl<'a> Demo<'a> {
    pub(super) fn new(http: Http, settings: &'a Settings, out: &'a mut dyn Write) -> Self {
        Self { http, settings, out }
    }

    pub(super) fn obtain_a_token(&mut self) -> anyhow::Result<String> {
        self.title("1. The client obtains an access token from the authorization server")?;
        let url = format!("{}/token", self.settings.authorization_server);
        let exchange = send(
            self.http
                .post(&url)
                .header(AUTHORIZATION, self.settings.credential.authorization())
                .form(&[("grant_type", "client_credentials")]),
        )?;
        let issued: Issued = exchange.json().context("obtaining a token")?;
        let token = issued.access_token;
        ensure!(!token.contains('.'), "the access token is not opaque");
        writeln!(self.out, "   POST /token, grant_type=client_credentials")?;
        writeln!(
            self.out,
            "   {}: opaque token {} of {} characters, valid for {} s  ({:.1} ms)",
            exchange.status,
            short(&token),
            token.len(),
            issued.expires_in,
            exchange.milliseconds(),
        )?;
        Ok(token)
    }

    pub(super) fn first_call(&mut self, token: &str) -> anyhow::Result<()> {
        self.title("2. It calls the API through the gateway: the first time, MISS")?;
        let asked = self.questions()?;
        let (exchange, received) =
            self.accepted(CACHED, token, "MISS").context("the first call")?;
        let questions = self.questions()?;
        ensure!(questions == asked + 1, "the gateway did not ask exactly once");

        writeln!(self.out, "   What the client sent")?;
        writeln!(self.out, "     GET {CACHED} HTTP/1.1")?;
        writeln!(self.out, "     Authorization: Bearer {}", short(token))?;
        writeln!(self.out, "   What the API received")?;
        let Received { method, path, authorization } = received;
        writeln!(self.out, "     {method} {path} HTTP/1.1")?;
        writeln!(
            self.out,
            "     Authorization: {} <JWT>, signature verified by the server's key",
            authorization.scheme,
        )?;
        self.members("header", &authorization.token.header)?;
        self.members("claims", &authorization.token.claims)?;
        self.outcome(&exchange, &asked_so_far(questions))
    }

    pub(super) fn second_call(&mut self, token: &str) -> anyhow::Result<()> {
        self.title("3. It calls again: HIT, from the cache in shared memory")?;
        let asked = self.questions()?;
        let (exchange, _) = self.accepted(CACHED, token, "HIT").context("the second call")?;
        let questions = self.questions()?;
        ensure!(questions == asked, "the gateway asked although it knew the token");
        self.outcome(&exchange, &asked_so_far(questions))
    }

    pub(super) fn bad_credentials(&mut self) -> anyhow::Result<()> {
        self.title("4. Others are refused; the API never sees them")?;
        let invented = random::opaque()?;
        let exchange = self.call(CACHED, Some(&invented))?;
        refused(&exchange, true).context("the call with an invented token")?;
        self.refusal(&format!("Authorization: Bearer {} (invented)", short(&invented)), &exchange)?;
        let exchange = self.call(CACHED, None)?;
        refused(&exchange, false).context("the call without a token")?;
        self.refusal("no Authorization header", &exchange)
    }

    pub(super) fn revocation(&mut self, token: &str) -> anyhow::Result<()> {
        self.title("5. The client revokes its token")?;
        let url = format!("{}/revoke", self.settings.authorization_server);
        let exchange = send(
            self.http
                .post(&url)
                .header(AUTHORIZATION, self.settings.credential.authorization())
                .form(&[("token", token)]),
        )?;
        exchange.expect(StatusCode::OK).context("revoking the token")?;
        writeln!(
            self.out,
            "   POST /revoke: {}  ({:.1} ms)",
            exchange.status,
            exchange.milliseconds()
        )?;

        let (exchange, _) =
            self.accepted(CACHED, token, "HIT").context("the call with a revoked token")?;
        self.outcome(&exchange, &format!("{CACHED} does not know yet"))?;
        let exchange = self.call(UNCACHED, Some(token))?;
        refused(&exchange, true).context("the uncached call with a revoked token")?;
        self.refusal(&format!("{UNCACHED} asks each time (phantom_token_cache off)"), &exchange)?;
        writeln!(
            self.out,
            "
   The gateway asks about a token once per phantom_token_cache_max_ttl, 5m by default: up to that
   time a revoked token passes. Shorten it (phantom_token_cache_max_ttl 30s), ask each time
   (phantom_token_cache off), or follow the token's whole life by a time that is at least as long."
        )?;
        Ok(())
    }

    fn call(&self, path: &str, token: Option<&str>) -> anyhow::Result<Exchange> {
        let request = self.http.get(&format!("{}{path}", self.settings.gateway));
        send(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    /// Calls and checks that the API received a JWT of this client, by way of the cache as told.
    fn accepted(
        &self,
        path: &str,
        token: &str,
        status: &str,
    ) -> anyhow::Result<(Exchange, Received)> {
        let exchange = self.call(path, Some(token))?;
        let received: Received = exchange.json()?;
        let seen = exchange.header(CACHE_STATUS);
        ensure!(seen == status, "the cache status is {seen:?} and not {status}");
        ensure!(received.authorization.verified, "the API did not verify what it received");
        let client = received.authorization.token.claims.get("client_id").and_then(Value::as_str);
        ensure!(client == Some(self.settings.credential.id()), "the JWT is another client's");
        Ok((exchange, received))
    }

    /// How often the authorization server was asked about tokens so far.
    fn questions(&self) -> anyhow::Result<u64> {
        let url = format!("{}/control", self.settings.authorization_server);
        let state: control::State =
            send(self.http.get(&url))?.json().context("counting questions")?;
        Ok(state.calls.introspection)
    }

    fn title(&mut self, title: &str) -> io::Result<()> {
        writeln!(self.out, "\n{title}\n")
    }

    fn members(&mut self, title: &str, object: impl Serialize) -> anyhow::Result<()> {
        let members: Map<String, Value> = serde_json::from_value(serde_json::to_value(object)?)?;
        writeln!(self.out, "       {title}")?;
        for (name, value) in members {
            writeln!(self.out, "         {name:<9} {value}")?;
        }
        Ok(())
    }

    fn outcome(&mut self, exchange: &Exchange, remark: &str) -> anyhow::Result<()> {
        let (status, took) = (exchange.status, exchange.milliseconds());
        let cache = exchange.header(CACHE_STATUS);
        writeln!(self.out, "   {status}, {cache}: {remark}  ({took:.1} ms)")?;
        Ok(())
    }

    fn refusal(&mut self, case: &str, exchange: &Exchange) -> anyhow::Result<()> {
        let challenge = exchange.header(WWW_AUTHENTICATE.as_str());
        let (status, took) = (exchange.status, exchange.milliseconds());
        writeln!(self.out, "   {case}\n     {status}  ({took:.1} ms)")?;
        writeln!(self.out, "     WWW-Authenticate: {challenge}")?;
        Ok(())
    }
}

/// Checks a refusal: 401, with the error `invalid_token` if a token was presented, else without an
/// error (RFC 6750 section 3).
fn refused(exchange: &Exchange, presented: bool) -> anyhow::Result<()> {
    exchange.expect(StatusCode::UNAUTHORIZED)?;
    let challenge = exchange.header(WWW_AUTHENTICATE.as_str());
    ensure!(challenge.starts_with("Bearer "), "the challenge is {challenge:?}");
    let invalid = challenge.contains("error=\"invalid_token\"");
    let silent = !challenge.contains("error=");
    ensure!(if presented { invalid } else { silent }, "the challenge is {challenge:?}");
    Ok(())
}

fn asked_so_far(questions: u64) -> String {
    format!("questions to the authorization server so far: {questions}")
}

/// The first characters of a token: enough to recognise it, useless to whoever reads along.
fn short(token: &str) -> String {
    token.chars().take(6).chain(['…']).collect()
}
