//! Answers of a hostile server: no panic, nothing but a JWT ever goes upstream, and only where a slow reading of
//! the same bytes finds that it may.

use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use phantom_token_core::answer::{Answer, Mode, Reading, Verdict, judge, scratch_len};
use phantom_token_core::cache_control;
use phantom_token_core::claims;
use phantom_token_core::jwt;
use phantom_token_core::reason::Reason;
use phantom_token_core::record::{CacheDirectives, Document, State};
use proptest::prelude::*;
use serde_json::{Map, Value};

const MEMBERS: &[&[u8]] = &[b"jwt", b"phantom_token"];
const ASKED: i64 = 1_700_000_000_000;
const READING: Reading<'_> = Reading {
    mode: Mode::Jwt,
    verification: None,
    unverified_envelopes: false,
    members: MEMBERS,
    asked: ASKED,
    now: ASKED + 1,
};
/// Every way of asking.
const READINGS: [Reading<'_>; 4] = [
    READING,
    Reading { mode: Mode::Claims, ..READING },
    Reading { mode: Mode::Claims, unverified_envelopes: true, ..READING },
    Reading { mode: Mode::Exchange, ..READING },
];

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Whether this could be an access token: slow, and by the letter of RFC 7515 section 7.1.
fn is_jwt(bytes: &[u8]) -> bool {
    let dots: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] == b'.').collect();
    let [first, second] = dots[..] else { return false };
    first > 0
        && second > first + 1
        && second + 1 < bytes.len()
        && bytes.iter().all(|byte| *byte == b'.' || ALPHABET.contains(byte))
}

fn encode(header: &str, payload: &str) -> String {
    let part = |text: &str| Base64Display::new(text.as_bytes(), &URL_SAFE_NO_PAD).to_string();
    format!("{}.{}.c2ln", part(header), part(payload))
}

fn token(payload: &str) -> String {
    encode(r#"{"alg":"ES256"}"#, payload)
}

/// The object, if it is one.
fn object(text: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(text).ok()
}

/// What base64url stands for, bit by bit.
fn decode(part: &[u8]) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for byte in part {
        let sextet = ALPHABET.iter().position(|known| known == byte)?;
        bits.extend((0..6).rev().map(|bit| sextet >> bit & 1));
    }
    let whole = bits.chunks_exact(8);
    let rest = whole.remainder();
    let bytes = whole.map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8)).collect();
    (rest.len() < 6 && rest.iter().all(|bit| *bit == 0)).then_some(bytes)
}

/// Header and payload of a JWT.
fn parts(jwt: &[u8]) -> Option<[Map<String, Value>; 2]> {
    let mut parts = jwt.split(|&byte| byte == b'.');
    let mut next = || object(&decode(parts.next()?)?);
    Some([next()?, next()?])
}

fn is_text(value: Option<&Value>, one_of: &[&str]) -> bool {
    let text = value.and_then(Value::as_str).map(str::to_ascii_lowercase);
    text.is_some_and(|text| one_of.contains(&text.trim_start_matches("application/")))
}

/// Whether these members, of an answer or of a payload, forbid that the token is used.
fn is_refused(members: &Map<String, Value>) -> bool {
    members.get("active").is_some_and(|active| *active != Value::Bool(true))
        || is_text(members.get("token_type"), &["refresh_token"])
        || is_text(members.get("typ"), &["refresh", "offline"])
        || members
            .get("exp")
            .and_then(Value::as_f64)
            .is_some_and(|exp| exp < ASKED as f64 / 1_000.0)
}

/// Whether a slow reading finds that this may be used as that kind of document. Of members that are there
/// twice, serde_json takes the last; the fast reading must not take any.
fn may_be(kind: Document, document: &[u8], content_type: &[u8], body: &[u8]) -> Option<bool> {
    let essence =
        content_type.split(|&byte| byte == b';').next()?.trim_ascii().to_ascii_lowercase();
    let is_json = essence == b"application/json";
    let is_active = |members: &Map<String, Value>| {
        members.get("active") == Some(&Value::Bool(true)) && !is_refused(members)
    };
    // A JWT, that is no answer in an envelope, and neither labelled as one nor as anything else.
    let access_token = |active: bool| {
        let [header, payload] = parts(document)?;
        let other = ["token-introspection+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt"];
        let sound = is_jwt(document)
            && header.get("alg")?.as_str().is_some_and(|alg| !alg.eq_ignore_ascii_case("none"))
            && !is_text(header.get("typ"), &other)
            && !payload.contains_key("token_introspection")
            && (active || !payload.contains_key("active"));
        Some(sound && !is_refused(&payload))
    };
    Some(match kind {
        Document::Jwt if is_json => is_active(&object(body)?) && access_token(true)?,
        Document::Jwt => essence == b"application/jwt" && access_token(false)?,
        Document::Exchanged => {
            let members = object(body)?;
            is_json
                && access_token(false)?
                && members.get("access_token")?.as_str()?.as_bytes() == document
                && members.get("issued_token_type").is_none_or(Value::is_string)
        }
        Document::Json => is_json && document == body.trim_ascii() && is_active(&object(body)?),
        Document::ClaimsJwt => essence == b"application/jwt" && access_token(true)?,
        Document::Envelope => {
            let [header, payload] = parts(document)?;
            let kinds = ["token-introspection+jwt", "jwt"];
            essence == b"application/token-introspection+jwt"
                && is_jwt(document)
                && header.get("typ").is_none_or(|typ| is_text(Some(typ), &kinds))
                && !is_text(header.get("alg"), &["none"])
                && ["iss", "aud", "iat"].iter().all(|name| payload.contains_key(*name))
                && is_active(payload.get("token_introspection")?.as_object()?)
        }
        Document::Keys => false,
    })
}

/// What must hold of whatever is answered.
fn check(status: u16, content_type: &[u8], body: &[u8]) -> Result<(), TestCaseError> {
    for reading in &READINGS {
        check_under(reading, status, content_type, body)?;
    }
    Ok(())
}

fn check_under(
    reading: &Reading<'_>,
    status: u16,
    content_type: &[u8],
    body: &[u8],
) -> Result<(), TestCaseError> {
    let directives = CacheDirectives { max_age: Some(7), uncacheable: true };
    let answer = Answer { status, content_type, encoded: false, directives, body };
    let mut scratch = vec![0; scratch_len(body.len())];
    let verdict = judge(&answer, reading, &mut scratch);
    match &verdict {
        Ok(Verdict::Active { document, claims, record }) => {
            prop_assert_eq!(status, 200);
            prop_assert!(!record.is_over(reading.now));
            prop_assert_eq!((record.state, record.confirmed), (State::Active, ASKED));
            let upstream = match reading.mode {
                Mode::Jwt => record.document == Document::Jwt,
                Mode::Exchange => record.document == Document::Exchanged,
                Mode::Claims => false,
            };
            prop_assert_eq!(record.document.is_access_token(), upstream);
            prop_assert!(reading.unverified_envelopes || record.document != Document::Envelope);
            prop_assert_eq!(may_be(record.document, document, content_type, body), Some(true));
            if upstream {
                // It passes by itself, too.
                let mut scratch = vec![0; document.len()];
                let read = jwt::claims(document, &mut scratch);
                prop_assert!(read.is_ok(), "{:?}", read);
            }
            check_claims(record.document, document, claims)?;
        }
        Ok(Verdict::Expired(record)) => {
            prop_assert_eq!((status, record.state), (200, State::Expired));
            prop_assert!(record.is_expired(reading.now) && reading.mode != Mode::Exchange);
        }
        Ok(Verdict::Inactive(record)) => {
            prop_assert_eq!((record.state, record.expires), (State::Inactive, None));
            prop_assert!(reading.mode != Mode::Exchange || status == 400);
        }
        Err(error) => {
            prop_assert!(error.reason().status() >= 500);
            prop_assert!(error.reason() != Reason::Internal);
            prop_assert!(!error.to_string().chars().any(char::is_control));
        }
    }
    // With less room it is the same, or our own fault.
    for part in 0..4 {
        let mut less = vec![0; scratch_len(body.len()) * part / 4];
        match judge(&answer, reading, &mut less) {
            Err(error) if error.reason() == Reason::Internal => {}
            other => prop_assert!(other == verdict),
        }
    }
    Ok(())
}

/// Whatever was judged can be read again for its claims, which are the same.
fn check_claims(kind: Document, document: &[u8], judged: &[u8]) -> Result<(), TestCaseError> {
    let mut scratch = vec![0; document.len()];
    let object = claims::object(kind, document, &mut scratch);
    prop_assert_eq!(object, Ok(judged));
    let object = object.unwrap_or_default();
    let mut names = vec![0; object.len()];
    let mut found = Vec::new();
    prop_assert_eq!(claims::each(object, &mut names, |claim| found.push(claim)), Ok(()));
    for claim in found {
        let mut room = vec![0; claim.room()];
        let text = claim.text(&mut room);
        prop_assert!(matches!(text, Ok(_) | Err(claims::ClaimError::Control)), "{:?}", text);
    }
    Ok(())
}

fn content_type() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => Just(b"application/json".to_vec()),
        4 => Just(b"application/jwt".to_vec()),
        2 => Just(b"application/token-introspection+jwt".to_vec()),
        1 => any::<Vec<u8>>(),
    ]
}

fn status() -> impl Strategy<Value = u16> {
    prop_oneof![8 => Just(200), 1 => Just(400), 1 => any::<u16>()]
}

/// A JSON value that may make a difference.
fn value() -> impl Strategy<Value = String> {
    let jwts = [
        "{}",
        r#"{"active":false}"#,
        r#"{"active":true}"#,
        r#"{"exp":9999999999}"#,
        r#"{"exp":1}"#,
        r#"{"cnf":{}}"#,
        r#"{"typ":"Refresh"}"#,
        r#"{"token_introspection":{"active":true}}"#,
    ]
    .map(token);
    let others = [r#"{"alg":"none"}"#, r#"{"alg":"ES256","typ":"token-introspection+jwt"}"#];
    let others = others.map(|header| encode(header, "{}"));
    let words = [
        "Refresh",
        "refresh_token",
        "Bearer",
        "DPoP",
        "JWT",
        "token-introspection+jwt",
        "invalid_grant",
        "urn:ietf:params:oauth:token-type:jwt",
        "urn:ietf:params:oauth:token-type:refresh_token",
    ];
    prop_oneof![
        4 => Just("true".to_owned()),
        4 => proptest::sample::select(jwts.to_vec()).prop_map(|jwt| format!("\"{jwt}\"")),
        1 => proptest::sample::select(others.to_vec()).prop_map(|jwt| format!("\"{jwt}\"")),
        2 => proptest::sample::select(words.to_vec()).prop_map(|word| format!("\"{word}\"")),
        1 => proptest::sample::select(vec!["1", "60", "9999999999", "1e300"]).prop_map(str::to_owned),
        1 => any::<f64>().prop_filter("JSON has none", |n| n.is_finite()).prop_map(|n| n.to_string()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => proptest::sample::select(vec!["null", "false", "\"\"", "[]", "{\"exp\":1}", "\"\\u0061.b.c\""])
            .prop_map(str::to_owned),
        1 => any::<String>().prop_map(|text| format!("{text:?}")),
    ]
}

/// An object with members that count, repeated and in any order, or almost an object. `first` is among them.
fn json(first: &'static str) -> impl Strategy<Value = String> {
    let names = [
        "active",
        "jwt",
        "phantom_token",
        "exp",
        "cnf",
        "token_type",
        "typ",
        "sub",
        "j\\u0077t",
        "\\u0061ctive",
        "access_token",
        "expires_in",
        "issued_token_type",
        "error",
        "token_introspection",
    ];
    let members = prop::collection::vec((proptest::sample::select(names.to_vec()), value()), 0..6);
    (members, prop::bool::weighted(0.1)).prop_map(move |(members, cut)| {
        let members = members.iter().map(|(name, value)| format!("\"{name}\":{value}"));
        let first = Some(first.to_owned()).filter(|first| !first.is_empty());
        let members: Vec<String> = first.into_iter().chain(members).collect();
        let mut json = format!("{{{}}}", members.join(","));
        if cut {
            json.pop();
        }
        json
    })
}

/// What the members of an answer may begin with.
const ACTIVE: &str = "\"active\":true";

proptest! {
    // A failure prints its minimal input; no file is left behind.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(status in status(), content_type in content_type(), body: Vec<u8>) {
        check(status, &content_type, &body)?;
    }

    #[test]
    fn any_json(status in status(), json in prop_oneof![4 => json(ACTIVE), 1 => json("")]) {
        check(status, b"application/json", json.as_bytes())?;
    }

    #[test]
    fn any_exchange(status in status(), claims in json(""), json in json("")) {
        let body = format!("{{\"access_token\":\"{}\",{}", token(&claims), &json[1..]);
        check(status, b"application/json", body.replace(",}", "}").as_bytes())?;
    }

    #[test]
    fn any_jwt(
        content_type in content_type(),
        header in prop_oneof![3 => Just(r#"{"alg":"ES256"}"#.to_owned()), 1 => json("\"alg\":\"ES256\"")],
        payload in json(""),
    ) {
        check(200, &content_type, encode(&header, &payload).as_bytes())?;
    }

    #[test]
    fn any_envelope(
        typ in proptest::sample::select(vec!["token-introspection+jwt", "JWT", "at+jwt"]),
        outside in json("\"iss\":\"i\",\"aud\":[],\"iat\":1"),
        inside in json(ACTIVE),
        cut in prop::bool::weighted(0.1),
    ) {
        let mut payload = format!("{{\"token_introspection\":{inside},{}", &outside[1..]);
        if cut {
            payload = payload.replacen("\"iat\":1", "\"iat\":null", 1);
        }
        let header = format!("{{\"alg\":\"ES256\",\"typ\":\"{typ}\"}}");
        let body = encode(&header, &payload);
        check(200, b"application/token-introspection+jwt", body.as_bytes())?;
    }

    /// One byte of a good answer is another one.
    #[test]
    fn any_damage(at: proptest::sample::Index, byte: u8) {
        let good = token(r#"{"sub":"x","exp":9999999999}"#);
        let inside = r#"{"active":true,"sub":"x","exp":9999999999}"#;
        let outside = format!(r#"{{"iss":"i","aud":"a","iat":1,"token_introspection":{inside}}}"#);
        for (content_type, body) in [
            ("application/jwt", good.clone()),
            ("application/json", format!("{{\"access_token\":\"{good}\",\"expires_in\":60}}")),
            ("application/json", inside.to_owned()),
            ("application/token-introspection+jwt", token(&outside)),
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
        let (claims, _) = jwt::claims(jwt.as_bytes(), &mut vec![0; jwt.len()]).unwrap();
        // Beyond 64 bits a number is a double, which is beyond the range of milliseconds anyway.
        let expected = number.saturating_mul(1_000).clamp(i64::MIN.into(), i64::MAX.into());
        prop_assert_eq!(claims.expires.map(i128::from), Some(expected));
    }

    #[test]
    fn fractions_of_exp_are_cut_off(seconds in -(1_i64 << 40)..1 << 40, quarters in 0..4_i64) {
        let number = seconds as f64 + quarters as f64 / 4.0;
        let jwt = token(&format!("{{\"exp\":{number:?}}}"));
        let (claims, _) = jwt::claims(jwt.as_bytes(), &mut vec![0; jwt.len()]).unwrap();
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
    let read = |content_type: &str, body: &str| {
        let content_type = content_type.as_bytes();
        let directives = CacheDirectives::default();
        let answer =
            Answer { status: 200, content_type, encoded: false, directives, body: body.as_bytes() };
        let mut active = 0;
        for reading in &READINGS {
            let mut scratch = vec![0; scratch_len(body.len())];
            if let Ok(Verdict::Active { document, claims, record }) =
                judge(&answer, reading, &mut scratch)
            {
                check_claims(record.document, document, claims).unwrap();
                active += 1;
            }
        }
        active
    };
    let jwt = token("{}");
    let count = 1 << 16;
    // How many ways of asking get a verdict from it.
    let fillers = [
        (4, "\"sub\":{\"exp\":[1,2]},".repeat(count)),
        (3, "\"jwt\":\"\\u0061\",".repeat(count)),
        (4, format!("\"sub\":\"{}\",", "\\n\\\\".repeat(count * 4))),
        (4, format!("\"phantom_token\":\"{}\",", "\\u0061".repeat(count * 3))),
        (4, format!("\"exp\":{},", "9".repeat(300) + &" ".repeat(count * 16))),
        (0, format!("\"exp\":{},", "9".repeat(count * 16))),
        (4, " ".repeat(count * 16)),
    ];
    for (expected, filler) in fillers {
        let body =
            format!("{{{filler}\"active\":true,\"jwt\":\"{jwt}\",\"access_token\":\"{jwt}\"}}");
        assert_eq!(read("application/json", &body), expected, "{:.20}", filler);
        read("application/jwt", &token(&body));
        let outside = "\"iss\":\"i\",\"aud\":\"a\",\"iat\":1";
        let payload = format!("{{{filler}{outside},\"token_introspection\":{body}}}");
        read("application/token-introspection+jwt", &token(&payload));
    }
    assert_eq!(read("application/jwt", &"a.".repeat(count * 8)), 0);
}
