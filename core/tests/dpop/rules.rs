//! Each rule of RFC 9449 section 4.3, kept and broken.

use std::num::NonZeroUsize;

use phantom_token_core::dpop::{ALGORITHMS, MAX_PROOF, ProofError, Proofs};
use phantom_token_core::jose::KeyFault;
use phantom_token_core::key::ProofKey;

use crate::keys::{base64, new_p256, p256, pair_for, rsa, same};
use crate::support::*;

/// Signed by ES256 with that header and a good payload.
fn with_header(header: &str) -> String {
    p256().jwt("ES256", header, &good_payload())
}

fn with_claim(name: &str, value: Option<&str>) -> Result<(), ProofError> {
    let good = good_payload();
    let ath = good.rsplit("\"ath\":").next().unwrap().trim_end_matches('}');
    let whole = payload(name, value);
    let whole = if name == "ath" { whole } else { whole.replace(CLAIMS[4].1, ath) };
    check(p256().jwt("ES256", &header("ES256", p256()), &whole), p256())
}

#[test]
fn every_algorithm() {
    for algorithm in ALGORITHMS {
        let pair = pair_for(algorithm);
        assert_eq!(check(proof(algorithm, pair), pair), Ok(()), "{algorithm}");
        // The same key's signature by another algorithm.
        let others = ALGORITHMS.iter().filter(|&&other| std::ptr::eq(pair_for(other), pair));
        for other in others.filter(|&&other| !same(other, algorithm)) {
            let jwt = pair.jwt(other, &header(algorithm, pair), &good_payload());
            assert_eq!(check(jwt, pair), Err(ProofError::Signature), "{other} as {algorithm}");
        }
        // A header that names an algorithm which the key is not for.
        for other in ALGORITHMS.iter().filter(|&&other| !std::ptr::eq(pair_for(other), pair)) {
            let jwt = pair.jwt(algorithm, &header(other, pair), &good_payload());
            let expected = Err(ProofError::Key(KeyFault::Algorithm));
            assert_eq!(check(jwt, pair), expected, "{algorithm} as {other}");
        }
    }
}

#[test]
fn a_key_is_found_again_for_its_algorithm_alone() {
    let mut proofs = Proofs::new(NonZeroUsize::MIN);
    let (key, names) = (thumbprint(rsa()), ProofKey::new(&SECRET));
    let mut check = |jwt: &str| {
        proofs.check(jwt.as_bytes(), &expect(&key), &names, NOW).map(|proof| proof.until)
    };
    for _ in 0..3 {
        for algorithm in ["RS256", "PS256", "RS512"] {
            assert_eq!(check(&proof(algorithm, rsa())), Ok(1_700_000_060), "{algorithm}");
        }
        let confused = rsa().jwt("RS256", &header("PS256", rsa()), &good_payload());
        assert_eq!(check(&confused), Err(ProofError::Signature));
    }
}

#[test]
fn headers() {
    let jwk = p256().members();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let deep = format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{{JWK}},"x":{deep}}}"#);
    let cases: &[(&str, Result<(), ProofError>)] = &[
        (r#"{"jwk":{JWK},"alg":"ES256","typ":"dpop+jwt","kid":"x","x5c":[]}"#, Ok(())),
        (r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{JWK,"alg":"ES256","use":"sig"}}"#, Ok(())),
        (r#"{"typ":"dpop\u002bjwt","\u0061lg":"ES256","jwk":{JWK},"b64":true}"#, Ok(())),
        (r#"{"alg":"ES256","jwk":{JWK}}"#, Err(ProofError::Header)),
        (r#"{"typ":"dpop+jwt","jwk":{JWK}}"#, Err(ProofError::Header)),
        (r#"{"typ":"dpop+jwt","alg":"ES256"}"#, Err(ProofError::Header)),
        (r#"{"typ":null,"alg":"ES256","jwk":{JWK}}"#, Err(ProofError::Header)),
        (r#"{"typ":"dpop+jwt","alg":["ES256"],"jwk":{JWK}}"#, Err(ProofError::Header)),
        (
            r#"{"typ":"dpop+jwt","typ":"dpop+jwt","alg":"ES256","jwk":{JWK}}"#,
            Err(ProofError::Header),
        ),
        (r#"{"typ":"dpop+jwt","alg":"ES256","alg":"ES256","jwk":{JWK}}"#, Err(ProofError::Header)),
        (r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{JWK},"jwk":{JWK}}"#, Err(ProofError::Header)),
        (r#"[]"#, Err(ProofError::Header)),
        // What nobody asks for is JSON all the same.
        (r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{JWK},"x":"\ud800"}"#, Err(ProofError::Header)),
        (r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{JWK,"x5c":"\ud800"}}"#, Err(ProofError::Header)),
        (&deep, Err(ProofError::Header)),
        (r#"{"typ":"JWT","alg":"ES256","jwk":{JWK}}"#, Err(ProofError::Type)),
        (r#"{"typ":"DPoP+JWT","alg":"ES256","jwk":{JWK}}"#, Err(ProofError::Type)),
        (r#"{"typ":"at+jwt","alg":"ES256","jwk":{JWK}}"#, Err(ProofError::Type)),
        (r#"{"typ":"dpop+jwt","alg":"none","jwk":{JWK}}"#, Err(ProofError::Algorithm)),
        (r#"{"typ":"dpop+jwt","alg":"HS256","jwk":{JWK}}"#, Err(ProofError::Algorithm)),
        (r#"{"typ":"dpop+jwt","alg":"es256","jwk":{JWK}}"#, Err(ProofError::Algorithm)),
        (r#"{"typ":"dpop+jwt","alg":"ES512","jwk":{JWK}}"#, Err(ProofError::Algorithm)),
        (
            r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{JWK,"alg":"ES384"}}"#,
            Err(ProofError::Algorithm),
        ),
        (
            r#"{"typ":"dpop+jwt","alg":"ES384","jwk":{JWK}}"#,
            Err(ProofError::Key(KeyFault::Algorithm)),
        ),
        (
            r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{JWK},"crit":["exp"]}"#,
            Err(ProofError::Critical),
        ),
        (r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{JWK},"b64":false}"#, Err(ProofError::Critical)),
        (
            r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{JWK,"d":"AA"}}"#,
            Err(ProofError::Key(KeyFault::Private)),
        ),
        (
            r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{JWK,"\u0064":"AA"}}"#,
            Err(ProofError::Key(KeyFault::Private)),
        ),
        (
            r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{JWK,"k":"AA"}}"#,
            Err(ProofError::Key(KeyFault::Symmetric)),
        ),
        (
            r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{JWK,"use":"enc"}}"#,
            Err(ProofError::Key(KeyFault::Use)),
        ),
        (
            r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{JWK,"x":"AA"}}"#,
            Err(ProofError::Key(KeyFault::Malformed)),
        ),
        (
            r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{"x":null,JWK}}"#,
            Err(ProofError::Key(KeyFault::Malformed)),
        ),
        (r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{}}"#, Err(ProofError::Key(KeyFault::Malformed))),
        (
            r#"{"typ":"dpop+jwt","alg":"ES256","jwk":"https://c.example/key"}"#,
            Err(ProofError::Key(KeyFault::Malformed)),
        ),
    ];
    for (header, expected) in cases {
        let found = check(with_header(&header.replace("JWK", &jwk)), p256());
        assert_eq!(found, *expected, "{header}");
    }
}

#[test]
fn claims() {
    let long = format!("\"{}\"", "x".repeat(512));
    let longer = format!("\"{}\"", "x".repeat(513));
    let cases: &[(&str, Option<&str>, Result<(), ProofError>)] = &[
        ("htm", Some("\"GE\\u0054\""), Ok(())),
        ("htm", Some("\"get\""), Err(ProofError::Method)),
        ("htm", Some("\"POST\""), Err(ProofError::Method)),
        ("htm", Some("\"\""), Err(ProofError::Method)),
        ("htm", Some("[\"GET\"]"), Err(ProofError::Payload)),
        ("htm", None, Err(ProofError::Payload)),
        ("htu", Some("\"https://api.example/things?page=3#x\""), Ok(())),
        ("htu", Some("\"https://api.example/thing\""), Err(ProofError::Target)),
        ("htu", Some("null"), Err(ProofError::Payload)),
        ("htu", None, Err(ProofError::Payload)),
        ("iat", Some("1699999940"), Ok(())),
        ("iat", Some("1699999939"), Err(ProofError::TooOld)),
        ("iat", Some("1699999940.5"), Ok(())),
        // It is as old as its whole second says, and as new as the next one.
        ("iat", Some("1699999939.9"), Err(ProofError::TooOld)),
        ("iat", Some("1700000029.9"), Ok(())),
        ("iat", Some("0"), Err(ProofError::TooOld)),
        ("iat", Some("-1"), Err(ProofError::TooOld)),
        ("iat", Some("-1e300"), Err(ProofError::TooOld)),
        ("iat", Some("1700000030"), Ok(())),
        ("iat", Some("1.70000003e9"), Ok(())),
        ("iat", Some("1700000030.1"), Err(ProofError::NotYet)),
        ("iat", Some("1700000031"), Err(ProofError::NotYet)),
        ("iat", Some("18446744073709551615"), Err(ProofError::NotYet)),
        ("iat", Some("1e300"), Err(ProofError::NotYet)),
        ("iat", Some("1e400"), Err(ProofError::Payload)),
        ("iat", Some("\"1700000000\""), Err(ProofError::Payload)),
        ("iat", Some("null"), Err(ProofError::Payload)),
        ("iat", None, Err(ProofError::Payload)),
        ("jti", Some(&long), Ok(())),
        ("jti", Some(&longer), Err(ProofError::Payload)),
        ("jti", Some("\"\""), Err(ProofError::Payload)),
        ("jti", Some("7"), Err(ProofError::Payload)),
        ("jti", None, Err(ProofError::Payload)),
        ("ath", Some("\"\""), Err(ProofError::Token)),
        ("ath", Some("\"some-token\""), Err(ProofError::Token)),
        ("ath", Some("true"), Err(ProofError::Payload)),
        ("ath", None, Err(ProofError::Payload)),
    ];
    for &(name, value, expected) in cases {
        assert_eq!(with_claim(name, value), expected, "{name} is {value:?}");
    }
    for (name, value) in CLAIMS {
        let twice = good_payload().replacen('{', &format!("{{\"{name}\":{value},"), 1);
        let found = check(p256().jwt("ES256", &header("ES256", p256()), &twice), p256());
        assert_eq!(found, Err(ProofError::Repeated), "{name}");
    }
    let other = good_payload().replacen('{', "{\"nonce\":7,\"exp\":1,\"x\":[],", 1);
    assert_eq!(check(p256().jwt("ES256", &header("ES256", p256()), &other), p256()), Ok(()));
    for payload in ["[]", "1", "", "{", "{}x"] {
        let found = check(p256().jwt("ES256", &header("ES256", p256()), payload), p256());
        let expected = if payload.is_empty() { ProofError::Jwt } else { ProofError::Payload };
        assert_eq!(found, Err(expected), "{payload}");
    }
}

#[test]
fn the_key_of_the_token_alone() {
    let other = new_p256();
    assert_eq!(check(proof("ES256", &other), p256()), Err(ProofError::OtherKey));
    // The right key in the header, and the signature of another.
    let forged = other.jwt("ES256", &header("ES256", p256()), &good_payload());
    assert_eq!(check(forged, p256()), Err(ProofError::Signature));
}

#[test]
fn proofs_are_bounded() {
    let header = header("ES256", p256());
    let with_len = |len: usize| {
        let payload = good_payload().replacen('{', &format!("{{\"x\":\"{}\",", "x".repeat(len)), 1);
        p256().jwt("ES256", &header, &payload)
    };
    assert_eq!(check(with_len(5_500), p256()), Ok(()));
    let large = with_len(6_000);
    assert!(large.len() > MAX_PROOF);
    assert_eq!(check(large, p256()), Err(ProofError::TooLarge));
    for shape in ["", "a.b", "a.b.", "..", "a.b.c.d", "a.b.c.d.e", "a b.c.d", "e30.e30.e30="] {
        assert_eq!(check(shape, p256()), Err(ProofError::Jwt), "{shape}");
    }
}

/// The same `jti` of another client is another proof, and so is another `jti`.
#[test]
fn names() {
    let other = new_p256();
    let name = |pair, jti| {
        let payload = good_payload().replace("\"one\"", jti);
        let jwt = crate::keys::Pair::jwt(pair, "ES256", &header("ES256", pair), &payload);
        check_at(jwt.as_bytes(), pair, NOW).map(|proof| proof.name).unwrap()
    };
    assert_eq!(name(p256(), "\"one\""), name(p256(), "\"\\u006fne\""));
    assert_ne!(name(p256(), "\"one\""), name(p256(), "\"two\""));
    assert_ne!(name(p256(), "\"one\""), name(&other, "\"one\""));
}

#[test]
fn thumbprints_of_other_spellings() {
    // Padded, the coordinates are another text, and the key is another name.
    let jwk = p256().members();
    let padded = jwk.replace("\",\"y\"", "=\",\"y\"");
    let jwt = with_header(&header("ES256", p256()).replace(&jwk, &padded));
    assert_eq!(check(jwt, p256()), Err(ProofError::Key(KeyFault::Malformed)));
    let spaced = jwk.replace(':', " : ").replace(',', " ,\n");
    assert_eq!(check(with_header(&header("ES256", p256()).replace(&jwk, &spaced)), p256()), Ok(()));
    assert_eq!(base64(thumbprint(p256())).len(), 43);
}
