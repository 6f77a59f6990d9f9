//! Whatever is done to a JWT after it was signed: it counts nowhere, in no way in which the edge gets one.
//!
//! Bits that are left over in base64url, padding and blanks are refused with all else, though they would change no
//! meaning. Two things are not: the blanks around a body, which is trimmed before it is read, and the second signature
//! that whoever has one by a curve can make of it (see [`signatures_that_are_the_same_by_arithmetic`]).

use phantom_token_core::answer::{
    Answer, Mode, Reading, Verdict, Verification, judge, scratch_len,
};
use phantom_token_core::by_value;
use phantom_token_core::jose::{Expect, KeySet, VerifyError, verify};
use phantom_token_core::jwt::Kind;
use phantom_token_core::record::{CacheDirectives, Document, State};
use proptest::prelude::*;

use crate::support::*;

/// How a JWT comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// As the answer to an introspection.
    Body,
    /// The same, for its claims alone.
    Claims,
    /// In a member of a JSON answer.
    Member,
    /// Out of a token exchange.
    Exchange,
    /// As a signed introspection answer.
    Envelope,
    /// By a client.
    Presented,
}

const WAYS: [Way; 6] =
    [Way::Body, Way::Claims, Way::Member, Way::Exchange, Way::Envelope, Way::Presented];

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Active,
    /// Something else is known of the token now.
    Other,
    Refused,
}

impl Way {
    fn good(self, algorithm: &str) -> String {
        if self == Self::Envelope { envelope(algorithm) } else { token(algorithm) }
    }

    /// It is a body of its own, around which there may be blanks.
    fn is_trimmed(self) -> bool {
        matches!(self, Self::Body | Self::Claims | Self::Envelope)
    }

    fn good_claims(self) -> &'static str {
        if self == Self::Envelope { ENVELOPE } else { CLAIMS }
    }

    /// By the function that the edge calls.
    fn read(self, jwt: &[u8], keys: &KeySet, expect: Expect<'_>) -> Outcome {
        let json = |member: &str| {
            [b"{\"active\":true,\"", member.as_bytes(), b"\":\"", jwt, b"\"}"].concat()
        };
        let (mode, content_type, body): (_, &[u8], _) = match self {
            Self::Presented => {
                let mut scratch = vec![0; jwt.len()];
                let record = by_value::judge(jwt, Document::Jwt, keys, &expect, NOW, &mut scratch);
                return match record.map(|record| record.state) {
                    Ok(State::Active) => Outcome::Active,
                    Ok(_) => Outcome::Other,
                    Err(_) => Outcome::Refused,
                };
            }
            Self::Body => (Mode::Jwt, b"application/jwt", jwt.to_vec()),
            Self::Claims => (Mode::Claims, b"application/jwt", jwt.to_vec()),
            Self::Member => (Mode::Jwt, b"application/json", json("jwt")),
            Self::Exchange => (Mode::Exchange, b"application/json", json("access_token")),
            Self::Envelope => (Mode::Claims, b"application/token-introspection+jwt", jwt.to_vec()),
        };
        let reading = Reading {
            mode,
            verification: Some(Verification { keys, expect, signed_only: true }),
            unverified_envelopes: true,
            members: &[b"jwt"],
            asked: NOW,
            now: NOW,
        };
        let directives = CacheDirectives::default();
        let answer = Answer { status: 200, content_type, encoded: false, directives, body: &body };
        match judge(&answer, &reading, &mut vec![0; scratch_len(body.len())]) {
            Ok(Verdict::Active { .. }) => Outcome::Active,
            Ok(_) => Outcome::Other,
            Err(_) => Outcome::Refused,
        }
    }

    /// Whether it counts at all. For whom it must be is left open: the signature alone has to see it.
    fn takes(self, jwt: &[u8], keys: &KeySet) -> bool {
        self.read(jwt, keys, ANY) != Outcome::Refused
    }
}

/// One of each way of signing; the other hashes differ in nothing that is looked at here.
const FAMILIES: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

fn each_bit_flipped(algorithm: &str) {
    let keys = all_keys();
    for way in WAYS {
        let good = way.good(algorithm).into_bytes();
        assert_eq!(way.read(&good, &keys, EXPECT), Outcome::Active, "{algorithm}, {way:?}");
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(!way.takes(&bad, &keys), "{algorithm}, {way:?}, {at}, {bit}");
            }
        }
    }
}

#[test]
fn each_bit_flipped_rs256() {
    each_bit_flipped("RS256");
}

#[test]
fn each_bit_flipped_ps256() {
    each_bit_flipped("PS256");
}

#[test]
fn each_bit_flipped_es256() {
    each_bit_flipped("ES256");
}

#[test]
fn each_bit_flipped_es384() {
    each_bit_flipped("ES384");
}

#[test]
fn each_bit_flipped_eddsa() {
    each_bit_flipped("EdDSA");
}

/// Every character that could stand in a place, in the places where the bits of base64url may be left over.
#[test]
fn each_other_end_of_a_part() {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.";
    let keys = all_keys();
    for (algorithm, way) in pairs() {
        let good = way.good(algorithm).into_bytes();
        let ends = (0..=good.len()).filter(|&at| good.get(at).is_none_or(|&byte| byte == b'.'));
        for end in ends {
            for &other in ALPHABET.iter().filter(|&&other| other != good[end - 1]) {
                let mut bad = good.clone();
                bad[end - 1] = other;
                assert!(!way.takes(&bad, &keys), "{algorithm}, {way:?}, {end}");
            }
        }
    }
}

/// Each byte is left out, and padding, blanks and the like are put in.
#[test]
fn each_place_with_more_or_less() {
    let keys = all_keys();
    for way in WAYS {
        let good = way.good("ES256").into_bytes();
        for at in 0..=good.len() {
            let (before, after) = good.split_at(at);
            if let [_, rest @ ..] = after {
                assert!(!way.takes(&[before, rest].concat(), &keys), "{way:?}, {at}");
            }
            for more in ["=", "==", ".", "A", "AAAA", "%20", "+", "\0", " ", "\r\n", "\t"] {
                let is_trimmed = way.is_trimmed()
                    && more.trim().is_empty()
                    && (before.is_empty() || after.is_empty());
                let bad = [before, more.as_bytes(), after].concat();
                assert_eq!(way.takes(&bad, &keys), is_trimmed, "{way:?}, {at}, {more:?}");
            }
        }
    }
}

fn pairs() -> impl Iterator<Item = (&'static str, Way)> {
    FAMILIES.into_iter().flat_map(|algorithm| WAYS.map(|way| (algorithm, way)))
}

fn parts(jwt: &str) -> Vec<String> {
    jwt.split('.').map(str::to_owned).collect()
}

/// The parts of a token, of another one and of an envelope, in every order and number.
#[test]
fn each_part_swapped() {
    let keys = all_keys();
    for algorithm in ALGORITHMS {
        let header = format!(r#"{{"alg":"{algorithm}","x":1}}"#);
        let mallory = CLAIMS.replace("alice", "mallory");
        let other = pair_for(algorithm).jwt(algorithm, &header, &mallory);
        let all = [token(algorithm), envelope(algorithm), other];
        let pool: Vec<String> =
            all.iter().flat_map(|jwt| parts(jwt)).chain([String::new()]).collect();
        let mut mixed: Vec<Vec<&str>> = vec![Vec::new()];
        let mut taken = 0;
        for count in 1..=4 {
            let longer = mixed
                .iter()
                .flat_map(|some| pool.iter().map(move |part| [&some[..], &[part]].concat()));
            mixed = longer.collect();
            // Four parts are too many, whatever they are.
            if count == 4 {
                mixed.retain(|some| {
                    all.iter().any(|jwt| parts(jwt) == some[..3] || parts(jwt) == some[1..])
                });
            }
            for some in &mixed {
                let jwt = some.join(".");
                for way in WAYS {
                    let is_one = all.contains(&jwt);
                    let is_taken = way.takes(jwt.as_bytes(), &keys);
                    assert!(is_one || !is_taken, "{algorithm}, {way:?}, {jwt}");
                    taken += usize::from(is_taken);
                }
            }
        }
        // A token in each way that is for one, and so is the other one; the envelope in its own.
        assert_eq!(taken, 5 + 5 + 1, "{algorithm}");
    }
}

/// The header of one algorithm, the signature of another.
#[test]
fn each_algorithm_swapped() {
    let keys = all_keys();
    for way in WAYS {
        let all = ALGORITHMS.map(|algorithm| parts(&way.good(algorithm)));
        for (n, one) in all.iter().enumerate() {
            for (m, other) in all.iter().enumerate().filter(|(m, _)| *m != n) {
                let mixed = [&one[0][..], &one[1], &other[2]].join(".");
                assert!(!way.takes(mixed.as_bytes(), &keys), "{way:?}, {n}, {m}");
            }
        }
    }
}

/// One value of each type of JSON, and two more of those that have several kinds.
const VALUES: [&str; 11] =
    ["null", "true", "false", "1", "-1", "1.5", "\"x\"", "\"\"", "[]", "[\"x\"]", "{}"];

/// An object, and all that can be done to one of its members.
fn changes(object: &str, name: &str) -> Vec<String> {
    let members: serde_json::Map<_, _> = serde_json::from_str(object).unwrap();
    let text = |members: &serde_json::Map<_, _>| serde_json::to_string(members).unwrap();
    let mut dropped = members.clone();
    let value = dropped.remove(name).unwrap();
    let mut renamed = dropped.clone();
    renamed.insert(format!("{name}_"), value.clone());
    let mut other_case = dropped.clone();
    other_case.insert(name.to_uppercase(), value);
    let mut all = vec![text(&dropped), text(&renamed), text(&other_case)];
    for value in VALUES {
        let mut retyped = members.clone();
        retyped.insert(name.to_owned(), serde_json::from_str(value).unwrap());
        all.push(text(&retyped));
        all.push(object.replacen('{', &format!("{{\"{name}\":{value},"), 1));
    }
    all
}

fn names(object: &str) -> Vec<String> {
    serde_json::from_str::<serde_json::Map<_, _>>(object).unwrap().keys().cloned().collect()
}

/// Each claim, outside and inside, and each parameter is dropped, renamed, retyped or there twice, while the signature
/// is the one from before.
#[test]
fn each_claim_changed() {
    let keys = all_keys();
    for algorithm in ALGORITHMS {
        for way in WAYS {
            let good = parts(&way.good(algorithm));
            let claims = way.good_claims();
            let mut forged = Vec::new();
            for name in names(claims) {
                for payload in changes(claims, &name) {
                    forged.push([&good[0][..], &base64(payload), &good[2]].join("."));
                }
            }
            for (_, payload) in changed_inside(way, "sub").chain(changed_inside(way, "active")) {
                forged.push([&good[0][..], &base64(payload), &good[2]].join("."));
            }
            let header = String::from_utf8(bytes_of(&good[0])).unwrap();
            for header in names(&header).iter().flat_map(|name| changes(&header, name)) {
                forged.push([&base64(header)[..], &good[1], &good[2]].join("."));
            }
            for jwt in forged {
                assert!(!way.takes(jwt.as_bytes(), &keys), "{algorithm}, {way:?}, {jwt}");
            }
        }
    }
}

/// What is inside an envelope, changed; and the whole payload.
fn changed_inside(way: Way, name: &str) -> impl Iterator<Item = (String, String)> {
    const INSIDE: &str = r#"{"active":true,"sub":"alice","exp":1700000060}"#;
    let all = if way == Way::Envelope { changes(INSIDE, name) } else { Vec::new() };
    all.into_iter().map(|inside| {
        let payload = ENVELOPE.replace(INSIDE, &inside);
        (inside, payload)
    })
}

/// What the server has signed itself does not count where it does not say what it must, in a type that it may have.
#[test]
fn each_claim_signed_otherwise() {
    let keys = all_keys();
    for way in WAYS {
        let header = match way {
            Way::Envelope => r#"{"alg":"ES256","typ":"token-introspection+jwt"}"#,
            _ => r#"{"alg":"ES256","typ":"at+jwt"}"#,
        };
        let read = |header: &str, payload: &str| {
            way.read(p256().jwt("ES256", header, payload).as_bytes(), &keys, EXPECT)
        };
        let claims = way.good_claims();
        assert_eq!(read(header, claims), Outcome::Active, "{way:?}");
        let required: &[&str] = match way {
            Way::Envelope => &["iss", "aud", "iat", "token_introspection"],
            Way::Presented => &["iss", "aud", "exp"],
            _ => &["iss", "aud"],
        };
        for name in names(claims) {
            for payload in changes(claims, &name) {
                let found = read(header, &payload);
                // Twice is never what it was.
                let is_twice =
                    payload.matches(&format!("\"{name}\":")).count() == 2 && name != "sub";
                if required.contains(&&*name) || is_twice {
                    // A number is a date: one that is over says so, and one from long ago is good for `iat`.
                    let is_date = ["exp", "iat"].contains(&&*name)
                        && !is_twice
                        && ["1", "-1", "1.5"]
                            .iter()
                            .any(|it| payload.contains(&format!("\"{name}\":{it}")));
                    assert!(found == Outcome::Refused || is_date, "{way:?}, {payload}");
                    assert!(found != Outcome::Active || name == "iat", "{way:?}, {payload}");
                }
            }
        }
        // Dates are dates, whether they are required or not.
        for name in ["exp", "nbf", "iat"] {
            for value in ["true", "false", "\"x\"", "\"\"", "\"1.5\"", "[]", "[1700000060]", "{}"] {
                let mut members: serde_json::Map<_, _> = serde_json::from_str(claims).unwrap();
                members.insert(name.to_owned(), serde_json::from_str(value).unwrap());
                let payload = serde_json::to_string(&members).unwrap();
                assert_eq!(read(header, &payload), Outcome::Refused, "{way:?}, {payload}");
            }
        }
        // An answer inside an envelope: what is not the boolean true is not active.
        for (inside, payload) in changed_inside(way, "active") {
            let is_active =
                inside.contains("\"active\":true") && inside.matches("\"active\":").count() == 1;
            assert_eq!(read(header, &payload) == Outcome::Active, is_active, "{inside}");
        }
        for (inside, payload) in changed_inside(way, "exp") {
            let is = |value: &str| inside.contains(&format!("\"exp\":{value},"));
            let expected = match inside.matches("\"exp\":").count() {
                0 => Outcome::Active,
                1 if is("null") => Outcome::Active,
                1 if is("1") || is("-1") || is("1.5") => Outcome::Other,
                _ => Outcome::Refused,
            };
            assert_eq!(read(header, &payload), expected, "{inside}");
        }
        // Of the header, `typ` alone may be missing.
        for header in changes(header, "alg") {
            assert_eq!(read(&header, claims), Outcome::Refused, "{way:?}, {header}");
        }
        for changed in changes(header, "typ") {
            let is_absent = !changed.contains("\"typ\":");
            // Any name that is no other kind's will do for an answer (RFC 8725 section 3.11).
            let is_lenient = !matches!(way, Way::Envelope | Way::Presented)
                && (changed.contains(r#""typ":"x""#) || changed.contains(r#""typ":"""#))
                && changed.matches("\"typ\":").count() == 1;
            let expected = if is_absent || is_lenient { Outcome::Active } else { Outcome::Refused };
            assert_eq!(read(&changed, claims), expected, "{way:?}, {changed}");
        }
    }
}

/// The name of a key, retyped: whoever would take none for any would verify by another key.
#[test]
fn each_kid_changed() {
    let named = keys(&[format!(r#""kid":"k",{}"#, p256().members())]);
    for way in WAYS {
        let header = r#"{"alg":"ES256","kid":"k"}"#;
        let read = |header: &str| {
            way.read(p256().jwt("ES256", header, way.good_claims()).as_bytes(), &named, EXPECT)
        };
        assert_eq!(read(header), Outcome::Active, "{way:?}");
        for changed in changes(header, "kid") {
            let expected =
                if changed.contains("\"kid\":") { Outcome::Refused } else { Outcome::Active };
            assert_eq!(read(&changed), expected, "{way:?}, {changed}");
        }
    }
}

/// Another number for the same signature. By a curve there is one, as there is for everybody who verifies ECDSA: it
/// is of the same message, by the same key, and half of what servers sign looks like it. Nothing relies on a
/// signature being the only one: the cache goes by the whole token, and a proof by its `jti`.
#[test]
fn signatures_that_are_the_same_by_arithmetic() {
    let keys = all_keys();
    for (algorithm, way) in pairs() {
        let good = parts(&way.good(algorithm));
        let signature = bytes_of(&good[2]);
        let other = other_signatures(pair_for(algorithm), &signature);
        assert!(!other.is_empty());
        for (other, is_valid) in other {
            assert_ne!(other, signature);
            let jwt = [&good[0][..], &good[1], &base64(other)].join(".");
            assert_eq!(way.takes(jwt.as_bytes(), &keys), is_valid, "{algorithm}, {way:?}");
        }
    }
}

#[test]
fn keys_of_others() {
    let strangers = keys(&[new_rsa(), new_p256()].map(|pair| pair.members()));
    for algorithm in ["RS256", "PS512", "ES256"] {
        let found = verify(token(algorithm).as_bytes(), Kind::AccessToken, &strangers, &ANY, NOW);
        assert_eq!(found, Err(VerifyError::Signature), "{algorithm}");
        for way in WAYS {
            assert!(!way.takes(way.good(algorithm).as_bytes(), &strangers), "{algorithm}, {way:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        let keys = keys(&[p256().members()]);
        for way in WAYS {
            prop_assert!(!way.takes(&bytes, &keys));
        }
    }

    /// Several changes at once: bytes replaced, removed, put in.
    #[test]
    fn any_damage(
        changes in prop::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3_u8), 1..5),
        which in proptest::sample::select(FAMILIES.to_vec()),
        way in proptest::sample::select(WAYS.to_vec()),
    ) {
        let keys = all_keys();
        let good = way.good(which).into_bytes();
        let mut bad = good.clone();
        for (at, byte, how) in changes {
            let at = at.index(bad.len());
            match how {
                0 => bad[at] = byte,
                1 => bad.insert(at, byte),
                _ => { bad.remove(at); }
            }
        }
        let is_good = good == if way.is_trimmed() { bad.trim_ascii() } else { &bad };
        prop_assert_eq!(way.takes(&bad, &keys), is_good);
    }

    #[test]
    fn any_header(header in "\\{\"alg\":\"ES256\"(,\"(kid|crit|b64|typ|jwk|x5c|alg|zip)\":(1|true|null|\"x\"|\\[\\]|\\{\\})){0,3}\\}") {
        let keys = keys(&[p256().members()]);
        for way in WAYS {
            let jwt = p256().jwt("ES256", &header, way.good_claims());
            let harmful = ["\"kid\"", "\"crit\""].iter().any(|it| header.contains(it))
                || header.matches("\"alg\"").count() > 1;
            prop_assert!(!(way.takes(jwt.as_bytes(), &keys) && harmful), "{}", header);
        }
    }
}
