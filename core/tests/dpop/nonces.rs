//! Proofs that have to carry a nonce (RFC 9449 section 9).

use phantom_token_core::dpop::{Nonces, ProofError};
use phantom_token_core::key::ProofKey;

use crate::keys::p256;
use crate::support::*;

const LIFETIME: i64 = 60_000;

/// What becomes of a proof with those members beside the good ones; of a good one, whether it is to be renewed.
fn check(members: &str) -> Result<bool, ProofError> {
    check_signed(members, |jwt| jwt)
}

fn check_signed(members: &str, change: impl FnOnce(String) -> String) -> Result<bool, ProofError> {
    let nonces = Nonces::new(&SECRET);
    let payload = good_payload().replacen('{', &format!("{{{members}"), 1);
    let jwt = change(p256().jwt("ES256", &header("ES256", p256()), &payload));
    let thumbprint = thumbprint(p256());
    let mut expect = expect(&thumbprint);
    expect.nonce = Some((&nonces, LIFETIME));
    let checked = proofs().check(jwt.as_bytes(), &expect, &ProofKey::new(&SECRET), NOW);
    checked.map(|proof| proof.renew)
}

fn member(secret: &[u8], age: i64) -> String {
    let nonce = Nonces::new(secret).give(NOW - age);
    format!(r#""nonce":"{}","#, String::from_utf8_lossy(&nonce))
}

#[test]
fn a_nonce_lives_as_long_as_it_may() {
    for (age, expected) in [
        (0, Ok(false)),
        (LIFETIME / 2, Ok(false)),
        (LIFETIME / 2 + 1, Ok(true)),
        (LIFETIME, Ok(true)),
        (LIFETIME + 1, Err(ProofError::Nonce)),
        (-30_000, Ok(false)),
        (-30_001, Err(ProofError::Nonce)),
    ] {
        assert_eq!(check(&member(&SECRET, age)), expected, "{age}");
    }
}

#[test]
fn nothing_else_will_do() {
    let good = member(&SECRET, 0);
    for (members, expected) in [
        (String::new(), ProofError::NoNonce),
        (r#""nonce":null,"#.to_owned(), ProofError::NoNonce),
        (r#""nonce":1,"#.to_owned(), ProofError::NoNonce),
        (good.replace(":\"", ":[\"").replace("\",", "\"],"), ProofError::NoNonce),
        (r#""nonce":"","#.to_owned(), ProofError::Nonce),
        (r#""nonce":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","#.to_owned(), ProofError::Nonce),
        (good.replace("\",", "A\","), ProofError::Nonce),
        (good.replace("nonce", "Nonce"), ProofError::NoNonce),
        (member(b"another", 0), ProofError::Nonce),
        (format!("{good}{good}"), ProofError::Repeated),
    ] {
        assert_eq!(check(&members), Err(expected), "{members}");
    }
}

/// Whoever is told a nonce need change nothing else; and with one, all else counts as before.
#[test]
fn all_else_comes_first() {
    let base = good_payload();
    assert!(base.contains("\"GET\""));
    let wrong = |members: &str| {
        let nonces = Nonces::new(&SECRET);
        let payload = base.replacen('{', &format!("{{{members}"), 1).replace("\"GET\"", "\"PUT\"");
        let jwt = p256().jwt("ES256", &header("ES256", p256()), &payload);
        let thumbprint = thumbprint(p256());
        let mut expect = expect(&thumbprint);
        expect.nonce = Some((&nonces, LIFETIME));
        proofs().check(jwt.as_bytes(), &expect, &ProofKey::new(&SECRET), NOW).map(|_| ())
    };
    assert_eq!(wrong(""), Err(ProofError::Method));
    assert_eq!(wrong(&member(&SECRET, 0)), Err(ProofError::Method));
    let flipped = check_signed(&member(&SECRET, 0), |jwt| {
        let at = jwt.len() - 10;
        let other = if jwt.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &jwt[..at], &jwt[at + 1..])
    });
    assert_eq!(flipped, Err(ProofError::Signature));
}

#[test]
fn where_none_is_asked_for_it_means_nothing() {
    for members in ["", r#""nonce":1,"#, r#""nonce":"whatever","#] {
        let payload = good_payload().replacen('{', &format!("{{{members}"), 1);
        let jwt = p256().jwt("ES256", &header("ES256", p256()), &payload);
        assert_eq!(crate::support::check(jwt, p256()), Ok(()), "{members}");
    }
}
