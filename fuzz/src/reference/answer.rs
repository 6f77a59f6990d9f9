//! What an answer means.

use super::instant::{Seconds, seconds};
use super::json::{self, Object, Value};
use super::jwt::{self, Kind};
use super::members::{Members, members};

/// A question that was asked, and its answer.
pub struct Answer<'a> {
    pub mode: Mode,
    /// Envelopes count although nobody verifies their signature.
    pub unverified: bool,
    pub status: u16,
    pub content_type: &'a [u8],
    pub encoded: bool,
    pub body: &'a [u8],
    /// Names of members that may hold the JWT.
    pub names: &'a [&'a str],
    /// Seconds of the clock.
    pub asked: i64,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Jwt,
    Claims,
    Exchange,
}

/// What is kept of an active token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    Jwt,
    Exchanged,
    Json,
    ClaimsJwt,
    Envelope,
}

/// What the server says.
#[derive(Debug)]
pub enum Outcome {
    /// Active, if none of the times has passed.
    Active {
        kind: Document,
        document: Vec<u8>,
        until: Vec<Seconds>,
        bound: bool,
    },
    Inactive,
    /// Nothing about the token.
    Refused,
}

/// `None` where the contract leaves it open.
pub fn judge(answer: &Answer<'_>) -> Option<Outcome> {
    match answer.mode {
        Mode::Exchange => Some(exchange(answer).unwrap_or(Outcome::Refused)),
        _ => introspection(answer),
    }
}

fn introspection(answer: &Answer<'_>) -> Option<Outcome> {
    let outcome = match (answer.status, media_type(answer).as_str(), answer.mode) {
        (204, ..) => Some(Outcome::Inactive),
        (400, "application/json", _) => unsupported(answer),
        (200, ..) if answer.encoded => None,
        (200, "application/json", Mode::Claims) => json_claims(answer),
        (200, "application/json", _) => json_jwt(answer),
        (200, "application/jwt", mode) => whole_jwt(answer, mode),
        (200, "application/token-introspection+jwt", Mode::Claims) if answer.unverified => {
            return envelope(answer);
        }
        _ => None,
    };
    Some(outcome.unwrap_or(Outcome::Refused))
}

fn unsupported(answer: &Answer<'_>) -> Option<Outcome> {
    let members = members(&json::object(answer.body)?)?;
    (members.unsupported && !answer.encoded).then_some(Outcome::Inactive)
}

fn json_claims(answer: &Answer<'_>) -> Option<Outcome> {
    let members = members(&json::object(answer.body)?)?;
    if !is_active(&members)? {
        return Some(Outcome::Inactive);
    }
    active(Document::Json, trim(answer.body), &[&members])
}

fn json_jwt(answer: &Answer<'_>) -> Option<Outcome> {
    let object = json::object(answer.body)?;
    let beside = members(&object)?;
    let candidates: Vec<_> = answer.names.iter().map(|name| json::all(&object, name)).collect();
    if candidates.iter().any(|values| values.len() > 1) {
        return None;
    }
    if !is_active(&beside)? {
        return Some(Outcome::Inactive);
    }
    let mut texts = candidates.iter().flatten().filter_map(|value| value.text());
    let jwt = texts.find(|text| !text.is_empty())?.as_bytes();
    let inside = members(&jwt::payload(jwt, Kind::AccessToken)?)?;
    if inside.envelope || inside.active == Some(false) || inside.exp.is_err() {
        return None;
    }
    if inside.refresh {
        return Some(Outcome::Inactive);
    }
    active(Document::Jwt, jwt, &[&beside, &inside])
}

fn whole_jwt(answer: &Answer<'_>, mode: Mode) -> Option<Outcome> {
    let jwt = trim(answer.body);
    let inside = members(&jwt::payload(jwt, Kind::AccessToken)?)?;
    if inside.envelope || inside.exp.is_err() {
        return None;
    }
    match (inside.active, mode) {
        (Some(false), _) => Some(Outcome::Inactive),
        (Some(true), Mode::Jwt) => None,
        _ if inside.refresh => Some(Outcome::Inactive),
        (_, Mode::Jwt) => active(Document::Jwt, jwt, &[&inside]),
        _ => active(Document::ClaimsJwt, jwt, &[&inside]),
    }
}

fn envelope(answer: &Answer<'_>) -> Option<Outcome> {
    let envelope = trim(answer.body);
    let Some(payload) = jwt::payload(envelope, Kind::Envelope) else {
        return Some(Outcome::Refused);
    };
    // A time before 1970 is of no use to anybody.
    if let [Value::Number(iat)] = json::all(&payload, "iat")[..]
        && iat.starts_with('-')
    {
        return None;
    }
    Some(enveloped(&payload, envelope).unwrap_or(Outcome::Refused))
}

fn enveloped(payload: &Object, envelope: &[u8]) -> Option<Outcome> {
    let [Value::Text(issuer)] = json::all(payload, "iss")[..] else { return None };
    let [audience] = json::all(payload, "aud")[..] else { return None };
    let [Value::Number(_)] = json::all(payload, "iat")[..] else { return None };
    let [Value::Object(inside)] = json::all(payload, "token_introspection")[..] else {
        return None;
    };
    let is_name = |value: &Value| value.text().is_some_and(|text| !text.is_empty());
    let names_somebody = match audience {
        Value::Array(names) => !names.is_empty() && names.iter().all(is_name),
        name => is_name(name),
    };
    if issuer.text.is_empty() || !names_somebody {
        return None;
    }
    let members = members(inside)?;
    if !is_active(&members)? {
        return Some(Outcome::Inactive);
    }
    active(Document::Envelope, envelope, &[&members])
}

/// By another way than the core's: a text of words between blanks.
fn names_another_parameter(description: &str) -> bool {
    let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let plain: String = description.chars().map(|it| if is_word(it) { it } else { ' ' }).collect();
    let plain = format!(" {} ", plain.split_whitespace().collect::<Vec<_>>().join(" "));
    let plain = plain.to_ascii_lowercase();
    let has = |words: &str| words.split_whitespace().any(|it| plain.contains(&format!(" {it} ")));
    let parameters = "requested_token_type subject_token_type actor_token actor_token_type token_type \
        grant_type client_id client_secret client_assertion client_assertion_type";
    let others = "actor audience client grant missing parameter parameters requested resource scope \
        scopes supported target type unsupported";
    let is_about_token = has("subject_token") || plain.contains(" subject token ");
    has(parameters) || plain.contains(" token type ") || (has(others) && !is_about_token)
}

fn exchange(answer: &Answer<'_>) -> Option<Outcome> {
    if answer.encoded || media_type(answer) != "application/json" {
        return None;
    }
    let object = json::object(answer.body)?;
    let only = |name| {
        let values = json::all(&object, name);
        (values.len() < 2).then(|| values.first().copied())
    };
    if answer.status == 400 {
        let error = only("error")??.text()?;
        let dead = ["invalid_grant", "invalid_token", "unsupported_token_type"];
        let said = json::all(&object, "error_description");
        let is_about_request = said.iter().any(|it| it.text().is_some_and(names_another_parameter));
        let is_dead = dead.contains(&error) || (error == "invalid_request" && !is_about_request);
        return is_dead.then_some(Outcome::Inactive);
    }
    let jwt = only("access_token")?;
    let life = only("expires_in")?;
    let issued = only("issued_token_type")?;
    let token_type = only("token_type")?;
    if answer.status != 200 {
        return None;
    }
    if let Some(issued) = issued {
        let kind = issued.text()?.strip_prefix("urn:ietf:params:oauth:token-type:")?;
        if kind != "jwt" && kind != "access_token" {
            return None;
        }
    }
    let jwt = jwt?.text()?.as_bytes();
    let inside = members(&jwt::payload(jwt, Kind::AccessToken)?)?;
    if inside.envelope || inside.refresh || inside.active.is_some() {
        return None;
    }
    let is_dpop =
        token_type.and_then(Value::text).is_some_and(|it| it.eq_ignore_ascii_case("dpop"));
    let mut until: Vec<Seconds> = inside.exp.ok()?.into_iter().collect();
    if let Some(life) = life.filter(|life| !matches!(life, Value::Null)) {
        let life = seconds(life)?;
        let whole = life.whole.clamp(0, 1 << 32) + answer.asked;
        until.push(Seconds { whole, ..life });
    }
    let bound = inside.bound || is_dpop;
    Some(Outcome::Active { kind: Document::Exchanged, document: jwt.to_vec(), until, bound })
}

/// `None` if the members contradict each other, or leave it open.
fn is_active(members: &Members) -> Option<bool> {
    if !members.active? || members.refresh {
        return Some(false);
    }
    members.exp.is_ok().then_some(true)
}

fn active(kind: Document, document: &[u8], sources: &[&Members]) -> Option<Outcome> {
    let until = sources.iter().filter_map(|members| members.exp.ok().flatten()).collect();
    let bound = sources.iter().any(|members| members.bound);
    Some(Outcome::Active { kind, document: document.to_vec(), until, bound })
}

/// In lower case, without parameters.
fn media_type(answer: &Answer<'_>) -> String {
    let end = answer.content_type.iter().position(|&byte| byte == b';');
    let media_type = trim(&answer.content_type[..end.unwrap_or(answer.content_type.len())]);
    String::from_utf8_lossy(media_type).to_ascii_lowercase()
}

fn trim(text: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !b" \t\r\n\x0c".contains(byte);
    let start = text.iter().position(is_text).unwrap_or(0);
    let end = text.iter().rposition(is_text).map_or(0, |end| end + 1);
    text.get(start..end).unwrap_or_default()
}
