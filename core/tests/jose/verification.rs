//! What verifies, and for what else a JWT is refused.

use phantom_token_core::jose::{
    Expect, KeySet, MAX_HEADER, MAX_JWT, MAX_TRIED, VerifyError, verify,
};
use phantom_token_core::jwt::{JwtError, Kind};

use crate::support::*;

type Outcome = Result<(), VerifyError>;

fn read(jwt: &str, keys: &KeySet) -> Outcome {
    verify(jwt.as_bytes(), Kind::AccessToken, keys, &EXPECT, NOW)
}

fn read_envelope(jwt: &str, keys: &KeySet) -> Outcome {
    verify(jwt.as_bytes(), Kind::Envelope, keys, &EXPECT, NOW)
}

/// Signed by ES256 with that header and payload.
fn es256(header: &str, payload: &str) -> String {
    p256().jwt("ES256", header, payload)
}

/// Signed with these claims.
fn with_claims(payload: &str) -> String {
    es256(r#"{"alg":"ES256"}"#, payload)
}

#[test]
fn every_algorithm() {
    let keys = all_keys();
    for algorithm in ALGORITHMS {
        assert_eq!(read(&token(algorithm), &keys), Ok(()), "{algorithm}");
        assert_eq!(read_envelope(&envelope(algorithm), &keys), Ok(()), "{algorithm}");
        // By a key that says what it is for, and no other.
        for stated in ALGORITHMS {
            let key = format!(r#""alg":"{stated}",{}"#, pair_for(stated).members());
            let found = read(&token(algorithm), &crate::support::keys(&[key]));
            let expected = if same(stated, algorithm) { Ok(()) } else { Err(VerifyError::NoKey) };
            assert_eq!(found, expected, "{algorithm} by a key of {stated}");
        }
    }
}

/// One algorithm's signature under the name of another.
#[test]
fn confusions() {
    let keys = all_keys();
    for signed in ALGORITHMS {
        for named in ALGORITHMS {
            let jwt = pair_for(signed).jwt(signed, &format!(r#"{{"alg":"{named}"}}"#), CLAIMS);
            let found = read(&jwt, &keys);
            let expected = if same(signed, named) { Ok(()) } else { Err(VerifyError::Signature) };
            // A signature may be longer than any of that algorithm.
            let refused = found == Err(VerifyError::TooLarge) && !same(signed, named);
            assert!(found == expected || refused, "{signed} as {named}: {found:?}");
        }
    }
}

/// The key of the set as a shared secret, which everybody knows.
#[test]
fn public_keys_are_no_secrets() {
    use aws_lc_rs::hmac;
    let keys = all_keys();
    for pair in [rsa(), p256(), ed25519()] {
        for (name, algorithm) in [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
        ] {
            let message =
                format!("{}.{}", base64(format!(r#"{{"alg":"{name}"}}"#)), base64(CLAIMS));
            let secret = hmac::Key::new(algorithm, pair.members().as_bytes());
            let code = hmac::sign(&secret, message.as_bytes());
            let jwt = format!("{message}.{}", base64(code));
            assert_eq!(read(&jwt, &keys), Err(VerifyError::Symmetric));
        }
    }
}

#[test]
fn headers() {
    let keys = all_keys();
    let with = |header: &str| read(&es256(header, CLAIMS), &keys);
    for header in [
        r#"{"alg":"ES256","typ":"JWT"}"#,
        r#"{"alg":"ES256","typ":"at+jwt"}"#,
        r#"{"alg":"ES256","typ":"Application/AT+JWT","cty":"JWT","x":{"crit":[],"alg":"none"}}"#,
        r#"{"\u0061lg":"\u0045S256"}"#,
        r#"{"alg":"ES256","b64":true}"#,
    ] {
        assert_eq!(with(header), Ok(()), "{header}");
    }
    let jwt = |error| Err(VerifyError::Jwt(error));
    let cases = [
        (r#"{"alg":"none"}"#, jwt(JwtError::Unsecured)),
        (r#"{"alg":"NONE"}"#, jwt(JwtError::Unsecured)),
        (r#"{"alg":"none","alg":"ES256"}"#, jwt(JwtError::Unsecured)),
        (r#"{"alg":"ES256","alg":"none"}"#, jwt(JwtError::Header)),
        (r#"{"alg":"ES256","\u0061lg":"ES256"}"#, jwt(JwtError::Header)),
        (r#"{"alg":null}"#, jwt(JwtError::Header)),
        (r#"{"alg":["ES256"]}"#, jwt(JwtError::Header)),
        (r#"{"typ":"JWT"}"#, jwt(JwtError::Header)),
        (r#"["alg","ES256"]"#, jwt(JwtError::Header)),
        (r#"{"alg":"ES256","typ":"token-introspection+jwt"}"#, jwt(JwtError::Envelope)),
        (r#"{"alg":"ES256","typ":"application/Logout+JWT"}"#, jwt(JwtError::OtherKind)),
        (r#"{"alg":"ES256","typ":"secevent+jwt"}"#, jwt(JwtError::OtherKind)),
        (r#"{"alg":"ES256","typ":"dpop+jwt"}"#, jwt(JwtError::OtherKind)),
        (r#"{"alg":"es256"}"#, Err(VerifyError::Algorithm)),
        (r#"{"alg":"ES256K"}"#, Err(VerifyError::Algorithm)),
        (r#"{"alg":"ES512"}"#, Err(VerifyError::Algorithm)),
        (r#"{"alg":"RS1"}"#, Err(VerifyError::Algorithm)),
        (r#"{"alg":""}"#, Err(VerifyError::Algorithm)),
        (r#"{"alg":" none"}"#, Err(VerifyError::Algorithm)),
        (r#"{"alg":"dir"}"#, Err(VerifyError::Algorithm)),
        (r#"{"alg":"HS256"}"#, Err(VerifyError::Symmetric)),
        (r#"{"alg":"ES256","kid":1}"#, Err(VerifyError::Header)),
        (r#"{"alg":"ES256","kid":null}"#, Err(VerifyError::Header)),
        (r#"{"alg":"ES256","kid":"a","k\u0069d":"a"}"#, Err(VerifyError::Header)),
        (r#"{"alg":"ES256","kid":"unknown"}"#, Err(VerifyError::UnknownKid)),
        (r#"{"alg":"ES256","kid":""}"#, Err(VerifyError::UnknownKid)),
        (r#"{"alg":"ES256","crit":["exp"],"exp":1}"#, Err(VerifyError::Critical)),
        (r#"{"alg":"ES256","crit":["b64"],"b64":true}"#, Err(VerifyError::Critical)),
        (r#"{"alg":"ES256","crit":[]}"#, Err(VerifyError::Critical)),
        (r#"{"alg":"ES256","crit":null}"#, Err(VerifyError::Critical)),
        (r#"{"alg":"ES256","cr\u0069t":["x"]}"#, Err(VerifyError::Critical)),
        (r#"{"alg":"ES256","crit":["x"],"crit":["x"]}"#, Err(VerifyError::Header)),
        (r#"{"alg":"ES256","b64":false}"#, Err(VerifyError::Critical)),
        (r#"{"alg":"ES256","b64":0}"#, Err(VerifyError::Critical)),
        (r#"{"alg":"ES256","b64":true,"b64":true}"#, Err(VerifyError::Header)),
    ];
    for (header, expected) in cases {
        assert_eq!(with(header), expected, "{header}");
    }
}

/// Keys in a header are those of whoever wrote it.
#[test]
fn keys_that_a_jwt_brings_along() {
    let attacker = new_p256();
    let jwk = attacker.members();
    let keys = all_keys();
    for header in [
        format!(r#"{{"alg":"ES256","jwk":{{{jwk}}}}}"#),
        r#"{"alg":"ES256","jku":"https://attacker.example/jwks"}"#.to_owned(),
        r#"{"alg":"ES256","x5u":"https://attacker.example/x"}"#.to_owned(),
        r#"{"alg":"ES256","x5c":["MIIB"],"x5t":"x"}"#.to_owned(),
    ] {
        let forged = attacker.jwt("ES256", &header, CLAIMS);
        assert_eq!(read(&forged, &keys), Err(VerifyError::Signature), "{header}");
        // And do no harm where the signature is right.
        assert_eq!(read(&es256(&header, CLAIMS), &keys), Ok(()), "{header}");
    }
}

#[test]
fn kid_is_a_look_up() {
    let (one, other) = (new_p256(), new_p256());
    let named = |kid: &str, pair: &Pair| format!(r#""kid":"{kid}",{}"#, pair.members());
    let set = keys(&[named("one", &one), named("other", &other), p256().members()]);
    let signed = |pair: &Pair, kid: &str| {
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
        read(&pair.jwt("ES256", &header, CLAIMS), &set)
    };
    assert_eq!(signed(&one, "one"), Ok(()));
    assert_eq!(signed(&other, "other"), Ok(()));
    assert_eq!(signed(&other, "oth\\u0065r"), Ok(()));
    for (pair, kid) in [(&one, "other"), (&other, "one"), (p256(), "one")] {
        assert_eq!(signed(pair, kid), Err(VerifyError::NamedKey));
    }
    for kid in ["third", "ONE", "one ", "../one", "one' or 1"] {
        assert_eq!(signed(&one, kid), Err(VerifyError::UnknownKid), "{kid}");
    }
    // Nor is a key without a name meant by one.
    assert_eq!(signed(p256(), "p256"), Err(VerifyError::UnknownKid));
    // Without one, all are tried.
    for pair in [&one, &other, p256()] {
        assert_eq!(read(&pair.jwt("ES256", r#"{"alg":"ES256"}"#, CLAIMS), &set), Ok(()));
    }
    // A key by its name, and for another algorithm.
    let header = r#"{"alg":"RS256","kid":"one"}"#;
    assert_eq!(read(&rsa().jwt("RS256", header, CLAIMS), &set), Err(VerifyError::NoKey));
    assert_eq!(read(&token("RS256"), &set), Err(VerifyError::NoKey));
}

/// Some servers have it while they rotate their keys.
#[test]
fn keys_of_one_kid_are_tried_each() {
    let (one, other, stranger) = (new_p256(), new_p256(), new_p256());
    let named = |pair: &Pair| format!(r#""kid":"one","alg":"ES256",{}"#, pair.members());
    let header = r#"{"alg":"ES256","kid":"one"}"#;
    for set in [[&one, &other], [&other, &one]] {
        let set = keys(&set.map(named));
        let signed = |pair: &Pair| read(&pair.jwt("ES256", header, CLAIMS), &set);
        assert_eq!((signed(&one), signed(&other)), (Ok(()), Ok(())));
        assert_eq!(signed(&stranger), Err(VerifyError::NamedKey));
    }
    // No more of them than without a name.
    let mut members: Vec<String> = (1..MAX_TRIED).map(|_| named(&new_p256())).collect();
    members.push(named(&one));
    let jwt = one.jwt("ES256", header, CLAIMS);
    assert_eq!(read(&jwt, &keys(&members)), Ok(()));
    members.insert(0, named(&other));
    assert_eq!(read(&jwt, &keys(&members)), Err(VerifyError::NamedKey));
}

/// The key exists but is faulty, and the error says so.
#[test]
fn a_kid_of_a_key_that_cannot_be_used() {
    use phantom_token_core::jose::KeyFault;
    let good = p256().members();
    let short = format!(r#""kty":"RSA","n":"{}","e":"AQAB""#, base64([0xff; 128]));
    for (key, fault) in [
        (&*short, KeyFault::Size(1024)),
        (&format!(r#""d":"AA",{good}"#), KeyFault::Private),
        (&format!(r#""use":"enc",{good}"#), KeyFault::Use),
        (&format!(r#""alg":"ES512",{good}"#), KeyFault::Algorithm),
        (&good.replace("P-256", "P-521"), KeyFault::Curve),
        (&format!(r#"{good},"x":"AA""#), KeyFault::Malformed),
    ] {
        let set = keys(&[good.clone(), format!(r#""kid":"a \n",{key}"#)]);
        let jwt = es256(r#"{"alg":"ES256","kid":"a \n"}"#, CLAIMS);
        let error = read(&jwt, &set).unwrap_err();
        assert_eq!(error, VerifyError::UnusableKey(fault));
        assert!(error.is_about_keys() && error.is_about_absent_key());
        let text = error.to_string();
        assert!(text.contains("names a key that cannot be used: it ") && text.is_ascii(), "{text}");
    }
    // Beside one of that name that is for another algorithm.
    let named = |members: &str| format!(r#""kid":"a",{members}"#);
    let set = keys(&[named(&good), named(&short)]);
    let jwt = rsa().jwt("RS256", r#"{"alg":"RS256","kid":"a"}"#, CLAIMS);
    assert_eq!(read(&jwt, &set), Err(VerifyError::UnusableKey(KeyFault::Size(1024))));
    assert_eq!(read(&es256(r#"{"alg":"ES256","kid":"a"}"#, CLAIMS), &set), Ok(()));
}

#[test]
fn how_many_keys_are_tried_is_bounded() {
    let mut members: Vec<String> = (0..MAX_TRIED).map(|_| new_p256().members()).collect();
    members.insert(MAX_TRIED - 1, p256().members());
    // Those of other algorithms do not count.
    members.insert(0, rsa().members());
    assert_eq!(read(&token("ES256"), &keys(&members)), Ok(()));
    members.swap(MAX_TRIED, MAX_TRIED + 1);
    assert_eq!(read(&token("ES256"), &keys(&members)), Err(VerifyError::Signature));
}

#[test]
fn shapes() {
    let keys = all_keys();
    let good = token("ES256");
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!() };
    let cases = [
        String::new(),
        ".".into(),
        "..".into(),
        header.into(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{good}="),
        format!("{good}=="),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}\0"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{good} {good}"),
        format!("Bearer {good}"),
        good.replace('-', "+"),
        good.replace('_', "/"),
    ];
    for jwt in cases.iter().filter(|jwt| **jwt != good) {
        let found = read(jwt, &keys);
        let jwt_error = matches!(found, Err(VerifyError::Jwt(_)));
        assert!(jwt_error || found == Err(VerifyError::TooLarge), "{jwt}: {found:?}");
    }
    let encrypted = format!("{header}.{payload}.{payload}.{payload}.{signature}");
    assert_eq!(read(&encrypted, &keys), Err(VerifyError::Jwt(JwtError::Encrypted)));
    // Signatures of other lengths, and of nothing but zeros.
    for len in [1, 32, 63, 65, 96, 128, 1024, 2000] {
        let jwt = format!("{header}.{payload}.{}", base64(vec![0; len]));
        let found = read(&jwt, &keys);
        assert!(matches!(found, Err(VerifyError::Signature | VerifyError::TooLarge)), "{len}");
    }
    for algorithm in ALGORITHMS {
        let header = base64(format!(r#"{{"alg":"{algorithm}"}}"#));
        for len in [64, 96, 256] {
            let jwt = format!("{header}.{payload}.{}", base64(vec![0; len]));
            let found = read(&jwt, &keys);
            assert!(matches!(found, Err(VerifyError::Signature | VerifyError::TooLarge)));
        }
    }
}

#[test]
fn sizes() {
    let keys = all_keys();
    let header = |len: usize| {
        let frame = r#"{"alg":"ES256","x":""}"#;
        frame.replace(r#""x":""#, &format!(r#""x":"{}"#, "x".repeat(len - frame.len())))
    };
    let longest = MAX_HEADER / 4 * 3;
    assert_eq!(read(&es256(&header(longest), CLAIMS), &keys), Ok(()));
    assert_eq!(read(&es256(&header(longest + 1), CLAIMS), &keys), Err(VerifyError::TooLarge));
    let claims = |len: usize| CLAIMS.replacen('{', &format!(r#"{{"x":"{}","#, "x".repeat(len)), 1);
    assert_eq!(read(&with_claims(&claims(MAX_JWT / 2)), &keys), Ok(()));
    assert_eq!(read(&with_claims(&claims(MAX_JWT)), &keys), Err(VerifyError::TooLarge));
}

#[test]
fn issuers() {
    let keys = all_keys();
    let claims = |iss: &str| CLAIMS.replace(r#""iss":"https://as.example""#, iss);
    assert_eq!(read(&with_claims(&claims(r#""i\u0073s":"https:\/\/as.example""#)), &keys), Ok(()));
    for iss in [
        r#""iss":"https://as.example/""#,
        r#""iss":"https://AS.example""#,
        r#""iss":"https://as.exampl""#,
        r#""iss":"""#,
        r#""iss":null"#,
        r#""iss":["https://as.example"]"#,
        r#""iss":{"iss":"https://as.example"}"#,
        r#""Iss":"https://as.example""#,
        r#""x":{"iss":"https://as.example"}"#,
    ] {
        let jwt = with_claims(&claims(iss));
        assert_eq!(read(&jwt, &keys), Err(VerifyError::Issuer), "{iss}");
        assert_eq!(verify(jwt.as_bytes(), Kind::AccessToken, &keys, &ANY, NOW), Ok(()), "{iss}");
    }
}

#[test]
fn audiences() {
    let keys = all_keys();
    let claims = |aud: &str| with_claims(&CLAIMS.replace(r#""aud":"api""#, aud));
    for aud in [
        r#""aud":"other""#,
        r#""aud":["api"]"#,
        r#""aud":["x","\u0061pi",""]"#,
        r#""aud":[ "x" , "other" ]"#,
        r#""\u0061ud":"api""#,
    ] {
        assert_eq!(read(&claims(aud), &keys), Ok(()), "{aud}");
    }
    for aud in [
        r#""aud":"API""#,
        r#""aud":"api ""#,
        r#""aud":"other api""#,
        r#""aud":"""#,
        r#""aud":null"#,
        r#""aud":1"#,
        r#""aud":[]"#,
        r#""aud":["x"]"#,
        r#""aud":[["api"]]"#,
        r#""aud":["api",1]"#,
        r#""aud":["api",null]"#,
        r#""aud":{"api":"api"}"#,
        r#""Aud":"api""#,
        r#""x":{"aud":"api"}"#,
    ] {
        assert_eq!(read(&claims(aud), &keys), Err(VerifyError::Audience), "{aud}");
        let any = verify(claims(aud).as_bytes(), Kind::AccessToken, &keys, &ANY, NOW);
        assert_eq!(any, Ok(()), "{aud}");
    }
}

#[test]
fn dates() {
    let keys = all_keys();
    let at = |claim: &str, value: &str, now: i64, leeway: i64| {
        let expect = Expect { leeway, ..ANY };
        let jwt = with_claims(&format!(r#"{{"{claim}":{value}}}"#));
        verify(jwt.as_bytes(), Kind::AccessToken, &keys, &expect, now)
    };
    // `exp`: not at its instant, and a fraction of a second does not lengthen a life; no leeway.
    for (exp, over_at) in [
        ("1700000000", NOW),
        ("\"1700000000\"", NOW),
        ("1700000000.9", NOW),
        ("1.7e9", NOW),
        ("0", 0),
        ("-1", -1_000),
        ("-1.5", -2_000),
        ("-1e300", i64::MIN),
        ("1e300", i64::MAX),
        ("18446744073709551616", i64::MAX),
        ("\"99999999999999999999999\"", i64::MAX),
    ] {
        assert_eq!(at("exp", exp, over_at, 3_600_000), Err(VerifyError::Expired), "{exp}");
        if over_at > i64::MIN {
            assert_eq!(at("exp", exp, over_at - 1, 0), Ok(()), "{exp}");
        }
    }
    // `nbf` and `iat`: from their instant on, or the leeway before; a fraction does not begin a life.
    for claim in ["nbf", "iat"] {
        for (value, from) in [
            ("1700000000", NOW),
            ("\"1700000000\"", NOW),
            ("1699999999.1", NOW),
            ("17E8", NOW),
            ("-0.5", 0),
            ("1e300", i64::MAX),
            ("\"99999999999999999999999\"", i64::MAX),
        ] {
            assert_eq!(at(claim, value, from, 0), Ok(()), "{claim} {value}");
            assert_eq!(at(claim, value, from - 1, 0), Err(VerifyError::NotYet), "{claim} {value}");
            assert_eq!(at(claim, value, from - 1, -5), Err(VerifyError::NotYet));
            assert_eq!(at(claim, value, from - 30_000, 30_000), Ok(()), "{claim} {value}");
            assert_eq!(at(claim, value, from - 30_001, 30_000), Err(VerifyError::NotYet));
        }
        assert_eq!(at(claim, "-1e300", i64::MIN, 0), Ok(()));
        assert_eq!(at(claim, "1e300", NOW, i64::MAX), Ok(()));
    }
    for claim in ["exp", "nbf", "iat"] {
        assert_eq!(at(claim, "null", NOW, 0), Ok(()), "{claim}");
        for value in ["true", "[1]", "{}", r#""""#, r#""soon""#, r#""-1""#, r#""1.5""#, r#""1e9""#]
        {
            assert_eq!(at(claim, value, NOW, 0), Err(VerifyError::Date), "{claim} {value}");
        }
    }
    // The later of the two counts.
    let both = with_claims(r#"{"nbf":1699999000,"iat":1700000001}"#);
    let read = |now| verify(both.as_bytes(), Kind::AccessToken, &keys, &ANY, now);
    assert_eq!((read(NOW), read(NOW + 1_000)), (Err(VerifyError::NotYet), Ok(())));
}

#[test]
fn payloads() {
    let keys = all_keys();
    for claim in ["iss", "aud", "exp", "nbf", "iat"] {
        let twice = CLAIMS.replacen('{', &format!(r#"{{"{claim}":null,"#), 1);
        assert_eq!(read(&with_claims(&twice), &keys), Err(VerifyError::Repeated), "{claim}");
    }
    let escaped = CLAIMS.replacen('{', r#"{"\u0065xp":9999999999,"#, 1);
    assert_eq!(read(&with_claims(&escaped), &keys), Err(VerifyError::Repeated));
    for payload in ["", "x", "[]", "1", "\"x\"", "null", "{", "{}{}", "{\"iss\":}"] {
        let found = read(&with_claims(payload), &keys);
        assert!(matches!(found, Err(VerifyError::Payload | VerifyError::Jwt(_))), "{payload}");
    }
    // Nothing is said of a payload that nobody signed.
    let forged = new_p256().jwt("ES256", r#"{"alg":"ES256"}"#, "{");
    assert_eq!(read(&forged, &keys), Err(VerifyError::Signature));
    // All else being right, and only then, it is over.
    let over = CLAIMS.replace("1700000060", "1700000000");
    assert_eq!(read(&with_claims(&over), &keys), Err(VerifyError::Expired));
    assert_eq!(read(&with_claims(&over.replace("api", "x")), &keys), Err(VerifyError::Audience));
}

#[test]
fn envelopes() {
    let keys = all_keys();
    let header = r#"{"alg":"ES256","typ":"token-introspection+jwt"}"#;
    let with = |payload: &str| read_envelope(&es256(header, payload), &keys);
    assert_eq!(with(ENVELOPE), Ok(()));
    for (header, expected) in [
        (r#"{"alg":"ES256","typ":"Application/Token-Introspection+JWT"}"#, Ok(())),
        (r#"{"alg":"ES256"}"#, Ok(())),
        (r#"{"alg":"ES256","typ":"JWT"}"#, Ok(())),
        (r#"{"alg":"ES256","typ":"at+jwt"}"#, Err(VerifyError::Jwt(JwtError::NotAnEnvelope))),
        (r#"{"alg":"none"}"#, Err(VerifyError::Jwt(JwtError::Unsecured))),
    ] {
        assert_eq!(read_envelope(&es256(header, ENVELOPE), &keys), expected, "{header}");
    }
    // By its `typ` it is no access token, and an access token is no envelope.
    let as_token = read(&es256(header, CLAIMS), &keys);
    assert_eq!(as_token, Err(VerifyError::Jwt(JwtError::Envelope)));
    for payload in [ENVELOPE, r#"{"iss":"https://as.example","aud":"api","token_introspection":1}"#]
    {
        assert_eq!(read(&with_claims(payload), &keys), Err(VerifyError::Jwt(JwtError::Envelope)));
    }
    assert_eq!(read_envelope(&token("ES256"), &keys), Err(VerifyError::Payload));
    let cases = [
        (r#""iat":1699999990"#, r#""x":1"#, VerifyError::Payload),
        (r#""iat":1699999990"#, r#""iat":null"#, VerifyError::Payload),
        (r#""iat":1699999990"#, r#""iat":1700000031"#, VerifyError::NotYet),
        (r#""iat":1699999990"#, r#""iat":1,"iat":1"#, VerifyError::Repeated),
        (r#""iat":1699999990"#, r#""iat":1,"nbf":1700000031"#, VerifyError::NotYet),
        (r#""iat":1699999990"#, r#""iat":1,"exp":1700000000"#, VerifyError::Expired),
        (r#""iat":1699999990"#, r#""iat":"x""#, VerifyError::Date),
        (r#""iss":"https://as.example""#, r#""iss":"https://other.example""#, VerifyError::Issuer),
        (r#""aud":["api"]"#, r#""aud":["x"]"#, VerifyError::Audience),
        (r#""aud":["api"]"#, r#""x":1"#, VerifyError::Audience),
        (r#""sub":"alice""#, r#""nbf":1700000031"#, VerifyError::NotYet),
        (r#""sub":"alice""#, r#""iat":1700000031"#, VerifyError::NotYet),
        (r#""sub":"alice""#, r#""nbf":"x""#, VerifyError::Date),
        (r#""sub":"alice""#, r#""nbf":1,"nbf":1"#, VerifyError::Repeated),
        (r#""token_introspection""#, r#""introspection""#, VerifyError::Payload),
        (r#"{"active":true,"sub":"alice","exp":1700000060}"#, "[]", VerifyError::Payload),
    ];
    for (from, to, error) in cases {
        assert!(ENVELOPE.contains(from));
        assert_eq!(with(&ENVELOPE.replace(from, to)), Err(error), "{to}");
    }
    // Who issued the token, whom it is for and how long it lives is for others to judge.
    let inside = r#"{"active":true,"iss":"x","aud":"x","exp":1}"#;
    let payload = ENVELOPE.replace(r#"{"active":true,"sub":"alice","exp":1700000060}"#, inside);
    assert_eq!(with(&payload), Ok(()));
}
