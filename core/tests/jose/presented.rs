//! JWTs that clients present: what else they must be, and what anybody may cost.

use phantom_token_core::by_value;
use phantom_token_core::facts::{self, Digest, Facts, Kind as Name};
use phantom_token_core::jose::{
    KeySet, MAX_HEADER, MAX_PRESENTED, MAX_TRIED_PRESENTED, VerifyError,
};
use phantom_token_core::jwt::JwtError;
use phantom_token_core::key::FactsKey;
use phantom_token_core::record::{CacheDirectives, Document, Record, State};

use crate::support::*;

fn judge(jwt: &str, keys: &KeySet, now: i64) -> Result<Record, VerifyError> {
    let mut scratch = vec![0; jwt.len()];
    by_value::judge(jwt.as_bytes(), Document::Jwt, keys, &EXPECT, now, &mut scratch)
}

/// Why a JWT with that header and these claims does not pass; `None`: it does.
fn fault(header: &str, claims: &str) -> Option<VerifyError> {
    judge(&p256().jwt("ES256", header, claims), &all_keys(), NOW).err()
}

const HEADER: &str = r#"{"alg":"ES256","typ":"at+jwt"}"#;

/// The good claims, and one more.
fn and(claim: &str) -> String {
    format!("{{{claim},{}", &CLAIMS[1..])
}

#[test]
fn what_is_recorded() {
    for algorithm in ALGORITHMS {
        let expected = Record {
            state: State::Active,
            confirmed: NOW,
            document: Document::Jwt,
            expires: Some(1_700_000_060_000),
            directives: CacheDirectives::default(),
            bound: false,
        };
        assert_eq!(judge(&token(algorithm), &all_keys(), NOW), Ok(expected), "{algorithm}");
    }
    let bound = p256().jwt("ES256", HEADER, &and(r#""cnf":{"jkt":"x"}"#));
    assert!(judge(&bound, &all_keys(), NOW).unwrap().bound);
    let typed = p256().jwt("ES256", HEADER, &and(r#""token_type":"DPoP""#));
    assert!(judge(&typed, &all_keys(), NOW).unwrap().bound);
    let mut scratch = vec![0; bound.len()];
    let jwt = bound.as_bytes();
    let claims = by_value::judge(jwt, Document::ClaimsJwt, &all_keys(), &EXPECT, NOW, &mut scratch);
    assert_eq!(claims.unwrap().document, Document::ClaimsJwt);
    let end = 1_700_000_060_000;
    assert_eq!(judge(&bound, &all_keys(), end - 1).unwrap().state, State::Active);
    let over = judge(&bound, &all_keys(), end).unwrap();
    assert_eq!((over.state, over.document), (State::Expired, Document::Jwt));
}

#[test]
fn other_kinds() {
    for typ in ["at+jwt", "JWT", "application/at+jwt"] {
        assert_eq!(fault(&format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#), CLAIMS), None, "{typ}");
    }
    assert_eq!(fault(r#"{"alg":"ES256"}"#, CLAIMS), None);
    for (typ, error) in [
        ("token-introspection+jwt", JwtError::Envelope),
        ("logout+jwt", JwtError::OtherKind),
        ("secevent+jwt", JwtError::OtherKind),
        ("dpop+jwt", JwtError::OtherKind),
        ("oauth-authz-req+jwt", JwtError::NotPresentable),
        ("", JwtError::NotPresentable),
    ] {
        let header = format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#);
        assert_eq!(fault(&header, CLAIMS), Some(VerifyError::Jwt(error)), "{typ}");
    }
    for claim in [
        r#""events":{"http://schemas.openid.net/event/backchannel-logout":{}}"#,
        r#""events":null"#,
        r#""\u0065vents":1"#,
        r#""active":true"#,
        r#""active":null"#,
        r#""typ":"Refresh""#,
        r#""token_type":"refresh_token""#,
    ] {
        assert_eq!(fault(HEADER, &and(claim)), Some(VerifyError::OtherKind), "{claim}");
    }
    let envelope = Some(VerifyError::Jwt(JwtError::Envelope));
    assert_eq!(fault(HEADER, &and(r#""token_introspection":{"active":true}"#)), envelope);
    assert_eq!(fault(HEADER, ENVELOPE), envelope);
}

/// One that is over is refused for all else first.
#[test]
fn nothing_is_over_that_is_not_right() {
    let after = 1_700_000_060_000;
    for (claims, error) in [
        (and(r#""active":true"#), VerifyError::OtherKind),
        (and(r#""events":{}"#), VerifyError::OtherKind),
        (CLAIMS.replace("as.example", "other.example"), VerifyError::Issuer),
        (CLAIMS.replace(r#""api""#, r#""else""#), VerifyError::Audience),
    ] {
        let jwt = p256().jwt("ES256", HEADER, &claims);
        assert_eq!(judge(&jwt, &all_keys(), after), Err(error), "{claims}");
    }
    let mut forged = token("ES256");
    forged.replace_range(forged.len() - 4.., "AAAA");
    assert_eq!(judge(&forged, &all_keys(), after), Err(VerifyError::Signature));
}

#[test]
fn dates() {
    for (claims, error) in [
        (CLAIMS.replace(r#","exp":1700000060"#, ""), VerifyError::NoExpiry),
        (CLAIMS.replace("1700000060", "null"), VerifyError::NoExpiry),
        (CLAIMS.replace("1700000060", r#""soon""#), VerifyError::Date),
        (CLAIMS.replace("1699999990", "1700000060"), VerifyError::NotYet),
    ] {
        assert_eq!(fault(HEADER, &claims), Some(error), "{claims}");
    }
}

#[test]
fn what_anybody_may_cost() {
    // All of them fit, and the last one has signed.
    let signer = new_p256();
    let mut pairs: Vec<Pair> = (1..MAX_TRIED_PRESENTED).map(|_| new_p256()).collect();
    pairs.push(signer);
    let jwt = pairs[MAX_TRIED_PRESENTED - 1].jwt("ES256", HEADER, CLAIMS);
    let set = |pairs: &[Pair]| keys(&pairs.iter().map(Pair::members).collect::<Vec<_>>());
    assert!(judge(&jwt, &set(&pairs), NOW).is_ok());
    pairs.insert(0, new_p256());
    assert_eq!(judge(&jwt, &set(&pairs), NOW), Err(VerifyError::Signature));

    let sized = |len: usize| {
        let empty = p256().jwt("ES256", HEADER, &and(r#""pad":"""#)).len();
        let pad = "x".repeat((len - empty) * 3 / 4);
        p256().jwt("ES256", HEADER, &and(&format!(r#""pad":"{pad}""#)))
    };
    let largest = (0..4).map(|less| sized(MAX_PRESENTED - less));
    let largest = largest.filter(|jwt| jwt.len() <= MAX_PRESENTED).max_by_key(String::len).unwrap();
    assert!(judge(&largest, &all_keys(), NOW).is_ok());
    let larger = sized(MAX_PRESENTED + 4);
    assert!(larger.len() > MAX_PRESENTED);
    assert_eq!(judge(&larger, &all_keys(), NOW), Err(VerifyError::TooLarge));
    const { assert!(MAX_HEADER <= MAX_PRESENTED) };
}

#[test]
fn facts_of_it() {
    let jwt = p256().jwt("ES256", HEADER, &and(r#""scope":"read write""#));
    let key = FactsKey::new(&[7; 32]);
    let mut room = [0; facts::MAX_LEN];
    let found = by_value::facts(jwt.as_bytes(), &key, &mut vec![0; jwt.len()], &mut room);
    let found = Facts::read(found);
    assert!(found.has_scope(Digest::new(&key, Name::Scope, b"write")));
    assert!(!found.has_scope(Digest::new(&key, Name::Scope, b"admin")));
    assert!(found.has_audience(Digest::new(&key, Name::Audience, b"api")));
    assert_eq!(found.subject, Some(Digest::new(&key, Name::Subject, b"alice")));
}
