//! Token exchange (RFC 8693).

use super::*;

const EXCHANGE: Reading<'_> = Reading { mode: Mode::Exchange, ..READING };
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";

fn read(answer: &Answer<'_>) -> Outcome {
    judged(&EXCHANGE, answer)
}

fn ok(body: &str) -> Outcome {
    read(&answer(200, JSON, body.as_bytes()))
}

/// An answer with that JWT, and more members.
fn issued(jwt: &str, more: &str) -> String {
    format!(r#"{{"access_token":"{jwt}"{more}}}"#)
}

fn given(jwt: &str, expires: Option<UnixMillis>, bound: bool) -> Found {
    Found::Active { kind: Document::Exchanged, document: jwt.to_owned(), expires, bound }
}

#[test]
fn a_whole_answer() {
    let jwt = token(r#"{"sub":"x","exp":1700000600}"#);
    for kind in [JWT_TYPE, ACCESS_TOKEN] {
        let body = issued(
            &jwt,
            &format!(
                r#","issued_token_type":"{kind}","token_type":"Bearer","expires_in":60,"scope":"a",
                "refresh_token":"r","active":false,"exp":1,"cnf":{{}},"error":"x","error":"y""#
            ),
        );
        let expected = Ok(given(&jwt, Some(ASKED + 60_000), false));
        assert_eq!(ok(&body), expected, "{body}");
        let media_type = "Application/JSON; charset=UTF-8";
        assert_eq!(read(&answer(200, media_type, body.as_bytes())), expected);
    }
    // The members are optional here, but for the JWT.
    let jwt = token("{}");
    assert_eq!(ok(&issued(&jwt, "")), Ok(given(&jwt, None, false)));
    let escaped: String = jwt.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    assert_eq!(ok(&issued(&escaped, "")), Ok(given(&jwt, None, false)));
}

#[test]
fn no_access_token() {
    let jwt = token("{}");
    let cases: &[(String, AnswerError)] = &[
        ("{}".into(), AnswerError::NoAccessToken),
        (r#"{"access_token":""}"#.into(), AnswerError::NoAccessToken),
        (r#"{"access_token":null}"#.into(), AnswerError::NoAccessToken),
        (format!(r#"{{"access_token":["{jwt}"]}}"#), AnswerError::NoAccessToken),
        (format!(r#"{{"Access_token":"{jwt}"}}"#), AnswerError::NoAccessToken),
        (format!(r#"{{"active":true,"jwt":"{jwt}"}}"#), AnswerError::NoAccessToken),
        (r#"{"error":"invalid_grant"}"#.into(), AnswerError::NoAccessToken),
        (issued("opaque", ""), AnswerError::Jwt(JwtError::NotCompact)),
        (issued(&format!(" {jwt}"), ""), AnswerError::Jwt(JwtError::NotCompact)),
        (issued(&format!("{jwt}\\r\\nX: y"), ""), AnswerError::Jwt(JwtError::NotCompact)),
        (issued("a.b.c.d.e", ""), AnswerError::Jwt(JwtError::Encrypted)),
        (issued(&encode(br#"{"alg":"none"}"#, b"{}"), ""), AnswerError::Jwt(JwtError::Unsecured)),
        (issued(&token(r#"{"exp":"x"}"#), ""), AnswerError::Jwt(JwtError::Exp)),
        (issued(&token(r#"{"exp":1,"exp":2}"#), ""), AnswerError::Jwt(JwtError::Repeated)),
        ("[]".into(), AnswerError::Json(JsonError::NotAnObject)),
        ("".into(), AnswerError::Empty),
    ];
    for (body, error) in cases {
        assert_eq!(ok(body), Err(*error), "{body}");
    }
    for body in [jwt.as_str(), &issued(&jwt, "")] {
        for content_type in [JWT, ENVELOPE, "text/html", "", "application/problem+json"] {
            let error = read(&answer(200, content_type, body.as_bytes())).unwrap_err();
            assert!(matches!(error, AnswerError::TokenContentType(_)), "{content_type}: {error:?}");
            assert_eq!(error.reason(), Reason::ServerBadAnswer);
            assert!(error.to_string().contains("token endpoint"), "{error}");
        }
    }
    let encoded = Answer { encoded: true, ..answer(200, JSON, b"{}") };
    assert_eq!(read(&encoded), Err(AnswerError::Encoded));
}

/// What the JWT says of itself is the server's doing. It must not be taken for a word on the client's token.
#[test]
fn what_was_issued_is_no_access_token() {
    let typed = encode(br#"{"alg":"RS256","typ":"token-introspection+jwt"}"#, b"{}");
    for jwt in [
        token(r#"{"active":true}"#),
        token(r#"{"active":false}"#),
        token(r#"{"active":null}"#),
        token(r#"{"token_introspection":{"active":false}}"#),
        token(r#"{"typ":"Refresh"}"#),
        token(r#"{"typ":"Offline","exp":1}"#),
        token(r#"{"token_type":"refresh_token"}"#),
        typed,
    ] {
        assert_eq!(ok(&issued(&jwt, "")), Err(AnswerError::IssuedType), "{jwt}");
    }
    let jwt = token("{}");
    for kind in [
        r#""urn:ietf:params:oauth:token-type:refresh_token""#,
        r#""urn:ietf:params:oauth:token-type:id_token""#,
        r#""urn:ietf:params:oauth:token-type:saml2""#,
        r#""URN:ietf:params:oauth:token-type:jwt""#,
        r#""jwt""#,
        r#""""#,
        "null",
        "1",
        r#"["urn:ietf:params:oauth:token-type:jwt"]"#,
    ] {
        let body = issued(&jwt, &format!(r#","issued_token_type":{kind}"#));
        assert_eq!(ok(&body), Err(AnswerError::IssuedType), "{kind}");
    }
    assert!(AnswerError::IssuedType.to_string().contains("requested_token_type"));
    let other = encode(br#"{"alg":"RS256","typ":"logout+jwt"}"#, b"{}");
    assert_eq!(ok(&issued(&other, "")), Err(AnswerError::Jwt(JwtError::OtherKind)));
}

#[test]
fn members_that_are_there_twice() {
    let jwt = token("{}");
    for member in ["access_token", "expires_in", "issued_token_type", "token_type"] {
        for again in [member.to_owned(), member.replace('_', "\\u005F")] {
            let body = issued(&jwt, &format!(r#","{member}":null,"{again}":null"#));
            assert_eq!(ok(&body), Err(AnswerError::Repeated), "{body}");
        }
    }
    let twice = issued(&jwt, &format!(r#","\u0061ccess_token":"{jwt}""#));
    assert_eq!(ok(&twice), Err(AnswerError::Repeated));
}

#[test]
fn expires_in() {
    let jwt = token("{}");
    let longest = Some(ASKED + (1_000 << 32));
    let cases: &[(&str, Result<Option<UnixMillis>, AnswerError>)] = &[
        ("60", Ok(Some(ASKED + 60_000))),
        (r#""60""#, Ok(Some(ASKED + 60_000))),
        (r#""\u0036\u0030""#, Ok(Some(ASKED + 60_000))),
        ("60.9", Ok(Some(ASKED + 60_000))),
        ("6e1", Ok(Some(ASKED + 60_000))),
        ("1", Ok(Some(ASKED + 1_000))),
        ("null", Ok(None)),
        ("4294967295", Ok(Some(ASKED + 4_294_967_295_000))),
        ("4294967297", Ok(longest)),
        ("9223372036854775808", Ok(longest)),
        ("18446744073709551616", Ok(longest)),
        ("1e300", Ok(longest)),
        (r#""99999999999999999999999999""#, Ok(longest)),
        ("0", Err(AnswerError::Over)),
        (r#""0""#, Err(AnswerError::Over)),
        ("0.9", Err(AnswerError::Over)),
        ("-0", Err(AnswerError::Over)),
        ("-1", Err(AnswerError::Over)),
        ("-0.5", Err(AnswerError::Over)),
        ("-1e300", Err(AnswerError::Over)),
        ("-9223372036854775808", Err(AnswerError::Over)),
        (r#""""#, Err(AnswerError::ExpiresIn)),
        (r#""-1""#, Err(AnswerError::ExpiresIn)),
        (r#"" 60""#, Err(AnswerError::ExpiresIn)),
        (r#""6e1""#, Err(AnswerError::ExpiresIn)),
        (r#""PT1H""#, Err(AnswerError::ExpiresIn)),
        ("true", Err(AnswerError::ExpiresIn)),
        ("[60]", Err(AnswerError::ExpiresIn)),
        ("{}", Err(AnswerError::ExpiresIn)),
    ];
    for (value, expected) in cases {
        let found = ok(&issued(&jwt, &format!(r#","expires_in":{value}"#)));
        assert_eq!(found, expected.map(|expires| given(&jwt, expires, false)), "{value}");
    }
    // The ends of time.
    let reading = Reading { asked: i64::MAX - 1, now: i64::MAX - 1, ..EXCHANGE };
    let body = issued(&jwt, r#","expires_in":60"#);
    let mut scratch = vec![0; scratch_len(body.len())];
    let verdict = judge(&answer(200, JSON, body.as_bytes()), &reading, &mut scratch).unwrap();
    let Verdict::Active { record, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(record.expires, Some(i64::MAX));
}

#[test]
fn the_earliest_end_counts() {
    // Seconds after the question: exp of the JWT, expires_in, what is known in the end.
    let cases = [
        (Some(60), Some(90), Ok(60)),
        (Some(90), Some(60), Ok(60)),
        (Some(60), None, Ok(60)),
        (Some(0), Some(60), Err(AnswerError::Over)),
        (Some(-1_700_000_000), Some(60), Err(AnswerError::Over)),
        (Some(60), Some(0), Err(AnswerError::Over)),
        (Some(-1), None, Err(AnswerError::Over)),
    ];
    for (exp, expires_in, expected) in cases {
        let exp = exp.map(|exp: i64| format!(r#""exp":{}"#, ASKED / 1_000 + exp));
        let jwt = token(&format!("{{{}}}", exp.unwrap_or_default()));
        let life = expires_in.map(|life: i64| format!(r#","expires_in":{life}"#));
        let body = issued(&jwt, &life.unwrap_or_default());
        let expected =
            expected.map(|seconds: i64| given(&jwt, Some(ASKED + seconds * 1_000), false));
        assert_eq!(ok(&body), expected, "{body}");
    }
    // The question took longer than the JWT lives.
    let body = issued(&token("{}"), r#","expires_in":2"#);
    let late = |millis| {
        let reading = Reading { now: ASKED + millis, ..EXCHANGE };
        judged(&reading, &answer(200, JSON, body.as_bytes()))
    };
    assert!(matches!(late(1_999), Ok(Found::Active { .. })));
    assert_eq!(late(2_000), Err(AnswerError::Over));
}

#[test]
fn sender_constraints() {
    let plain = token("{}");
    let bound = token(r#"{"cnf":{"jkt":"x"}}"#);
    for (jwt, token_type, expected) in [
        (&plain, r#""DPoP""#, true),
        (&plain, r#""dpop""#, true),
        (&plain, r#""Bearer""#, false),
        (&plain, r#""N_A""#, false),
        (&plain, "null", false),
        (&bound, r#""Bearer""#, true),
        (&bound, r#""DPoP""#, true),
    ] {
        let body = issued(jwt, &format!(r#","token_type":{token_type}"#));
        assert_eq!(ok(&body), Ok(given(jwt, None, expected)), "{body}");
    }
}

#[test]
fn statuses() {
    let good = issued(&token("{}"), "");
    let cases: &[(u16, Reason)] = &[
        (0, Reason::ServerBadAnswer),
        (101, Reason::ServerBadAnswer),
        (201, Reason::ServerBadAnswer),
        (204, Reason::ServerBadAnswer),
        (206, Reason::ServerBadAnswer),
        (301, Reason::ServerBadAnswer),
        (400, Reason::ServerRefusedUs),
        (401, Reason::ServerRefusedUs),
        (403, Reason::ServerRefusedUs),
        (404, Reason::ServerRefusedUs),
        (405, Reason::ServerRefusedUs),
        (406, Reason::ServerRefusedUs),
        (410, Reason::ServerRefusedUs),
        (415, Reason::ServerRefusedUs),
        (429, Reason::ServerBusy),
        (500, Reason::ServerUnreachable),
        (503, Reason::ServerBusy),
        (504, Reason::ServerUnreachable),
        (600, Reason::ServerBadAnswer),
    ];
    for (status, reason) in cases {
        let dead = r#"{"error":"invalid_grant"}"#;
        for body in [good.as_str(), dead] {
            if (*status, body) == (400, dead) {
                continue;
            }
            let error = read(&answer(*status, JSON, body.as_bytes())).unwrap_err();
            assert_eq!(error.reason(), *reason, "{status}");
        }
    }
    for status in [404, 405, 410] {
        let error = read(&answer(status, JSON, b"")).unwrap_err();
        assert_eq!(error, AnswerError::TokenEndpoint(status));
        assert!(error.to_string().contains("token endpoint"), "{error}");
    }
}

#[test]
fn whom_a_400_means() {
    use AnswerError::{Credentials, Exchange};
    let cases: &[(&str, Outcome)] = &[
        (r#"{"error":"invalid_grant"}"#, Ok(Found::Inactive)),
        (r#"{"error":"invalid_request","error_description":"x"}"#, Ok(Found::Inactive)),
        (r#"{"error":"invalid_request"}"#, Ok(Found::Inactive)),
        (r#"{"error":"invalid_request","error_description":17}"#, Ok(Found::Inactive)),
        (r#"{"error":"unsupported_token_type"}"#, Ok(Found::Inactive)),
        (r#"{"error":"\u0069nvalid_grant"}"#, Ok(Found::Inactive)),
        (r#"{"error":"invalid_client"}"#, Err(Credentials(400))),
        (r#"{"error":"unauthorized_client"}"#, Err(Credentials(400))),
        (r#"{"error":"invalid_target"}"#, Err(Exchange)),
        (r#"{"error":"invalid_scope"}"#, Err(Exchange)),
        (r#"{"error":"unsupported_grant_type"}"#, Err(Exchange)),
        (r#"{"error":"Invalid_Grant"}"#, Err(Exchange)),
        (r#"{"error":"invalid_grant "}"#, Err(Exchange)),
        (r#"{"error":["invalid_grant"]}"#, Err(Exchange)),
        (r#"{"error":{"code":"invalid_grant"}}"#, Err(Exchange)),
        (r#"{"error":null}"#, Err(Exchange)),
        (r#"{"x":{"error":"invalid_grant"}}"#, Err(Exchange)),
        // Two readers would see different ones.
        (r#"{"error":"invalid_client","error":"invalid_grant"}"#, Err(Exchange)),
        (r#"{"error":"invalid_grant","\u0065rror":"invalid_client"}"#, Err(Exchange)),
        (r#"{"error":"invalid_grant","error":"x","error":"invalid_grant"}"#, Err(Exchange)),
        (r#"{"error":"invalid_grant""#, Err(Exchange)),
        (r#"{"error":"invalid_grant"}}"#, Err(Exchange)),
        ("{}", Err(Exchange)),
        ("[]", Err(Exchange)),
        ("", Err(Exchange)),
    ];
    for (body, expected) in cases {
        assert_eq!(&read(&answer(400, JSON, body.as_bytes())), expected, "{body}");
    }
    // RFC 8693 section 2.2.2 has one error for a bad subject token and a bad request.
    for (description, expected) in [
        ("unsupported requested_token_type", Err(Exchange)),
        ("Unsupported 'requested_token_type'.", Err(Exchange)),
        ("requested_token_type unsupported", Err(Exchange)),
        ("Requested token type is not allowed", Err(Exchange)),
        ("subject_token_type not supported", Err(Exchange)),
        ("The subject token type is not supported", Err(Exchange)),
        ("Parameter 'subject_token_type' is missing", Err(Exchange)),
        ("actor_token is invalid", Err(Exchange)),
        ("The audience is unknown", Err(Exchange)),
        ("invalid resource", Err(Exchange)),
        ("Invalid scope: x", Err(Exchange)),
        ("Missing form parameter: grant_type", Err(Exchange)),
        ("Client is not allowed to exchange", Err(Exchange)),
        ("requested_\\u0074oken_type", Err(Exchange)),
        ("", Ok(Found::Inactive)),
        ("invalid", Ok(Found::Inactive)),
        ("Invalid token", Ok(Found::Inactive)),
        ("subject_token is invalid", Ok(Found::Inactive)),
        ("subject_token validation failure", Ok(Found::Inactive)),
        ("The subject token has expired", Ok(Found::Inactive)),
        ("The parameter subject_token is not valid", Ok(Found::Inactive)),
        ("The audience of the subject token is another", Ok(Found::Inactive)),
        ("Token is not active", Ok(Found::Inactive)),
    ] {
        let body = format!(r#"{{"error_description":"{description}","error":"invalid_request"}}"#);
        assert_eq!(read(&answer(400, JSON, body.as_bytes())), expected, "{body}");
        // Of what is about the token alone, no description makes anything else.
        let body = body.replace("invalid_request", "invalid_grant");
        assert_eq!(read(&answer(400, JSON, body.as_bytes())), Ok(Found::Inactive), "{body}");
    }
    let dead = br#"{"error":"invalid_grant"}"#;
    let typed = "application/json;charset=UTF-8";
    assert_eq!(read(&answer(400, typed, dead)), Ok(Found::Inactive));
    for content_type in ["text/html", "", "application/problem+json", JWT] {
        assert_eq!(read(&answer(400, content_type, dead)), Err(Exchange), "{content_type}");
    }
    let encoded = Answer { encoded: true, ..answer(400, JSON, dead) };
    assert_eq!(read(&encoded), Err(Exchange));
    assert_eq!(read(&answer(401, JSON, dead)), Err(Credentials(401)));
    assert_eq!(Exchange.reason(), Reason::ServerRefusedUs);
}
