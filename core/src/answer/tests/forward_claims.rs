//! `forward claims`: the verdict and the claims count, and no JWT goes upstream.

use super::*;

const CLAIMS: Reading<'_> = Reading { mode: Mode::Claims, ..READING };

fn claims(content_type: &str, body: &str) -> Outcome {
    judged(&CLAIMS, &answer(200, content_type, body.as_bytes()))
}

fn of_kind(kind: Document, document: &str) -> Found {
    Found::Active { kind, document: document.to_owned(), expires: None, bound: false }
}

#[test]
fn the_members_are_the_claims() {
    let jwt = token(r#"{"active":false}"#);
    let bodies = [
        r#"{"active":true}"#.to_owned(),
        r#"{"active":true,"sub":"a","sub":"b"}"#.to_owned(),
        r#"{"sub":"x","active":true,"scope":"a b","aud":["x"],"token_type":"Bearer"}"#.to_owned(),
        // What would hold a JWT under `forward jwt` is a claim like any other.
        format!(r#"{{"active":true,"jwt":"{jwt}","phantom_token":1,"jwt":null}}"#),
        r#"{"active":true,"cnf":null,"nbf":null,"exp":null}"#.to_owned(),
    ];
    for body in &bodies {
        assert_eq!(claims(JSON, body), Ok(of_kind(Document::Json, body)), "{body}");
        let padded = format!("\r\n {body}\t");
        assert_eq!(claims(JSON, &padded), Ok(of_kind(Document::Json, body)), "{body}");
    }
}

#[test]
fn what_is_no_verdict_in_json() {
    let cases: &[(&str, Outcome)] = &[
        (r#"{"active":false,"sub":"x"}"#, Ok(Found::Inactive)),
        (r#"{"active":"true"}"#, Ok(Found::Inactive)),
        (r#"{"active":1}"#, Ok(Found::Inactive)),
        (r#"{"active":null}"#, Ok(Found::Inactive)),
        (r#"{"active":true,"token_type":"refresh_token"}"#, Ok(Found::Inactive)),
        (r#"{"active":true,"typ":"Offline"}"#, Ok(Found::Inactive)),
        (r#"{"sub":"x","scope":"admin"}"#, Err(AnswerError::NoActive)),
        (r#"{"token_introspection":{"active":true}}"#, Err(AnswerError::NoActive)),
        (r#"{"active":true,"active":true}"#, Err(AnswerError::Repeated)),
        (r#"{"active":false,"\u0061ctive":true}"#, Err(AnswerError::Repeated)),
        (r#"{"active":true,"exp":1,"e\u0078p":9999999999}"#, Err(AnswerError::Repeated)),
        (r#"{"active":true,"cnf":{},"cnf":null}"#, Err(AnswerError::Repeated)),
        (r#"{"active":true,"exp":"soon"}"#, Err(AnswerError::Exp)),
        ("[true]", Err(AnswerError::Json(JsonError::NotAnObject))),
        (r#"{"active":true}{"active":true}"#, Err(AnswerError::Json(syntax(16)))),
        ("<html><body>active</body></html>", Err(AnswerError::Json(syntax(1)))),
        (" ", Err(AnswerError::Empty)),
    ];
    for (body, expected) in cases {
        assert_eq!(&claims(JSON, body), expected, "{body}");
    }
    let html = claims("text/html", r#"{"active":true}"#).unwrap_err();
    assert!(html.to_string().contains("200 with text/html instead"), "{html}");
}

fn syntax(column: usize) -> JsonError {
    JsonError::Syntax { line: 1, column }
}

/// A form feed is blank to some readers, and nothing that JSON may have in it.
#[test]
fn blanks_are_those_of_json() {
    for body in ["{\"active\":true}\u{c}", "\u{c}{\"active\":true}", "{\"active\":true}\u{b}"] {
        let found = claims(JSON, body);
        assert!(matches!(found, Err(AnswerError::Json(JsonError::Syntax { .. }))), "{found:?}");
    }
}

#[test]
fn exp_and_cnf_in_json() {
    let body = r#"{"active":true,"exp":1700000060.9,"cnf":{"x5t#S256":"x"}}"#;
    let expected = Found::Active {
        kind: Document::Json,
        document: body.to_owned(),
        expires: Some(1_700_000_060_000),
        bound: true,
    };
    assert_eq!(claims(JSON, body), Ok(expected));
    let over = Found::Expired(Some(ASKED));
    assert_eq!(claims(JSON, r#"{"active":true,"exp":1700000000}"#), Ok(over));
    assert_eq!(claims(JSON, r#"{"active":true,"exp":0}"#), Ok(Found::Expired(Some(0))));
}

/// Flat introspection JWTs (Connect2id before 9.1, PingAM), and access tokens.
#[test]
fn a_jwt_as_the_body_gives_its_claims() {
    for payload in [r#"{"active":true,"sub":"x"}"#, r#"{"sub":"x"}"#, r#"{"aud":[],"x":null}"#] {
        let jwt = token(payload);
        assert_eq!(claims(JWT, &jwt), Ok(of_kind(Document::ClaimsJwt, &jwt)), "{payload}");
        assert_eq!(claims(JWT, &format!(" {jwt}\n")), Ok(of_kind(Document::ClaimsJwt, &jwt)));
    }
    let bound = token(r#"{"active":true,"exp":1700000060,"cnf":{"jkt":"x"}}"#);
    let expected = Found::Active {
        kind: Document::ClaimsJwt,
        document: bound.clone(),
        expires: Some(1_700_000_060_000),
        bound: true,
    };
    assert_eq!(claims(JWT, &bound), Ok(expected));
    let cases: &[(String, Outcome)] = &[
        (token(r#"{"active":false,"sub":"x"}"#), Ok(Found::Inactive)),
        (token(r#"{"active":"true"}"#), Ok(Found::Inactive)),
        (token(r#"{"active":true,"token_type":"refresh_token"}"#), Ok(Found::Inactive)),
        (token(r#"{"active":true,"exp":1}"#), Ok(Found::Expired(Some(1_000)))),
        (token(r#"{"active":true,"exp":{}}"#), Err(AnswerError::Jwt(JwtError::Exp))),
        (token(r#"{"active":false,"active":true}"#), Err(AnswerError::Jwt(JwtError::Repeated))),
        (encode(br#"{"alg":"none"}"#, b"{}"), Err(AnswerError::Jwt(JwtError::Unsecured))),
        (
            encode(br#"{"alg":"RS256","typ":"logout+jwt"}"#, b"{}"),
            Err(AnswerError::Jwt(JwtError::OtherKind)),
        ),
        ("e30.e30.e30.e30.e30".into(), Err(AnswerError::Jwt(JwtError::Encrypted))),
        (r#"{"active":true}"#.into(), Err(AnswerError::Jwt(JwtError::NotCompact))),
    ];
    for (body, expected) in cases {
        assert_eq!(&claims(JWT, body), expected, "{body}");
    }
}

/// The type that the server gives decides, and it says that this is no envelope.
#[test]
fn an_envelope_under_another_type_is_refused() {
    let inside = r#"{"iss":"i","aud":"a","iat":1,"token_introspection":{"active":true}}"#;
    let header = br#"{"alg":"RS256","typ":"token-introspection+jwt"}"#;
    for body in [encode(header, inside.as_bytes()), encode(header, b"{}"), token(inside)] {
        for unverified_envelopes in [false, true] {
            let reading = Reading { unverified_envelopes, ..CLAIMS };
            let found = judged(&reading, &answer(200, JWT, body.as_bytes()));
            assert_eq!(found, Err(AnswerError::Mislabelled), "{body}");
        }
        assert_eq!(ok(JWT, &body), Err(AnswerError::Envelope), "{body}");
    }
    let text = AnswerError::Mislabelled.to_string();
    assert!(text.contains("phantom_token_accept application/token-introspection+jwt"), "{text}");
}

#[test]
fn statuses_mean_the_same_without_a_jwt() {
    let body = br#"{"active":true,"error":"unsupported_token_type"}"#;
    for status in (0..=700).filter(|status| *status != 200) {
        let answer = answer(status, JSON, body);
        assert_eq!(judged(&CLAIMS, &answer), read(&answer), "{status}");
    }
}
