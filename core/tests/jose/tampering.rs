//! Whatever is done to a JWT after it was signed: it does not verify.

use phantom_token_core::jose::{KeySet, VerifyError, verify};
use phantom_token_core::jwt::Kind;
use proptest::prelude::*;

use crate::support::*;

/// For whom it must be is left open: the signature alone has to see it.
fn accepts(jwt: &[u8], kind: Kind, keys: &KeySet) -> bool {
    matches!(verify(jwt, kind, keys, &ANY, NOW), Ok(()) | Err(VerifyError::Expired))
}

fn made(algorithm: &str, kind: Kind) -> String {
    match kind {
        Kind::AccessToken | Kind::Presented => token(algorithm),
        Kind::Envelope => envelope(algorithm),
    }
}

const KINDS: [Kind; 3] = [Kind::AccessToken, Kind::Envelope, Kind::Presented];

/// One of each way of signing; the other hashes differ in nothing that is looked at here.
const FAMILIES: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

#[test]
fn each_byte_flipped() {
    let keys = all_keys();
    for algorithm in FAMILIES {
        for kind in KINDS {
            let good = made(algorithm, kind).into_bytes();
            assert!(accepts(&good, kind, &keys));
            for at in 0..good.len() {
                for bit in [0, 1, 2, 5, 7] {
                    let mut bad = good.clone();
                    bad[at] ^= 1 << bit;
                    assert!(!accepts(&bad, kind, &keys), "{algorithm}, {kind:?}, {at}, {bit}");
                }
            }
        }
    }
}

/// Every character that could stand in a place, in the places where the bits of base64url may be left over.
#[test]
fn each_other_end_of_a_part() {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.";
    let keys = all_keys();
    for algorithm in FAMILIES {
        let good = token(algorithm).into_bytes();
        let ends = (0..=good.len()).filter(|&at| good.get(at).is_none_or(|&byte| byte == b'.'));
        for end in ends {
            for &other in ALPHABET.iter().filter(|&&other| other != good[end - 1]) {
                let mut bad = good.clone();
                bad[end - 1] = other;
                assert!(!accepts(&bad, Kind::AccessToken, &keys), "{algorithm}, {end}");
            }
        }
    }
}

#[test]
fn each_part_swapped() {
    let keys = all_keys();
    let parts = |jwt: &str| jwt.split('.').map(str::to_owned).collect::<Vec<_>>();
    for algorithm in FAMILIES {
        let one = parts(&token(algorithm));
        let pair = pair_for(algorithm);
        let header = format!(r#"{{"alg":"{algorithm}","x":1}}"#);
        let other = parts(&pair.jwt(algorithm, &header, &CLAIMS.replace("alice", "mallory")));
        for part in 0..3 {
            let mut mixed = one.clone();
            mixed[part].clone_from(&other[part]);
            assert!(!accepts(mixed.join(".").as_bytes(), Kind::AccessToken, &keys), "{part}");
        }
        for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mixed = order.map(|part| one[part].clone()).join(".");
            assert!(!accepts(mixed.as_bytes(), Kind::AccessToken, &keys), "{order:?}");
        }
    }
}

/// Each claim is dropped, retyped or renamed: without a new signature by nobody's leave, and with one where it
/// counts.
#[test]
fn each_claim_changed() {
    let keys = all_keys();
    let values = ["null", "true", "1", "\"x\"", "[]", "{}", "[\"x\"]", "-1", "1e400", "1.5"];
    for (kind, claims, typ) in [
        (Kind::AccessToken, CLAIMS, "at+jwt"),
        (Kind::Envelope, ENVELOPE, "token-introspection+jwt"),
    ] {
        let header = format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#);
        let good = p256().jwt("ES256", &header, claims);
        let signature = good.rsplit('.').next().unwrap();
        let members: serde_json::Map<_, _> = serde_json::from_str(claims).unwrap();
        let text = |members: &[(String, String)]| {
            let members = members.iter().map(|(name, value)| format!("\"{name}\":{value}"));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        };
        let members: Vec<(String, String)> =
            members.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
        for changed in 0..members.len() {
            let name = members[changed].0.clone();
            let mut dropped = members.clone();
            dropped.remove(changed);
            let mut renamed = members.clone();
            renamed[changed].0.push('_');
            let mut all = vec![text(&dropped), text(&renamed)];
            for value in values {
                let mut retyped = members.clone();
                retyped[changed].1 = value.to_owned();
                all.push(text(&retyped));
                let mut twice = members.clone();
                twice.push((name.clone(), value.to_owned()));
                all.push(text(&twice));
            }
            for payload in all {
                let forged = format!("{}.{}.{signature}", base64(&header), base64(&payload));
                assert!(!accepts(forged.as_bytes(), kind, &keys), "{payload}");
                // What the server has signed itself is refused where it does not say what it must.
                let resigned = p256().jwt("ES256", &header, &payload);
                let found = verify(resigned.as_bytes(), kind, &keys, &EXPECT, NOW);
                if ["iss", "aud"].contains(&&*name) {
                    assert!(found.is_err(), "{payload}");
                }
            }
        }
    }
}

#[test]
fn keys_of_others() {
    let strangers = keys(&[new_rsa(), new_p256()].map(|pair| pair.members()));
    for algorithm in ["RS256", "PS512", "ES256"] {
        let found = verify(token(algorithm).as_bytes(), Kind::AccessToken, &strangers, &ANY, NOW);
        assert_eq!(found, Err(VerifyError::Signature), "{algorithm}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        let keys = keys(&[p256().members()]);
        for kind in KINDS {
            prop_assert!(!accepts(&bytes, kind, &keys));
        }
    }

    /// Several changes at once: bytes replaced, removed, put in.
    #[test]
    fn any_damage(
        changes in prop::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3_u8), 1..5),
        which in proptest::sample::select(FAMILIES.to_vec()),
    ) {
        let keys = all_keys();
        let good = token(which).into_bytes();
        let mut bad = good.clone();
        for (at, byte, how) in changes {
            let at = at.index(bad.len());
            match how {
                0 => bad[at] = byte,
                1 => bad.insert(at, byte),
                _ => { bad.remove(at); }
            }
        }
        prop_assert_eq!(accepts(&bad, Kind::AccessToken, &keys), bad == good);
    }

    #[test]
    fn any_header(header in "\\{\"alg\":\"ES256\"(,\"(kid|crit|b64|typ|jwk|x5c|alg|zip)\":(1|true|null|\"x\"|\\[\\]|\\{\\})){0,3}\\}") {
        let keys = keys(&[p256().members()]);
        let jwt = p256().jwt("ES256", &header, CLAIMS);
        let accepted = accepts(jwt.as_bytes(), Kind::AccessToken, &keys);
        let harmful = ["\"kid\"", "\"crit\""].iter().any(|it| header.contains(it))
            || header.matches("\"alg\"").count() > 1;
        prop_assert!(!(accepted && harmful), "{}", header);
    }
}
