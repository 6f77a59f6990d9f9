//! `forward jwt`: a JWT as the body or in a member.

use super::*;

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
    for (token_type, bound) in [("Bearer", false), ("DPoP", true), ("dpop", true)] {
        let kind = format!(r#""token_type":"{token_type}","typ":"Bearer""#);
        let json = format!(r#"{{"active":true,{kind},"jwt":"{jwt}"}}"#);
        assert_eq!(ok(JSON, &json), Ok(active_until(&jwt, None, bound)), "{json}");
    }
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
            active_until(&jwt, expires, false)
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
    assert_eq!(ok(JWT, &bound), Ok(active_until(&bound, None, true)));
    let cases = [
        (r#""cnf":{"x5t#S256":"x"},"#, &plain, true),
        ("", &bound, true),
        (r#""cnf":null,"#, &bound, true),
        (r#""cnf":null,"#, &plain, false),
        ("", &plain, false),
    ];
    for (cnf, jwt, expected) in cases {
        let json = format!(r#"{{"active":true,{cnf}"jwt":"{jwt}"}}"#);
        assert_eq!(ok(JSON, &json), Ok(active_until(jwt, None, expected)), "{json}");
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
