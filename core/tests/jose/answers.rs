//! Answers whose JWTs must verify: what is judged without keys is judged with them, or refused.

use phantom_token_core::answer::{
    Answer, AnswerError, Mode, Reading, Verdict, Verification, judge, scratch_len,
};
use phantom_token_core::jose::{KeySet, VerifyError};
use phantom_token_core::reason::Reason;
use phantom_token_core::record::{CacheDirectives, Document};

use crate::support::*;

const JSON: &str = "application/json";
const JWT: &str = "application/jwt";
const SIGNED: &str = "application/token-introspection+jwt";

#[derive(Debug, PartialEq)]
enum Found {
    Active(Document, Option<i64>),
    Inactive,
    Expired,
}

type Outcome = Result<Found, AnswerError>;

fn read(keys: &KeySet, mode: Mode, signed_only: bool, content_type: &str, body: &str) -> Outcome {
    let verification = Some(Verification { keys, expect: EXPECT, signed_only });
    let reading = Reading {
        mode,
        verification,
        unverified_envelopes: false,
        members: &[b"jwt"],
        asked: NOW - 10,
        now: NOW,
    };
    let answer = Answer {
        status: 200,
        content_type: content_type.as_bytes(),
        encoded: false,
        directives: CacheDirectives::default(),
        body: body.as_bytes(),
    };
    match judge(&answer, &reading, &mut vec![0; scratch_len(body.len())])? {
        Verdict::Active { document, record, .. } => {
            assert!(body.as_bytes().windows(document.len()).any(|it| it == document));
            Ok(Found::Active(record.document, record.expires))
        }
        Verdict::Inactive(_) => Ok(Found::Inactive),
        Verdict::Expired(_) => Ok(Found::Expired),
    }
}

/// Each way in which a JWT comes, with how it is read and what it becomes.
fn ways(jwt: &str) -> Vec<(Mode, &'static str, String, Document)> {
    vec![
        (Mode::Jwt, JWT, jwt.to_owned(), Document::Jwt),
        (Mode::Jwt, JSON, format!(r#"{{"active":true,"jwt":"{jwt}"}}"#), Document::Jwt),
        (Mode::Claims, JWT, format!("\n{jwt}\n"), Document::ClaimsJwt),
        (
            Mode::Exchange,
            JSON,
            format!(r#"{{"access_token":"{jwt}","expires_in":9}}"#),
            Document::Exchanged,
        ),
    ]
}

fn signed(claims: &str) -> String {
    p256().jwt("ES256", r#"{"alg":"ES256"}"#, claims)
}

fn around(inside: &str) -> String {
    let header = r#"{"alg":"ES256","typ":"token-introspection+jwt"}"#;
    let payload = format!(
        r#"{{"iss":"{ISSUER}","aud":"api","iat":1700000000,"token_introspection":{inside}}}"#
    );
    p256().jwt("ES256", header, &payload)
}

#[test]
fn what_verifies_is_active() {
    let keys = all_keys();
    for algorithm in ALGORITHMS {
        for (mode, content_type, body, document) in ways(&token(algorithm)) {
            let expires = if mode == Mode::Exchange { NOW + 8_990 } else { NOW + 60_000 };
            let found = read(&keys, mode, true, content_type, &body);
            assert_eq!(found, Ok(Found::Active(document, Some(expires))), "{algorithm} {mode:?}");
        }
        let found = read(&keys, Mode::Claims, true, SIGNED, &envelope(algorithm));
        assert_eq!(found, Ok(Found::Active(Document::Envelope, Some(NOW + 60_000))));
    }
}

#[test]
fn what_does_not_verify_is_the_servers_fault() {
    let keys = all_keys();
    let forged = new_p256().jwt("ES256", r#"{"alg":"ES256"}"#, CLAIMS);
    let unknown = p256().jwt("ES256", r#"{"alg":"ES256","kid":"new"}"#, CLAIMS);
    let cases = [
        (forged, VerifyError::Signature),
        (unknown, VerifyError::UnknownKid),
        (signed(&CLAIMS.replace("as.example", "other.example")), VerifyError::Issuer),
        (signed(&CLAIMS.replace("\"api\"", "\"else\"")), VerifyError::Audience),
        (
            signed(&CLAIMS.replace(r#""nbf":1699999990"#, r#""nbf":1700000031"#)),
            VerifyError::NotYet,
        ),
        (
            signed(&CLAIMS.replace(r#""iat":1699999990"#, r#""iat":1700000031"#)),
            VerifyError::NotYet,
        ),
    ];
    for (jwt, error) in cases {
        for (mode, content_type, body, _) in ways(&jwt) {
            let found = read(&keys, mode, false, content_type, &body);
            assert_eq!(found, Err(AnswerError::Unverifiable(error)), "{mode:?}");
        }
    }
    let error = AnswerError::Unverifiable(VerifyError::Signature);
    assert_eq!(error.reason(), Reason::ServerBadAnswer);
    assert!(error.to_string().contains("phantom_token_jwks"));
}

/// That a token is over is for the client to hear, as without keys.
#[test]
fn what_is_over_is_expired() {
    let keys = all_keys();
    for (mode, content_type, body, _) in ways(&signed(&CLAIMS.replace("1700000060", "1700000000")))
    {
        let expected =
            if mode == Mode::Exchange { Err(AnswerError::Over) } else { Ok(Found::Expired) };
        assert_eq!(read(&keys, mode, false, content_type, &body), expected, "{mode:?}");
    }
    let inside = r#"{"active":true,"exp":1700000000}"#;
    let found = read(&keys, Mode::Claims, false, SIGNED, &around(inside));
    assert_eq!(found, Ok(Found::Expired));
    // But not of a JWT that is over and somebody else's.
    let forged = new_p256().jwt("ES256", r#"{"alg":"ES256"}"#, r#"{"exp":1}"#);
    let found = read(&keys, Mode::Jwt, false, JWT, &forged);
    assert_eq!(found, Err(AnswerError::Unverifiable(VerifyError::Signature)));
}

/// Nobody but the server says so.
#[test]
fn what_says_inactive_is_verified_too() {
    let keys = all_keys();
    let claims = CLAIMS.replacen('{', r#"{"active":false,"#, 1);
    assert_eq!(read(&keys, Mode::Jwt, false, JWT, &signed(&claims)), Ok(Found::Inactive));
    let forged = new_p256().jwt("ES256", r#"{"alg":"ES256"}"#, &claims);
    let error = Err(AnswerError::Unverifiable(VerifyError::Signature));
    assert_eq!(read(&keys, Mode::Jwt, false, JWT, &forged), error);
    let found = read(&keys, Mode::Claims, false, SIGNED, &around(r#"{"active":false}"#));
    assert_eq!(found, Ok(Found::Inactive));
}

#[test]
fn envelopes() {
    let keys = all_keys();
    let good = envelope("ES256");
    let forged =
        new_p256().jwt("ES256", r#"{"alg":"ES256","typ":"token-introspection+jwt"}"#, ENVELOPE);
    let found = read(&keys, Mode::Claims, false, SIGNED, &forged);
    assert_eq!(found, Err(AnswerError::Unverifiable(VerifyError::Signature)));
    // Verified or not, it is no access token.
    assert_eq!(read(&keys, Mode::Jwt, false, SIGNED, &good), Err(AnswerError::Envelope));
    assert_eq!(read(&keys, Mode::Claims, false, JWT, &good), Err(AnswerError::Mislabelled));
    // One that is over itself says nothing of the token.
    let over = around(r#"{"active":true},"exp":1700000000,"x":{}"#);
    let found = read(&keys, Mode::Claims, false, SIGNED, &over);
    assert_eq!(found, Err(AnswerError::Unverifiable(VerifyError::Expired)));
}

#[test]
fn json_without_a_jwt() {
    let keys = all_keys();
    let active = r#"{"active":true,"exp":1700000060}"#;
    let found = read(&keys, Mode::Claims, false, JSON, active);
    assert_eq!(found, Ok(Found::Active(Document::Json, Some(NOW + 60_000))));
    let found = read(&keys, Mode::Claims, true, JSON, active);
    assert_eq!(found, Err(AnswerError::Unsigned));
    assert_eq!(AnswerError::Unsigned.reason(), Reason::ServerBadAnswer);
    for inactive in [r#"{"active":false}"#, r#"{"active":true,"token_type":"refresh_token"}"#] {
        assert_eq!(read(&keys, Mode::Claims, true, JSON, inactive), Ok(Found::Inactive));
    }
}
