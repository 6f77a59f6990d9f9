//! What authorization servers answer, and what is made of it.

use super::*;
use crate::jwt::JwtError;
use crate::jwt::tests::{HEADER, encode};
use crate::reason::Reason;

const ASKED: UnixMillis = 1_700_000_000_000;
const NOW: UnixMillis = ASKED + 50;
const READING: Reading<'_> = Reading {
    mode: Mode::Jwt,
    unverified_envelopes: false,
    members: MEMBERS,
    asked: ASKED,
    now: NOW,
};
const JSON: &str = "application/json";
const JWT: &str = "application/jwt";
const MEMBERS: &[&[u8]] = &[b"jwt", b"phantom_token", b"token_string"];

/// A verdict that owns its JWT.
#[derive(Debug, PartialEq)]
enum Found {
    Active(String, Option<UnixMillis>, bool),
    Inactive,
    Expired(Option<UnixMillis>),
}

fn found(verdict: &Verdict<'_>) -> Found {
    let (Verdict::Active { record, .. } | Verdict::Inactive(record) | Verdict::Expired(record)) =
        verdict;
    assert_eq!(record.confirmed, ASKED);
    assert_eq!(record.directives, DIRECTIVES);
    match verdict {
        Verdict::Active { document: jwt, record } => {
            assert_eq!(record.state, State::Active);
            let jwt = String::from_utf8(jwt.to_vec()).unwrap();
            Found::Active(jwt, record.expires, record.bound)
        }
        Verdict::Inactive(record) => {
            assert_eq!(record.state, State::Inactive);
            assert_eq!((record.expires, record.bound), (None, false));
            Found::Inactive
        }
        Verdict::Expired(record) => {
            assert_eq!(record.state, State::Expired);
            Found::Expired(record.expires)
        }
    }
}

const DIRECTIVES: CacheDirectives = CacheDirectives { max_age: Some(7), uncacheable: true };

fn answer<'a>(status: u16, content_type: &'a str, body: &'a [u8]) -> Answer<'a> {
    let content_type = content_type.as_bytes();
    Answer { status, content_type, encoded: false, directives: DIRECTIVES, body }
}

fn read(answer: &Answer<'_>) -> Result<Found, AnswerError> {
    let reading = READING;
    let mut scratch = vec![0; scratch_len(answer.body.len())];
    judge(answer, &reading, &mut scratch).map(|verdict| found(&verdict))
}

fn ok(content_type: &str, body: &str) -> Result<Found, AnswerError> {
    read(&answer(200, content_type, body.as_bytes()))
}

fn token(payload: &str) -> String {
    encode(HEADER, payload.as_bytes())
}

fn active(jwt: &str) -> Found {
    Found::Active(jwt.to_owned(), None, false)
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
            let shown = *status == 406 || error.to_string().contains(&status.to_string());
            assert!(shown, "{status}: {error}");
        }
        assert_eq!(&found.map_err(|error| error.reason()), expected, "{status}");
    }
}

#[test]
fn texts_tell_what_to_do() {
    let cases: &[(u16, &str)] = &[
        (301, "trailing slash"),
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
fn unsupported_token_type_is_the_clients_trouble() {
    let body = br#"{"error":"unsupported_token_type","error_description":"x"}"#;
    assert_eq!(read(&answer(400, "application/json;charset=UTF-8", body)), Ok(Found::Inactive));
    let refused = Err(AnswerError::Question(400));
    assert_eq!(read(&answer(400, "text/html", body)), refused);
    assert_eq!(read(&answer(400, JSON, br#"{"error":"invalid_request"}"#)), refused);
    assert_eq!(read(&answer(400, JSON, br#"{"error":"unsupported_token_type""#)), refused);
    assert_eq!(read(&Answer { encoded: true, ..answer(400, JSON, body) }), refused);
    let twice = br#"{"error":"x","error":"unsupported_token_type"}"#;
    assert_eq!(read(&answer(400, JSON, twice)), refused);
    assert_eq!(read(&answer(401, JSON, body)), Err(AnswerError::Credentials(401)));
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
fn a_jwt_as_the_body() {
    let of_kind =
        |typ: &str| encode(format!(r#"{{"alg":"RS256","typ":"{typ}"}}"#).as_bytes(), b"{}");
    let plain = token(r#"{"sub":"x"}"#);
    let cases: &[(String, Result<Found, AnswerError>)] = &[
        (plain.clone(), Ok(active(&plain))),
        (format!("\r\n {plain}\t\n"), Ok(active(&plain))),
        (token(r#"{"active":false}"#), Ok(Found::Inactive)),
        (token(r#"{"active":"true"}"#), Ok(Found::Inactive)),
        (token(r#"{"active":true,"sub":"x"}"#), Err(AnswerError::Flat)),
        (token(r#"{"typ":"Refresh"}"#), Ok(Found::Inactive)),
        (token(r#"{"token_introspection":{"active":true}}"#), Err(AnswerError::Envelope)),
        (token(r#"{"token_introspection":{},"active":false}"#), Err(AnswerError::Envelope)),
        (of_kind("token-introspection+jwt"), Err(AnswerError::Envelope)),
        (of_kind("logout+jwt"), Err(AnswerError::Jwt(JwtError::OtherKind))),
        (encode(br#"{"alg":"none"}"#, b"{}"), Err(AnswerError::Jwt(JwtError::Unsecured))),
        (format!("{plain} {plain}"), Err(AnswerError::Jwt(JwtError::NotCompact))),
        (format!("\"{plain}\""), Err(AnswerError::Jwt(JwtError::NotCompact))),
        (format!("{plain}\r\nX: y"), Err(AnswerError::Jwt(JwtError::NotCompact))),
        ("opaque".into(), Err(AnswerError::Jwt(JwtError::NotCompact))),
        (token(r#"{"exp":"x"}"#), Err(AnswerError::Jwt(JwtError::Exp))),
        (String::new(), Err(AnswerError::Empty)),
        (" \r\n".into(), Err(AnswerError::Empty)),
    ];
    for (body, expected) in cases {
        assert_eq!(&ok(JWT, body), expected, "{body}");
    }
}

#[test]
fn a_jwt_in_a_member() {
    let a = token(r#"{"sub":"a"}"#);
    let b = token(r#"{"sub":"b"}"#);
    let escaped: String = a.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let answers =
        |json: &str| json.replace("A.A.A", &a).replace("B.B.B", &b).replace("ESC", &escaped);
    let cases: &[(&str, Result<Found, AnswerError>)] = &[
        (r#"{"active":true,"jwt":"A.A.A"}"#, Ok(active(&a))),
        (r#" {"jwt":"A.A.A","x":{"active":false},"active":true} "#, Ok(active(&a))),
        (r#"{"active":true,"phantom_token":"A.A.A"}"#, Ok(active(&a))),
        (r#"{"active":true,"token_string":"A.A.A"}"#, Ok(active(&a))),
        (r#"{"active":true,"jwt":"ESC"}"#, Ok(active(&a))),
        (r#"{"active":true,"\u006awt":"A.A.A"}"#, Ok(active(&a))),
        // The operator's order counts, not the server's.
        (r#"{"active":true,"token_string":"B.B.B","jwt":"A.A.A"}"#, Ok(active(&a))),
        (r#"{"active":true,"jwt":"A.A.A","token_string":"B.B.B"}"#, Ok(active(&a))),
        (r#"{"active":true,"token_string":"B.B.B","jwt":"ESC"}"#, Ok(active(&a))),
        (r#"{"active":true,"token_string":"ESC","jwt":"B.B.B"}"#, Ok(active(&b))),
        (r#"{"active":true,"jwt":null,"token_string":"B.B.B"}"#, Ok(active(&b))),
        (r#"{"active":true,"jwt":"","token_string":"B.B.B"}"#, Ok(active(&b))),
        (r#"{"active":true,"jwt":{},"token_string":"B.B.B"}"#, Ok(active(&b))),
        (
            r#"{"active":true,"jwt":"x","token_string":"B.B.B"}"#,
            Err(AnswerError::Jwt(JwtError::NotCompact)),
        ),
        (r#"{"active":true,"jwt":" A.A.A"}"#, Err(AnswerError::Jwt(JwtError::NotCompact))),
        (r#"{"active":true,"jwt":"A.A.A\r\n"}"#, Err(AnswerError::Jwt(JwtError::NotCompact))),
        (r#"{"active":true}"#, Err(AnswerError::NoJwt)),
        (r#"{"active":true,"access_token":"A.A.A"}"#, Err(AnswerError::NoJwt)),
        (r#"{"active":true,"jwt":"A.A.A","jwt":"A.A.A"}"#, Err(AnswerError::Repeated)),
        (r#"{"active":true,"jwt":null,"jwt":"A.A.A"}"#, Err(AnswerError::Repeated)),
        (r#"{"active":true,"active":true,"jwt":"A.A.A"}"#, Err(AnswerError::Repeated)),
        (r#"{"active":false,"active":true,"jwt":"A.A.A"}"#, Err(AnswerError::Repeated)),
        (r#"{"active":true,"jwt":"A.A.A","sub":"x","sub":"y"}"#, Ok(active(&a))),
    ];
    for (json, expected) in cases {
        assert_eq!(&ok(JSON, &answers(json)), expected, "{json}");
    }
}

#[test]
fn inactive_in_json() {
    let jwt = token("{}");
    for active in ["false", "null", "0", "1", r#""true""#, r#""""#, "[true]", r#"{"a":true}"#] {
        let json = format!(r#"{{"active":{active},"exp":"x","jwt":"{jwt}"}}"#);
        assert_eq!(ok(JSON, &json), Ok(Found::Inactive), "{json}");
    }
    for kind in [
        r#""token_type":"refresh_token""#,
        r#""token_type":"Refresh_Token""#,
        r#""typ":"Refresh""#,
        r#""typ":"Offline""#,
    ] {
        for jwt in ["", r#","jwt":"A""#] {
            let json = format!(r#"{{"active":true,{kind}{jwt}}}"#);
            assert_eq!(ok(JSON, &json), Ok(Found::Inactive), "{json}");
        }
    }
    let json = format!(r#"{{"active":true,"token_type":"DPoP","typ":"Bearer","jwt":"{jwt}"}}"#);
    assert_eq!(ok(JSON, &json), Ok(active(&jwt)));
}

#[test]
fn a_jwt_that_contradicts_its_answer() {
    let json = |payload: &str| format!(r#"{{"active":true,"jwt":"{}"}}"#, token(payload));
    let cases: &[(&str, Result<Found, AnswerError>)] = &[
        (r#"{"active":false}"#, Err(AnswerError::Inconsistent)),
        (r#"{"active":1}"#, Err(AnswerError::Inconsistent)),
        (r#"{"token_introspection":{}}"#, Err(AnswerError::Envelope)),
        (r#"{"typ":"Offline"}"#, Ok(Found::Inactive)),
        (r#"{"active":true}"#, Ok(active(&token(r#"{"active":true}"#)))),
    ];
    for (payload, expected) in cases {
        assert_eq!(&ok(JSON, &json(payload)), expected, "{payload}");
    }
}

#[test]
fn no_json_answer() {
    let cases: &[(&str, AnswerError)] = &[
        ("", AnswerError::Empty),
        ("[]", AnswerError::Json(JsonError::NotAnObject)),
        ("true", AnswerError::Json(JsonError::NotAnObject)),
        ("{}", AnswerError::NoActive),
        (r#"{"error":"invalid_request"}"#, AnswerError::NoActive),
        (r#"{"Active":true,"jwt":"x"}"#, AnswerError::NoActive),
        ("<html>", AnswerError::Json(JsonError::Syntax { line: 1, column: 1 })),
        (r#"{"active":false}x"#, AnswerError::Json(JsonError::Syntax { line: 1, column: 17 })),
    ];
    for (body, error) in cases {
        assert_eq!(ok(JSON, body), Err(*error), "{body}");
    }
    let invalid = b"{\"active\":false,\"sub\":\"\xff\"}";
    assert_eq!(read(&answer(200, JSON, invalid)), Err(AnswerError::Json(JsonError::Encoding)));
    let deep = format!(r#"{{"active":false,"x":{}"#, "[".repeat(100_000));
    assert!(matches!(ok(JSON, &deep), Err(AnswerError::Json(JsonError::Syntax { .. }))));
}

#[test]
fn encoded_answers_are_not_read() {
    for (content_type, body) in [(JWT, token("{}")), (JSON, r#"{"active":false}"#.into())] {
        let answer = Answer { encoded: true, ..answer(200, content_type, body.as_bytes()) };
        assert_eq!(read(&answer), Err(AnswerError::Encoded));
    }
}

#[test]
fn the_earliest_exp_counts() {
    let second = |seconds: i64| ASKED / 1_000 + seconds;
    // exp of the answer and of the JWT, in seconds from the question; what is known in the end.
    let cases: &[(Option<i64>, Option<i64>, Option<i64>)] = &[
        (None, None, None),
        (Some(60), None, Some(60)),
        (None, Some(60), Some(60)),
        (Some(60), Some(90), Some(60)),
        (Some(90), Some(60), Some(60)),
        (Some(0), Some(60), Some(0)),
        (Some(60), Some(0), Some(0)),
        (Some(-1), None, Some(-1)),
        (None, Some(-1), Some(-1)),
    ];
    for (beside, inside, earliest) in cases {
        let exp = |exp: &Option<i64>| exp.map(|exp| format!(r#""exp":{},"#, second(exp)));
        let jwt = token(&format!(r#"{{{}"sub":"x"}}"#, exp(inside).unwrap_or_default()));
        let json = format!(r#"{{"active":true,{}"jwt":"{jwt}"}}"#, exp(beside).unwrap_or_default());
        let expires = earliest.map(|earliest| second(earliest) * 1_000);
        let expected = if expires.is_some_and(|expires| expires <= NOW) {
            Found::Expired(expires)
        } else {
            Found::Active(jwt, expires, false)
        };
        assert_eq!(ok(JSON, &json), Ok(expected), "{json}");
    }
    let json = format!(r#"{{"active":true,"exp":[],"jwt":"{}"}}"#, token("{}"));
    assert_eq!(ok(JSON, &json), Err(AnswerError::Exp));
    let expired = token(r#"{"exp":-1}"#);
    assert_eq!(ok(JWT, &expired), Ok(Found::Expired(Some(-1_000))));
}

#[test]
fn cnf_binds_wherever_it_is() {
    let plain = token("{}");
    let bound = token(r#"{"cnf":{"jkt":"x"}}"#);
    assert_eq!(ok(JWT, &bound), Ok(Found::Active(bound.clone(), None, true)));
    let cases = [
        (r#""cnf":{"x5t#S256":"x"},"#, &plain, true),
        ("", &bound, true),
        (r#""cnf":null,"#, &bound, true),
        (r#""cnf":null,"#, &plain, false),
        ("", &plain, false),
    ];
    for (cnf, jwt, expected) in cases {
        let json = format!(r#"{{"active":true,{cnf}"jwt":"{jwt}"}}"#);
        assert_eq!(ok(JSON, &json), Ok(Found::Active(jwt.clone(), None, expected)), "{json}");
    }
}

#[test]
fn too_little_scratch_is_our_fault() {
    let jwt = token("{}");
    let json = format!(r#"{{"active":true,"jwt":"{jwt}"}}"#);
    let reading = READING;
    for (content_type, body) in [(JWT, &jwt), (JSON, &json)] {
        for len in [0, body.len() - 1, body.len(), body.len() + jwt.len() - 1] {
            let mut scratch = vec![0; len];
            let error = judge(&answer(200, content_type, body.as_bytes()), &reading, &mut scratch);
            assert_eq!(error.unwrap_err().reason(), Reason::Internal, "{content_type} {len}");
        }
    }
}

#[test]
fn members_beyond_the_limit_are_not_searched() {
    let names: Vec<String> = (0..=MAX_MEMBERS).map(|number| format!("m{number}")).collect();
    let members: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
    let reading = Reading { members: &members, ..READING };
    for (number, expected) in [(MAX_MEMBERS - 1, true), (MAX_MEMBERS, false)] {
        let json = format!(r#"{{"active":true,"m{number}":"{}"}}"#, token("{}"));
        let mut scratch = vec![0; scratch_len(json.len())];
        let verdict = judge(&answer(200, JSON, json.as_bytes()), &reading, &mut scratch);
        assert_eq!(verdict.is_ok(), expected, "{number}");
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
    for body in &bodies {
        for content_type in [JSON, JWT, "text/plain"] {
            let error = ok(content_type, body).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(secret), "{error}");
        }
    }
}
