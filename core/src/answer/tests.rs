//! What authorization servers answer, and what is made of it, whatever was asked for.

mod envelope;
mod exchange;
mod forward_claims;
mod forward_jwt;

use super::*;
use crate::jwt::JwtError;
use crate::jwt::tests::{HEADER, encode};
use crate::reason::Reason;
use crate::record::{CacheDirectives, State, UnixMillis};

const ASKED: UnixMillis = 1_700_000_000_000;
const NOW: UnixMillis = ASKED + 50;
const READING: Reading<'_> = Reading {
    mode: Mode::Jwt,
    verification: None,
    unverified_envelopes: false,
    members: MEMBERS,
    asked: ASKED,
    now: NOW,
};
const JSON: &str = "application/json";
const JWT: &str = "application/jwt";
const ENVELOPE: &str = "application/token-introspection+jwt";
const MEMBERS: &[&[u8]] = &[b"jwt", b"phantom_token", b"token_string"];
const DIRECTIVES: CacheDirectives = CacheDirectives { max_age: Some(7), uncacheable: true };

/// A verdict that owns its document.
#[derive(Debug, PartialEq)]
enum Found {
    Active { kind: Document, document: String, expires: Option<UnixMillis>, bound: bool },
    Inactive,
    Expired(Option<UnixMillis>),
}

type Outcome = Result<Found, AnswerError>;

fn found(verdict: &Verdict<'_>, mode: Mode) -> Found {
    let (Verdict::Active { record, .. } | Verdict::Inactive(record) | Verdict::Expired(record)) =
        verdict;
    assert_eq!(record.confirmed, ASKED);
    let directives = match mode {
        Mode::Jwt | Mode::Claims => DIRECTIVES,
        Mode::Exchange => CacheDirectives::default(),
    };
    assert_eq!(record.directives, directives);
    match verdict {
        Verdict::Active { document, record, .. } => {
            assert_eq!(record.state, State::Active);
            Found::Active {
                kind: record.document,
                document: String::from_utf8(document.to_vec()).unwrap(),
                expires: record.expires,
                bound: record.bound,
            }
        }
        Verdict::Inactive(record) => {
            assert_eq!(record.state, State::Inactive);
            assert_eq!(record.document, Document::Jwt);
            assert_eq!((record.expires, record.bound), (None, false));
            Found::Inactive
        }
        Verdict::Expired(record) => {
            assert_eq!(record.state, State::Expired);
            assert_eq!(record.document, Document::Jwt);
            Found::Expired(record.expires)
        }
    }
}

fn answer<'a>(status: u16, content_type: &'a str, body: &'a [u8]) -> Answer<'a> {
    let content_type = content_type.as_bytes();
    Answer { status, content_type, encoded: false, directives: DIRECTIVES, body }
}

fn judged(reading: &Reading<'_>, answer: &Answer<'_>) -> Outcome {
    let mut scratch = vec![0; scratch_len(answer.body.len())];
    judge(answer, reading, &mut scratch).map(|verdict| found(&verdict, reading.mode))
}

/// The answer under `forward jwt`.
fn read(answer: &Answer<'_>) -> Outcome {
    judged(&READING, answer)
}

fn ok(content_type: &str, body: &str) -> Outcome {
    read(&answer(200, content_type, body.as_bytes()))
}

fn token(payload: &str) -> String {
    encode(HEADER, payload.as_bytes())
}

fn active(jwt: &str) -> Found {
    active_until(jwt, None, false)
}

fn active_until(jwt: &str, expires: Option<UnixMillis>, bound: bool) -> Found {
    Found::Active { kind: Document::Jwt, document: jwt.to_owned(), expires, bound }
}

#[test]
fn statuses() {
    let cases: &[(u16, Result<Found, Reason>)] = &[
        (0, Err(Reason::ServerBadAnswer)),
        (101, Err(Reason::ServerBadAnswer)),
        (201, Err(Reason::ServerBadAnswer)),
        (202, Err(Reason::ServerBadAnswer)),
        (204, Ok(Found::Inactive)),
        (206, Err(Reason::ServerBadAnswer)),
        (301, Err(Reason::ServerBadAnswer)),
        (304, Err(Reason::ServerBadAnswer)),
        (308, Err(Reason::ServerBadAnswer)),
        (400, Err(Reason::ServerRefusedUs)),
        (401, Err(Reason::ServerRefusedUs)),
        (403, Err(Reason::ServerRefusedUs)),
        (404, Err(Reason::ServerRefusedUs)),
        (405, Err(Reason::ServerRefusedUs)),
        (406, Err(Reason::ServerRefusedUs)),
        (415, Err(Reason::ServerRefusedUs)),
        (429, Err(Reason::ServerBusy)),
        (499, Err(Reason::ServerRefusedUs)),
        (500, Err(Reason::ServerUnreachable)),
        (502, Err(Reason::ServerUnreachable)),
        (503, Err(Reason::ServerBusy)),
        (504, Err(Reason::ServerUnreachable)),
        (600, Err(Reason::ServerBadAnswer)),
        (u16::MAX, Err(Reason::ServerBadAnswer)),
    ];
    // A body that would be a verdict with status 200.
    let body = token("{}");
    for (status, expected) in cases {
        let found = read(&answer(*status, JWT, body.as_bytes()));
        if let Err(error) = &found {
            let shown =
                matches!(*status, 0 | 406) || error.to_string().contains(&status.to_string());
            assert!(shown, "{status}: {error}");
        }
        assert_eq!(&found.map_err(|error| error.reason()), expected, "{status}");
    }
}

#[test]
fn texts_tell_what_to_do() {
    let cases: &[(u16, &str)] = &[
        (0, "no status line"),
        (301, "trailing slash"),
        (304, "which means nothing here"),
        (400, "proxy_set_header Content-Type application/x-www-form-urlencoded"),
        (401, "phantom_token_client_credential"),
        (403, "phantom_token_client_credential"),
        (404, "proxy_pass"),
        (406, "phantom_token_accept"),
        (415, "proxy_pass_request_headers off"),
    ];
    for (status, hint) in cases {
        let text = AnswerError::of_status(*status).to_string();
        assert!(text.contains(hint), "{text}");
        assert!(!text.contains('\n') && !text.contains("  "), "{text}");
    }
    assert!(AnswerError::NoJwt.to_string().contains("Support JWT claim in Introspection Response"));
    assert!(AnswerError::NoJwt.to_string().contains("phantom_token_jwt_member"));
    assert!(AnswerError::Envelope.to_string().contains("phantom_token_accept"));
}

#[test]
fn media_types() {
    let jwt = token("{}");
    let json = format!(r#"{{"active":true,"jwt":"{jwt}"}}"#);
    for content_type in ["application/jwt", "Application/JWT", "application/jwt ; charset=utf-8"] {
        assert_eq!(ok(content_type, &jwt), Ok(active(&jwt)), "{content_type}");
        assert!(ok(content_type, &json).is_err());
    }
    for content_type in ["application/json", "APPLICATION/json;charset=utf-8", " application/json"]
    {
        assert_eq!(ok(content_type, &json), Ok(active(&jwt)), "{content_type}");
        assert!(ok(content_type, &jwt).is_err());
    }
    let envelope = "application/token-introspection+jwt; charset=utf-8";
    assert_eq!(ok(envelope, &jwt), Err(AnswerError::Envelope));
    let overlong = "x".repeat(65);
    let cases = [
        ("text/html", "200 with text/html instead"),
        ("", "200 with no Content-Type instead"),
        (";application/jwt", "200 with no Content-Type instead"),
        ("application/problem+json", "200 with application/problem+json instead"),
        ("application/jwtx", "200 with application/jwtx instead"),
        ("a\nb", "200 with an unprintable Content-Type instead"),
        ("ä", "200 with an unprintable Content-Type instead"),
        (&overlong, "200 with an overlong Content-Type instead"),
    ];
    for (content_type, part) in cases {
        for body in [&jwt, &json] {
            let error = ok(content_type, body).unwrap_err();
            assert_eq!(error.reason(), Reason::ServerBadAnswer);
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

#[test]
fn encoded_answers_are_not_read() {
    for (content_type, body) in [(JWT, token("{}")), (JSON, r#"{"active":false}"#.into())] {
        let answer = Answer { encoded: true, ..answer(200, content_type, body.as_bytes()) };
        assert_eq!(read(&answer), Err(AnswerError::Encoded));
    }
}

#[test]
fn too_little_scratch_is_our_fault() {
    let jwt = token("{}");
    let json = format!(r#"{{"active":true,"jwt":"{jwt}"}}"#);
    let exchange = format!(r#"{{"access_token":"{jwt}"}}"#);
    let envelope = token(r#"{"iss":"i","aud":"a","iat":1,"token_introspection":{"active":true}}"#);
    let cases = [
        (Mode::Jwt, JWT, &jwt, jwt.len()),
        (Mode::Jwt, JSON, &json, jwt.len()),
        (Mode::Claims, JWT, &jwt, jwt.len()),
        (Mode::Claims, ENVELOPE, &envelope, envelope.len()),
        (Mode::Exchange, JSON, &exchange, jwt.len()),
    ];
    for (mode, content_type, body, least) in cases {
        let reading = Reading { mode, unverified_envelopes: true, ..READING };
        let judged = |len| {
            let mut scratch = vec![0; len];
            let answer = answer(200, content_type, body.as_bytes());
            judge(&answer, &reading, &mut scratch).map(|verdict| found(&verdict, mode))
        };
        for len in [0, body.len() - 1, body.len(), body.len() + least - 1] {
            assert_eq!(judged(len).unwrap_err().reason(), Reason::Internal, "{mode:?} {len}");
        }
        assert!(matches!(judged(body.len() + least), Ok(Found::Active { .. })), "{mode:?}");
    }
}

#[test]
fn debug_keeps_the_jwt() {
    let jwt = token("{}");
    let reading = READING;
    let mut scratch = vec![0; scratch_len(jwt.len())];
    let verdict = judge(&answer(200, JWT, jwt.as_bytes()), &reading, &mut scratch).unwrap();
    let text = format!("{verdict:?}");
    assert!(text.starts_with("Active") && !text.contains(&jwt), "{text}");
}

/// Errors are logged: whatever the body has in it, none of it is shown.
#[test]
fn errors_keep_the_body() {
    let secret = "s3cr3t";
    let bodies = [
        secret.to_owned(),
        format!("{{\"active\":true,\"jwt\":\"{secret}\"}}"),
        format!("{{\"active\":true,\"exp\":\"{secret}\"}}"),
        format!("{{\"{secret}\":true}}"),
        format!("{{\"active\":true,{secret}"),
        format!("\"{secret}\""),
    ];
    let under = |mode| Reading { mode, unverified_envelopes: true, ..READING };
    for reading in [Mode::Jwt, Mode::Claims, Mode::Exchange].map(under) {
        for body in &bodies {
            for content_type in [JSON, JWT, ENVELOPE, "text/plain"] {
                let found = judged(&reading, &answer(200, content_type, body.as_bytes()));
                // Under `forward claims` one of them is a good answer: its `jwt` is a claim.
                let Err(error) = found else {
                    assert_eq!((reading.mode, content_type), (Mode::Claims, JSON), "{body}");
                    continue;
                };
                assert!(!format!("{error} {error:?}").contains(secret), "{error}");
            }
        }
    }
}
