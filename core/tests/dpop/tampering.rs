//! Whatever is done to a proof after it was signed: it does not count.

use proptest::prelude::*;

use crate::keys::{base64, new_p256, p256, pair_for};
use crate::support::*;

/// One of each way of signing.
const FAMILIES: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

#[test]
fn each_byte_flipped() {
    for algorithm in FAMILIES {
        let pair = pair_for(algorithm);
        let good = proof(algorithm, pair).into_bytes();
        for at in 0..good.len() {
            for bit in [0, 1, 2, 5, 7] {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(check(&bad, pair).is_err(), "{algorithm}, {at}, {bit}");
            }
        }
    }
}

#[test]
fn each_part_swapped() {
    let parts = |jwt: &str| jwt.split('.').map(str::to_owned).collect::<Vec<_>>();
    for algorithm in FAMILIES {
        let pair = pair_for(algorithm);
        let one = parts(&proof(algorithm, pair));
        let header = header(algorithm, pair).replacen('{', "{\"x\":1,", 1);
        let other = parts(&pair.jwt(algorithm, &header, &good_payload().replace("one", "two")));
        for part in 0..3 {
            let mut mixed = one.clone();
            mixed[part].clone_from(&other[part]);
            assert!(check(mixed.join("."), pair).is_err(), "{algorithm}, {part}");
        }
        for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mixed = order.map(|part| one[part].clone()).join(".");
            assert!(check(mixed, pair).is_err(), "{algorithm}, {order:?}");
        }
    }
}

/// Each claim and each parameter dropped, renamed or of another type, without a new signature and with one.
#[test]
fn each_member_changed() {
    let values = ["null", "true", "1", "\"x\"", "[]", "{}", "[\"x\"]", "-1", "1.5"];
    let good = proof("ES256", p256());
    let signature = good.rsplit('.').next().unwrap();
    let (good_header, good_payload) = (header("ES256", p256()), good_payload());
    let changes = |object: &str| {
        let members: serde_json::Map<_, _> = serde_json::from_str(object).unwrap();
        let mut all = Vec::new();
        for name in members.keys() {
            let mut dropped = members.clone();
            let value = dropped.remove(name).unwrap();
            let mut renamed = dropped.clone();
            renamed.insert(format!("{name}_"), value.clone());
            all.extend([dropped, renamed].map(|it| serde_json::to_string(&it).unwrap()));
            for value in values {
                // A `jti` can be any string.
                if name == "jti" && value == "\"x\"" {
                    continue;
                }
                let mut retyped = members.clone();
                retyped.insert(name.clone(), serde_json::from_str(value).unwrap());
                all.push(serde_json::to_string(&retyped).unwrap());
                all.push(object.replacen('{', &format!("{{\"{name}\":{value},"), 1));
            }
        }
        all
    };
    for payload in changes(&good_payload) {
        let forged = format!("{}.{}.{signature}", base64(&good_header), base64(&payload));
        assert!(check(forged, p256()).is_err(), "{payload}");
        let signed = p256().jwt("ES256", &good_header, &payload);
        assert!(check(signed, p256()).is_err(), "{payload}");
    }
    for header in changes(&good_header) {
        let forged = format!("{}.{}.{signature}", base64(&header), base64(&good_payload));
        assert!(check(forged, p256()).is_err(), "{header}");
        let signed = p256().jwt("ES256", &header, &good_payload);
        assert!(check(signed, p256()).is_err(), "{header}");
    }
}

/// The members of the key in the header, changed by whoever has another key.
#[test]
fn each_member_of_the_key_changed() {
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
