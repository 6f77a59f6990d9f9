//! Signed introspection answers (RFC 9701).

use super::*;

const TAKEN: Reading<'_> = Reading { mode: Mode::Claims, unverified_envelopes: true, ..READING };
const TYP: &str = "token-introspection+jwt";

/// An envelope with that header and payload.
fn sealed(header: &str, payload: &str) -> String {
    encode(header.as_bytes(), payload.as_bytes())
}

fn header(typ: &str) -> String {
    format!(r#"{{"alg":"RS256","typ":"{typ}"}}"#)
}

/// An envelope as the RFC has it, around that object.
fn around(inside: &str) -> String {
    let payload =
        format!(r#"{{"iss":"https://as","aud":"gw","iat":1,"token_introspection":{inside}}}"#);
    sealed(&header(TYP), &payload)
}

fn read(envelope: &str) -> Outcome {
    judged(&TAKEN, &answer(200, ENVELOPE, envelope.as_bytes()))
}

fn taken(envelope: &str) -> Found {
    let document = envelope.to_owned();
    Found::Active { kind: Document::Envelope, document, expires: None, bound: false }
}

#[test]
fn only_where_it_was_permitted() {
    let envelope = around(r#"{"active":true}"#);
    let under = |reading: Reading<'_>| {
        judged(
            &reading,
            &answer(200, "Application/Token-Introspection+JWT;a=b", envelope.as_bytes()),
        )
    };
    assert_eq!(under(TAKEN), Ok(taken(&envelope)));
    let verified = Reading { unverified_envelopes: false, ..TAKEN };
    assert_eq!(under(verified), Err(AnswerError::Unverified));
    for unverified_envelopes in [false, true] {
        let jwt = Reading { mode: Mode::Jwt, unverified_envelopes, ..TAKEN };
        assert_eq!(under(jwt), Err(AnswerError::Envelope));
        let exchange = Reading { mode: Mode::Exchange, ..jwt };
        assert!(matches!(under(exchange), Err(AnswerError::TokenContentType(_))));
    }
    assert!(AnswerError::Unverified.to_string().contains("phantom_token_envelope unverified"));
    assert!(AnswerError::Envelope.to_string().contains("phantom_token_forward claims"));
    // Nor does the permission reach what is no envelope.
    let reading = |content_type| judged(&TAKEN, &answer(200, content_type, envelope.as_bytes()));
    assert_eq!(reading(JWT), Err(AnswerError::Mislabelled));
    assert!(matches!(reading(JSON), Err(AnswerError::Json(_))));
}

#[test]
fn headers() {
    let payload = r#"{"iss":"i","aud":["a"],"iat":1.5,"token_introspection":{"active":true}}"#;
    for header in [
        header(TYP),
        header("TOKEN-introspection+JWT"),
        header("application/token-introspection+jwt"),
        header("Application/Token-Introspection+Jwt"),
        header("\\u0074oken-introspection+jwt"),
        // Without a kind of its own, as from Janssen.
        header("JWT"),
        header("jwt"),
        r#"{"alg":"ES256"}"#.to_owned(),
    ] {
        let envelope = sealed(&header, payload);
        assert_eq!(read(&envelope), Ok(taken(&envelope)), "{header}");
        assert_eq!(read(&format!("\n{envelope} ")), Ok(taken(&envelope)), "{header}");
    }
    let cases = [
        (header("at+jwt"), JwtError::NotAnEnvelope),
        (header(""), JwtError::NotAnEnvelope),
        (header("token-introspection"), JwtError::NotAnEnvelope),
        (header("token-introspection+jwt "), JwtError::NotAnEnvelope),
        (header("application/application/token-introspection+jwt"), JwtError::NotAnEnvelope),
        (header("logout+jwt"), JwtError::NotAnEnvelope),
        (format!(r#"{{"alg":"none","typ":"{TYP}"}}"#), JwtError::Unsecured),
        (format!(r#"{{"alg":"NONE","typ":"{TYP}"}}"#), JwtError::Unsecured),
        (format!(r#"{{"typ":"{TYP}"}}"#), JwtError::Header),
        (format!(r#"{{"alg":"RS256","typ":"{TYP}","typ":"{TYP}"}}"#), JwtError::Header),
        (format!(r#"{{"alg":"RS256","t\u0079p":"x","typ":"{TYP}"}}"#), JwtError::NotAnEnvelope),
        (r#"{"alg":"RS256","typ":null}"#.to_owned(), JwtError::Header),
    ];
    for (header, error) in cases {
        assert_eq!(read(&sealed(&header, payload)), Err(AnswerError::Jwt(error)), "{header}");
    }
}

#[test]
fn shapes() {
    let envelope = around(r#"{"active":true}"#);
    let cases = [
        (envelope.replace(".c2ln", "."), JwtError::NotCompact),
        (envelope.replace(".c2ln", ""), JwtError::NotCompact),
        (format!("{envelope}.c2ln"), JwtError::NotCompact),
        (format!("{envelope}.."), JwtError::Encrypted),
        ("e30..e30.e30.e30".to_owned(), JwtError::Encrypted),
        (format!("\"{envelope}\""), JwtError::NotCompact),
        (r#"{"active":true}"#.to_owned(), JwtError::NotCompact),
        ("a.e30.e30".to_owned(), JwtError::Encoding),
    ];
    for (body, error) in cases {
        assert_eq!(read(&body), Err(AnswerError::Jwt(error)), "{body}");
    }
    assert_eq!(read(" \r\n"), Err(AnswerError::Empty));
    let encoded = Answer { encoded: true, ..answer(200, ENVELOPE, envelope.as_bytes()) };
    assert_eq!(judged(&TAKEN, &encoded), Err(AnswerError::Encoded));
}

#[test]
fn what_must_be_outside() {
    let good =
        [r#""iss":"i""#, r#""aud":"a""#, r#""iat":1"#, r#""token_introspection":{"active":true}"#];
    let of = |members: &[&str]| sealed(&header(TYP), &format!("{{{}}}", members.join(",")));
    assert_eq!(read(&of(&good)), Ok(taken(&of(&good))));
    for left_out in 0..good.len() {
        let mut members = good.to_vec();
        let member = members.remove(left_out);
        assert_eq!(read(&of(&members)), Err(AnswerError::Outside), "without {member}");
        let twice: Vec<&str> = good.into_iter().chain([member]).collect();
        assert_eq!(read(&of(&twice)), Err(AnswerError::Outside), "{member} twice");
    }
    let bad: &[(usize, &[&str])] = &[
        (0, &[r#""iss":1"#, r#""iss":null"#, r#""iss":"""#, r#""iss":["i"]"#, r#""Iss":"i""#]),
        (1, &[r#""aud":1"#, r#""aud":null"#, r#""aud":{}"#, r#""aud":true"#]),
        (2, &[r#""iat":"1""#, r#""iat":null"#, r#""iat":-1"#, r#""iat":[1]"#]),
        (
            3,
            &[
                r#""token_introspection":[{"active":true}]"#,
                r#""token_introspection":"{\"active\":true}""#,
                r#""token_introspection":null"#,
                r#""token_introspection":true"#,
                // Two readers would see different ones.
                r#""token_introspection":{"active":false},"token_introspection":{"active":true}"#,
                r#""token_introspection":{"active":false},"token\u005fintrospection":{"active":true}"#,
                r#""token\u005fintrospection":{"active":true},"token_introspection":{"active":true}"#,
                r#""token_introspection":null,"token_introspection":{"active":true}"#,
                r#""active":true"#,
            ],
        ),
    ];
    for (place, instead) in bad {
        for member in *instead {
            let mut members = good;
            members[*place] = member;
            assert_eq!(read(&of(&members)), Err(AnswerError::Outside), "{member}");
        }
    }
    for payload in ["[]", "{", "", "\"x\"", "{}{}"] {
        let found = read(&sealed(&header(TYP), payload));
        assert!(matches!(found, Err(AnswerError::Outside | AnswerError::Jwt(_))), "{payload}");
    }
    let invalid = encode(header(TYP).as_bytes(), b"{\"iss\":\"\xff\"}");
    assert_eq!(read(&invalid), Err(AnswerError::Outside));
    // A name that is written with escapes is the same name.
    let escaped = good[3].replace('_', "\\u005f");
    let envelope = of(&[good[0], good[1], good[2], &escaped]);
    assert_eq!(read(&envelope), Ok(taken(&envelope)));
}

#[test]
fn what_is_inside_counts() {
    let cases: &[(&str, Outcome)] = &[
        (r#"{"active":false}"#, Ok(Found::Inactive)),
        (r#"{"active":"true"}"#, Ok(Found::Inactive)),
        (r#"{"active":1,"exp":"x"}"#, Ok(Found::Inactive)),
        (r#"{"active":true,"token_type":"refresh_token"}"#, Ok(Found::Inactive)),
        (r#"{"active":true,"typ":"Refresh"}"#, Ok(Found::Inactive)),
        (r#"{"active":true,"exp":1700000000}"#, Ok(Found::Expired(Some(ASKED)))),
        (r#"{"active":true,"exp":"soon"}"#, Err(AnswerError::Exp)),
        (r#"{}"#, Err(AnswerError::NoActive)),
        (r#"{"token_introspection":{"active":true}}"#, Err(AnswerError::NoActive)),
        (r#"{"active":false,"active":true}"#, Err(AnswerError::Repeated)),
        (r#"{"active":true,"acti\u0076e":true}"#, Err(AnswerError::Repeated)),
        (r#"{"active":true,"exp":1,"exp":9999999999}"#, Err(AnswerError::Repeated)),
        (r#"{"active":true,"cnf":{},"cnf":null}"#, Err(AnswerError::Repeated)),
    ];
    for (inside, expected) in cases {
        assert_eq!(&read(&around(inside)), expected, "{inside}");
    }
    let envelope = around(r#"{"active":true,"exp":1700000060,"cnf":{"jkt":"x"}}"#);
    let expected = Found::Active {
        kind: Document::Envelope,
        document: envelope.clone(),
        expires: Some(1_700_000_060_000),
        bound: true,
    };
    assert_eq!(read(&envelope), Ok(expected));
}

/// "Times come from inside": the envelope has a life of its own, and is no token.
#[test]
fn what_it_says_of_itself_is_not_about_the_token() {
    let outside = r#""active":false,"exp":1,"cnf":{},"typ":"Refresh","token_type":"refresh_token""#;
    let payload = format!(
        r#"{{{outside},"iss":"i","aud":"a","iat":1,"token_introspection":{{"active":true}}}}"#
    );
    let envelope = sealed(&header(TYP), &payload);
    assert_eq!(read(&envelope), Ok(taken(&envelope)));
    let payload = payload.replace(r#"{"active":true}"#, r#"{"active":false,"exp":9999999999}"#);
    let payload = payload.replace(r#""active":false,"exp":1,"#, r#""active":true,"#);
    assert_eq!(read(&sealed(&header(TYP), &payload)), Ok(Found::Inactive));
}
