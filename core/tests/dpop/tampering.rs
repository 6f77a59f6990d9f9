//! Whatever is done to a proof after it was signed: it does not count.

use phantom_token_core::dpop::{ALGORITHMS, ProofError};
use phantom_token_core::key::ProofKey;
use proptest::prelude::*;

use crate::keys::{Pair, base64, bytes_of, new_p256, other_signatures, p256, pair_for, token};
use crate::support::*;

/// One of each way of signing.
const FAMILIES: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

/// One that has seen the good proof, and has its key at hand.
fn seen(good: &[u8], pair: &Pair) -> impl FnMut(&[u8]) -> Result<[u8; 32], ProofError> {
    let mut proofs = proofs();
    let (thumbprint, names) = (thumbprint(pair), ProofKey::new(&SECRET));
    let mut check = move |proof: &[u8]| {
        proofs.check(proof, &expect(&thumbprint), &names, NOW).map(|proof| proof.name)
    };
    assert!(check(good).is_ok());
    check
}

#[test]
fn each_bit_flipped() {
    for algorithm in FAMILIES {
        let pair = pair_for(algorithm);
        let good = proof(algorithm, pair).into_bytes();
        let mut check_again = seen(&good, pair);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(check(&bad, pair).is_err(), "{algorithm}, {at}, {bit}");
                assert!(check_again(&bad).is_err(), "{algorithm}, {at}, {bit}");
            }
        }
    }
}

/// Every character that could stand in a place, in the places where the bits of base64url may be left over.
#[test]
fn each_other_end_of_a_part() {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.";
    for algorithm in FAMILIES {
        let pair = pair_for(algorithm);
        let good = proof(algorithm, pair).into_bytes();
        let ends = (0..=good.len()).filter(|&at| good.get(at).is_none_or(|&byte| byte == b'.'));
        for end in ends {
            for &other in ALPHABET.iter().filter(|&&other| other != good[end - 1]) {
                let mut bad = good.clone();
                bad[end - 1] = other;
                assert!(check(&bad, pair).is_err(), "{algorithm}, {end}");
            }
        }
    }
}

/// Each byte is left out, and padding, blanks and the like are put in.
#[test]
fn each_place_with_more_or_less() {
    let good = proof("ES256", p256()).into_bytes();
    let mut check = seen(&good, p256());
    for at in 0..=good.len() {
        let (before, after) = good.split_at(at);
        if let [_, rest @ ..] = after {
            assert!(check(&[before, rest].concat()).is_err(), "{at}");
        }
        for more in ["=", "==", ".", "A", "AAAA", "%20", "+", ",", "\0", " ", "\r\n", "\t"] {
            assert!(check(&[before, more.as_bytes(), after].concat()).is_err(), "{at}, {more:?}");
        }
    }
}

/// The parts of a proof, of another one and of an access token, in every order and number.
#[test]
fn each_part_swapped() {
    let parts = |jwt: &str| jwt.split('.').map(str::to_owned).collect::<Vec<_>>();
    for algorithm in ALGORITHMS {
        let pair = pair_for(algorithm);
        let header = header(algorithm, pair).replacen('{', "{\"x\":1,", 1);
        let other = pair.jwt(algorithm, &header, &good_payload().replace("one", "two"));
        let all = [proof(algorithm, pair), other];
        let access_token = token(algorithm);
        let pool = all.iter().chain([&access_token]).flat_map(|jwt| parts(jwt));
        let pool: Vec<String> = pool.chain([String::new()]).collect();
        let mut mixed: Vec<Vec<&str>> = vec![Vec::new()];
        let mut accepted = 0;
        for _ in 1..=3 {
            let longer = mixed
                .iter()
                .flat_map(|some| pool.iter().map(move |part| [&some[..], &[part]].concat()));
            mixed = longer.collect();
            for some in &mixed {
                let jwt = some.join(".");
                let is_accepted = check(&jwt, pair).is_ok();
                assert_eq!(is_accepted, all.contains(&jwt), "{algorithm}, {jwt}");
                accepted += usize::from(is_accepted);
            }
        }
        assert_eq!(accepted, all.len());
        for four in [format!("{}.", all[0]), format!(".{}", all[0]), format!("{}.x", all[0])] {
            assert!(check(four, pair).is_err(), "{algorithm}");
        }
    }
}

/// The signature of another algorithm, by the same key or by its own.
#[test]
fn each_algorithm_swapped() {
    let all = ALGORITHMS.map(|algorithm| proof(algorithm, pair_for(algorithm)));
    let split =
        |jwt: &str| jwt.rsplit_once('.').map(|(message, it)| (message.to_owned(), it.to_owned()));
    for (n, one) in all.iter().enumerate() {
        let (message, _) = split(one).unwrap();
        for (m, other) in all.iter().enumerate().filter(|(m, _)| *m != n) {
            let (_, signature) = split(other).unwrap();
            let mixed = format!("{message}.{signature}");
            assert!(check(mixed, pair_for(ALGORITHMS[n])).is_err(), "{n}, {m}");
        }
    }
}

/// An object with all that can be done to one of its members, the others being as they were.
fn changes(object: &str) -> Vec<String> {
    const VALUES: [&str; 11] =
        ["null", "true", "false", "1", "-1", "1.5", "\"x\"", "\"\"", "[]", "[\"x\"]", "{}"];
    let members: serde_json::Map<_, _> = serde_json::from_str(object).unwrap();
    let text = |members: &serde_json::Map<_, _>| serde_json::to_string(members).unwrap();
    let mut all = Vec::new();
    for name in members.keys() {
        let mut dropped = members.clone();
        let value = dropped.remove(name).unwrap();
        let mut renamed = dropped.clone();
        renamed.insert(format!("{name}_"), value.clone());
        let mut other_case = dropped.clone();
        other_case.insert(name.to_uppercase(), value);
        all.extend([dropped, renamed, other_case].map(|it| text(&it)));
        for value in VALUES {
            all.push(object.replacen('{', &format!("{{\"{name}\":{value},"), 1));
            // A `jti` can be any string.
            if name == "jti" && value == "\"x\"" {
                continue;
            }
            let mut retyped = members.clone();
            retyped.insert(name.clone(), serde_json::from_str(value).unwrap());
            all.push(text(&retyped));
        }
    }
    all
}

/// Each claim and each parameter dropped, renamed, retyped or there twice, without a new signature and with one.
#[test]
fn each_member_changed() {
    let good_payload = good_payload();
    for algorithm in ALGORITHMS {
        let pair = pair_for(algorithm);
        let good = proof(algorithm, pair);
        let signature = good.rsplit('.').next().unwrap();
        let good_header = header(algorithm, pair);
        let payloads = changes(&good_payload).into_iter().map(|it| (good_header.clone(), it));
        let headers = changes(&good_header).into_iter().map(|it| (it, good_payload.clone()));
        for (header, payload) in payloads.chain(headers) {
            let forged = format!("{}.{}.{signature}", base64(&header), base64(&payload));
            assert!(check(forged, pair).is_err(), "{algorithm}, {header}, {payload}");
            let signed = pair.jwt(algorithm, &header, &payload);
            assert!(check(signed, pair).is_err(), "{algorithm}, {header}, {payload}");
        }
    }
}

/// The same of the key in the header, whose members make its thumbprint.
#[test]
fn each_member_of_the_key_changed() {
    for algorithm in ALGORITHMS {
        let pair = pair_for(algorithm);
        let key = format!("{{{}}}", pair.members());
        for changed in changes(&key) {
            let header = header(algorithm, pair).replace(&key, &changed);
            assert_ne!(header, self::header(algorithm, pair));
            let signed = pair.jwt(algorithm, &header, &good_payload());
            assert!(check(signed, pair).is_err(), "{algorithm}, {header}");
        }
    }
}

/// The members of the key in the header, changed by whoever has another key.
#[test]
fn each_member_of_the_key_of_another() {
    let (own, foreign) = (p256().members(), new_p256());
    let member = |members: &str, name: &str| {
        let start = members.find(&format!("\"{name}\":\"")).unwrap() + name.len() + 4;
        members[start..].split('"').next().unwrap().to_owned()
    };
    for name in ["x", "y", "crv", "kty"] {
        let other = match name {
            "crv" => "P-384".to_owned(),
            "kty" => "OKP".to_owned(),
            name => member(&foreign.members(), name),
        };
        let mixed = own.replace(&member(&own, name), &other);
        let header = header("ES256", p256()).replace(&own, &mixed);
        for pair in [p256(), &foreign] {
            let jwt = pair.jwt("ES256", &header, &good_payload());
            assert!(check(jwt, p256()).is_err(), "{name}");
        }
    }
}

/// Another number for the same signature, which by a curve there is for everybody who verifies ECDSA: it makes no
/// second proof, for its `jti` is the one that was used.
#[test]
fn signatures_that_are_the_same_by_arithmetic() {
    for algorithm in FAMILIES {
        let pair = pair_for(algorithm);
        let good = proof(algorithm, pair);
        let (message, signature) = good.rsplit_once('.').unwrap();
        let mut check = seen(good.as_bytes(), pair);
        let name = check(good.as_bytes()).unwrap();
        for (other, is_valid) in other_signatures(pair, &bytes_of(signature)) {
            let found = check(format!("{message}.{}", base64(other)).as_bytes());
            let expected = if is_valid { Ok(name) } else { Err(ProofError::Signature) };
            assert_eq!(found, expected, "{algorithm}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        prop_assert!(check(bytes, p256()).is_err());
    }

    #[test]
    fn any_damage(
        changes in prop::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3_u8), 1..5),
        which in proptest::sample::select(FAMILIES.to_vec()),
    ) {
        let pair = pair_for(which);
        let good = proof(which, pair).into_bytes();
        let mut bad = good.clone();
        for (at, byte, how) in changes {
            let at = at.index(bad.len());
            match how {
                0 => bad[at] = byte,
                1 => bad.insert(at, byte),
                _ => { bad.remove(at); }
            }
        }
        prop_assert_eq!(check(&bad, pair).is_ok(), bad == good);
    }
}
