//! Answers of a hostile server: no panic, and nothing but a JWT ever goes upstream.

use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use phantom_token_core::answer::{Answer, Mode, Reading, Verdict, judge, scratch_len};
use phantom_token_core::cache_control;
use phantom_token_core::jwt;
use phantom_token_core::record::{CacheDirectives, State};
use proptest::prelude::*;

const MEMBERS: &[&[u8]] = &[b"jwt", b"phantom_token"];
const ASKED: i64 = 1_700_000_000_000;
const READING: Reading<'_> = Reading {
    mode: Mode::Jwt,
    unverified_envelopes: false,
    members: MEMBERS,
    asked: ASKED,
    now: ASKED + 1,
};

/// Whether this could be an access token: slow, and by the letter of RFC 7515 section 7.1.
fn is_jwt(bytes: &[u8]) -> bool {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let dots: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] == b'.').collect();
    let [first, second] = dots[..] else { return false };
    first > 0
        && second > first + 1
        && second + 1 < bytes.len()
        && bytes.iter().all(|byte| *byte == b'.' || alphabet.contains(byte))
}

fn encode(header: &str, payload: &str) -> String {
    let part = |text: &str| Base64Display::new(text.as_bytes(), &URL_SAFE_NO_PAD).to_string();
    format!("{}.{}.c2ln", part(header), part(payload))
}

fn token(payload: &str) -> String {
    encode(r#"{"alg":"ES256"}"#, payload)
}

/// What must hold of whatever is answered.
fn check(status: u16, content_type: &[u8], body: &[u8]) -> Result<(), TestCaseError> {
    let directives = CacheDirectives::default();
    let answer = Answer { status, content_type, encoded: false, directives, body };
    let mut scratch = vec![0; scratch_len(body.len())];
    match judge(&answer, &READING, &mut scratch) {
        Ok(Verdict::Active { document: jwt, record }) => {
            prop_assert_eq!(status, 200);
            prop_assert!(is_jwt(jwt), "{}", jwt.escape_ascii());
            prop_assert!(!record.is_expired(READING.now));
            prop_assert_eq!((record.state, record.confirmed), (State::Active, ASKED));
            // It passes by itself, too.
            let claims = jwt::claims(jwt, &mut vec![0; jwt.len()]);
            prop_assert!(claims.is_ok(), "{:?}", claims);
        }
        Ok(Verdict::Expired(record)) => prop_assert!(record.is_expired(READING.now)),
        Ok(Verdict::Inactive(record)) => prop_assert_eq!(record.state, State::Inactive),
        Err(error) => {
            prop_assert!(error.reason().status() >= 500);
            prop_assert!(!error.to_string().contains(['\r', '\n']));
        }
    }
    Ok(())
}

fn content_type() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => Just(b"application/json".to_vec()),
        4 => Just(b"application/jwt".to_vec()),
        1 => Just(b"application/token-introspection+jwt".to_vec()),
        1 => any::<Vec<u8>>(),
    ]
}

fn status() -> impl Strategy<Value = u16> {
    prop_oneof![8 => Just(200), 1 => Just(400), 1 => any::<u16>()]
}

/// A JSON value that may make a difference.
fn value() -> impl Strategy<Value = String> {
    let jwts = ["{}", r#"{"active":false}"#, r#"{"exp":9999999999}"#, r#"{"cnf":{}}"#].map(token);
    let unsecured = encode(r#"{"alg":"none"}"#, "{}");
    prop_oneof![
        4 => Just("true".to_owned()),
        4 => proptest::sample::select(jwts.to_vec()).prop_map(|jwt| format!("\"{jwt}\"")),
        1 => Just(format!("\"{unsecured}\"")),
        1 => any::<f64>().prop_filter("JSON has none", |n| n.is_finite()).prop_map(|n| n.to_string()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => proptest::sample::select(vec!["null", "false", "\"\"", "[]", "{\"exp\":1}", "\"\\u0061.b.c\""])
            .prop_map(str::to_owned),
        1 => any::<String>().prop_map(|text| format!("{text:?}")),
    ]
}

/// An object with members that count, repeated and in any order, or almost an object.
fn json() -> impl Strategy<Value = String> {
    let names =
        ["active", "jwt", "phantom_token", "exp", "cnf", "token_type", "typ", "sub", "j\\u0077t"];
    let members = prop::collection::vec((proptest::sample::select(names.to_vec()), value()), 0..6);
    (members, prop::bool::weighted(0.1)).prop_map(|(members, cut)| {
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let mut json = format!("{{\"active\":true,{}}}", members.join(","));
        if cut {
            json.pop();
        }
        json
    })
}

proptest! {
    // A failure prints its minimal input; no file is left behind.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(status in status(), content_type in content_type(), body: Vec<u8>) {
        check(status, &content_type, &body)?;
    }

    #[test]
    fn any_json(status in status(), json in json()) {
        check(status, b"application/json", json.as_bytes())?;
    }

    #[test]
    fn any_jwt(header in prop_oneof![3 => Just(r#"{"alg":"ES256"}"#.to_owned()), 1 => json()], payload in json()) {
        let payload = payload.replacen("\"active\":true,", "", 1);
        check(200, b"application/jwt", encode(&header, &payload).as_bytes())?;
    }

    /// One byte of a good answer is another one.
    #[test]
    fn any_damage(at: proptest::sample::Index, byte: u8) {
        let good = token(r#"{"sub":"x","exp":9999999999}"#);
        for (content_type, body) in [
            ("application/jwt", good.clone()),
            ("application/json", format!("{{\"active\":true,\"jwt\":\"{good}\"}}")),
        ] {
            let mut body = body.into_bytes();
            let at = at.index(body.len());
            body[at] = byte;
            check(200, content_type.as_bytes(), &body)?;
        }
    }

    #[test]
    fn shapes_of_a_jwt(bytes in "[a.=-]{0,9}") {
        prop_assert_eq!(jwt::is_compact(bytes.as_bytes()), is_jwt(bytes.as_bytes()));
    }

    #[test]
    fn exp_is_exact_or_saturates(number in prop_oneof![any::<i128>(), -10..10_i128, any::<i64>().prop_map(i128::from)]) {
        let jwt = token(&format!("{{\"exp\":{number}}}"));
        let claims = jwt::claims(jwt.as_bytes(), &mut vec![0; jwt.len()]).unwrap();
        // Beyond 64 bits a number is a double, which is beyond the range of milliseconds anyway.
        let expected = number.saturating_mul(1_000).clamp(i64::MIN.into(), i64::MAX.into());
        prop_assert_eq!(claims.expires.map(i128::from), Some(expected));
    }

    #[test]
    fn fractions_of_exp_are_cut_off(seconds in -(1_i64 << 40)..1 << 40, quarters in 0..4_i64) {
        let number = seconds as f64 + quarters as f64 / 4.0;
        let jwt = token(&format!("{{\"exp\":{number:?}}}"));
        let claims = jwt::claims(jwt.as_bytes(), &mut vec![0; jwt.len()]).unwrap();
        prop_assert_eq!(claims.expires, Some(seconds * 1_000));
    }

    #[test]
    fn any_cache_control(lines: Vec<Vec<u8>>, age: u32) {
        let line = format!("public, max-age={age}");
        let mut lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        lines.push(b"no-store");
        lines.insert(0, line.as_bytes());
        let directives = cache_control::parse(lines.iter().copied());
        prop_assert!(directives.uncacheable);
        let s_maxage = lines.iter().any(|line| line.to_ascii_lowercase().starts_with(b"s-maxage"));
        prop_assert!(s_maxage || directives.max_age == Some(age));
    }
}

/// Would take hours if any of it were more than linear.
#[test]
fn a_megabyte_is_read_in_linear_time() {
    let jwt = token("{}");
    let count = 1 << 16;
    let fillers = [
        "\"sub\":{\"exp\":[1,2]},".repeat(count),
        "\"jwt\":\"\\u0061\",".repeat(count),
        format!("\"sub\":\"{}\",", "\\n\\\\".repeat(count * 4)),
        format!("\"phantom_token\":\"{}\",", "\\u0061".repeat(count * 3)),
        format!("\"exp\":{},", "9".repeat(count * 16)),
        " ".repeat(count * 16),
    ];
    for filler in fillers {
        let body = format!("{{{filler}\"active\":true,\"jwt\":\"{jwt}\"}}");
        check(200, b"application/json", body.as_bytes()).unwrap();
    }
    check(200, b"application/jwt", "a.".repeat(count * 8).as_bytes()).unwrap();
}
