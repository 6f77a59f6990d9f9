//! Which keys of a set count, and what is said of the others.

use phantom_token_core::jose::{KeyFault, KeySet, KeySetError, MAX_KEYS, MAX_SET};
use proptest::prelude::*;

use crate::support::{base64, bytes_of, ed25519, keys, new_p256, p256, p384, rsa, set_of};

/// What a set of this one key is.
fn fault_of(members: &str) -> Option<KeyFault> {
    match KeySet::parse(set_of(&[members.to_owned()]).as_bytes()) {
        Ok(set) => {
            assert_eq!((set.len(), set.ignored().len(), set.is_empty()), (1, 0, false));
            None
        }
        Err(KeySetError::NoUsableKey(keys)) => {
            let text = keys.to_string();
            // The same key beside a good one is passed over, and for the same reason.
            let good = r#""kid":"good","#.to_owned() + &p256().members();
            let set = KeySet::parse(set_of(&[good, members.to_owned()]).as_bytes()).unwrap();
            let [ignored] = set.ignored() else { panic!("{text}") };
            assert_eq!((set.len(), ignored.place), (1, 2));
            assert_eq!(text, ignored.to_string().replacen('2', "1", 1));
            Some(ignored.fault)
        }
        Err(error) => panic!("{members}: {error}"),
    }
}

#[test]
fn documents() {
    let parse = |text: &str| KeySet::parse(text.as_bytes()).map(|_| ()).unwrap_err();
    assert_eq!(parse(""), KeySetError::Empty);
    assert_eq!(parse(" \r\n\t"), KeySetError::Empty);
    for text in ["{", "-----BEGIN PUBLIC KEY-----", "[]", "\"keys\"", "{}{}", "{\"keys\":[}"] {
        let error = parse(text);
        assert!(matches!(error, KeySetError::Json(_)), "{text}: {error}");
        assert!(error.to_string().contains("JSON"));
    }
    let surrogate = format!(r#"{{"keys":[{{{},"x5c":"\ud800"}}]}}"#, p256().members());
    assert!(matches!(parse(&surrogate), KeySetError::Json(_)));
    assert!(matches!(KeySet::parse(b"{\"keys\":[\"\xff\"]}"), Err(KeySetError::Json(_))));
    let key = p256().members();
    for text in [
        "{}".to_owned(),
        r#"{"keys":{}}"#.to_owned(),
        r#"{"keys":null}"#.to_owned(),
        r#"{"keys":"[]"}"#.to_owned(),
        r#"{"Keys":[]}"#.to_owned(),
        // A key alone is no set.
        format!("{{{key}}}"),
        format!(r#"{{"keys":[{{{key}}}],"keys":[{{{key}}}]}}"#),
        format!(r#"{{"keys":[{{{key}}}],"k\u0065ys":[]}}"#),
    ] {
        assert_eq!(parse(&text), KeySetError::NoKeys, "{text}");
    }
    assert_eq!(parse(r#"{"keys":[]}"#), KeySetError::NoKey);
    assert!(KeySet::parse(format!(r#" {{"x":[1],"keys" : [ {{{key}}} ] }} "#).as_bytes()).is_ok());
}

#[test]
fn sizes() {
    let key = p256().members();
    let good = set_of(std::slice::from_ref(&key));
    let padded = |len: usize| format!("{good}{}", " ".repeat(len - good.len()));
    assert!(KeySet::parse(padded(MAX_SET).as_bytes()).is_ok());
    assert_eq!(KeySet::parse(padded(MAX_SET + 1).as_bytes()).unwrap_err(), KeySetError::TooLarge);
    let many = |count: usize| {
        let kid = |n| format!(r#""kid":"{n}",{key}"#);
        KeySet::parse(set_of(&(0..count).map(kid).collect::<Vec<_>>()).as_bytes())
    };
    assert_eq!(many(MAX_KEYS).unwrap().len(), MAX_KEYS);
    assert_eq!(many(MAX_KEYS + 1).unwrap_err(), KeySetError::TooManyKeys);
    // Nesting beyond all measure is no crash.
    let deep = format!(r#"{{"keys":[{{{key},"x":{}{}}}]}}"#, "[".repeat(9000), "]".repeat(9000));
    let _ = KeySet::parse(deep.as_bytes());
    let deep = format!(r#"{{"keys":[{}{}]}}"#, "[".repeat(9000), "]".repeat(9000));
    assert!(KeySet::parse(deep.as_bytes()).is_err());
}

#[test]
fn uses() {
    let key = p256().members();
    let with = |members: &str| fault_of(&format!("{members},{key}"));
    for members in [
        r#""use":"sig""#,
        r#""use":null"#,
        r#""alg":"ES256""#,
        r#""alg":null,"kid":null"#,
        r#""key_ops":["verify"]"#,
        r#""key_ops":["sign","verify"]"#,
        r#""use":"sig","key_ops":["verify"],"alg":"ES256","kid":"1","x5c":["x"],"x5u":1,"d2":{}"#,
        r#""us\u0065":"sig""#,
    ] {
        assert_eq!(with(members), None, "{members}");
    }
    let cases = [
        (r#""use":"enc""#, KeyFault::Use),
        (r#""use":"SIG""#, KeyFault::Use),
        (r#""use":"""#, KeyFault::Use),
        (r#""key_ops":[]"#, KeyFault::Use),
        (r#""key_ops":["sign"]"#, KeyFault::Use),
        (r#""key_ops":[1,"Verify"]"#, KeyFault::Use),
        (r#""use":"enc","key_ops":["verify"]"#, KeyFault::Use),
        (r#""use":"sig","key_ops":["encrypt"]"#, KeyFault::Use),
        (r#""alg":"ES384""#, KeyFault::Algorithm),
        (r#""alg":"ES512""#, KeyFault::Algorithm),
        (r#""alg":"RS256""#, KeyFault::Algorithm),
        (r#""alg":"HS256""#, KeyFault::Algorithm),
        (r#""alg":"EdDSA""#, KeyFault::Algorithm),
        (r#""alg":"Ed25519""#, KeyFault::Algorithm),
        (r#""alg":"none""#, KeyFault::Algorithm),
        (r#""alg":"es256""#, KeyFault::Algorithm),
        (r#""alg":"ECDH-ES""#, KeyFault::Algorithm),
        (r#""alg":"""#, KeyFault::Algorithm),
        (r#""use":1"#, KeyFault::Malformed),
        (r#""alg":["ES256"]"#, KeyFault::Malformed),
        (r#""kid":7"#, KeyFault::Malformed),
        (r#""key_ops":"verify""#, KeyFault::Malformed),
        (r#""key_ops":["verify"],"key_ops":["verify"]"#, KeyFault::Malformed),
        (r#""use":"sig","use":"sig""#, KeyFault::Malformed),
        (r#""use":"sig","us\u0065":null"#, KeyFault::Malformed),
        (r#""kid":"a","kid":"b""#, KeyFault::Malformed),
        (r#""use":null,"use":"sig""#, KeyFault::Malformed),
        (r#""use":null,"use":null"#, KeyFault::Malformed),
        (r#""kid":null,"kid":"a""#, KeyFault::Malformed),
        (r#""x":null"#, KeyFault::Malformed),
        (r#""kty":"EC""#, KeyFault::Malformed),
    ];
    for (members, fault) in cases {
        assert_eq!(with(members), Some(fault), "{members}");
    }
    for members in ["1", "\"x\"", "[]", "null", "{}", r#"{"kty":null}"#, r#"{"kty":1}"#] {
        let found = KeySet::parse(format!(r#"{{"keys":[{members}]}}"#).as_bytes());
        let Err(KeySetError::NoUsableKey(keys)) = found else { panic!("{members}") };
        assert!(keys.to_string().contains("is no JWK"), "{keys}");
    }
    assert_eq!(fault_of(r#""kty":"LWE","x":"AA""#), Some(KeyFault::Type));
    assert_eq!(fault_of(r#""kty":"rsa","n":"AA","e":"AQAB""#), Some(KeyFault::Type));
}

#[test]
fn secrets() {
    assert_eq!(fault_of(r#""kty":"oct","k":"AAAA","alg":"HS256""#), Some(KeyFault::Symmetric));
    assert_eq!(fault_of(r#""kty":"oct""#), Some(KeyFault::Symmetric));
    assert_eq!(fault_of(&format!(r#""k":"AA",{}"#, rsa().members())), Some(KeyFault::Symmetric));
    for pair in [rsa(), p256(), p384(), ed25519()] {
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "\\u0064"] {
            let members = format!(r#"{},"{member}":"AA""#, pair.members());
            assert_eq!(fault_of(&members), Some(KeyFault::Private), "{member}");
        }
    }
    assert_eq!(fault_of(r#""d":1,"d":2"#), Some(KeyFault::Private));
}

#[test]
fn rsa_keys() {
    let modulus = |bits: usize| {
        let mut n = vec![0xff; bits.div_ceil(8)];
        n[0] = 0xff >> (n.len() * 8 - bits);
        base64(n)
    };
    let key = |n: &str, e: &str| fault_of(&format!(r#""kty":"RSA","n":"{n}","e":"{e}""#));
    for bits in [2048, 2049, 3072, 4096, 8192] {
        assert_eq!(key(&modulus(bits), "AQAB"), None, "{bits}");
    }
    for bits in [1, 512, 1024, 2047, 8193, 16_384] {
        assert_eq!(key(&modulus(bits), "AQAB"), Some(KeyFault::Size(bits)), "{bits}");
    }
    assert_eq!(key("", "AQAB"), Some(KeyFault::Size(0)));
    // Zeros in front do not make it longer, as some servers write it.
    let mut short = vec![0; 256];
    short.extend([0xff; 128]);
    assert_eq!(key(&base64(short), "AQAB"), Some(KeyFault::Size(1024)));
    let mut signed = vec![0];
    signed.extend([0xff; 256]);
    assert_eq!(key(&base64(signed), "AAEAAQ"), None);
    let good = modulus(2048);
    for e in [&[3_u8][..], &[1, 0, 1], &[0xff; 4]] {
        assert_eq!(key(&good, &base64(e)), None, "{e:?}");
    }
    for e in [&[][..], &[0], &[1], &[0, 1], &[2], &[1, 0, 0], &[1, 0, 0, 0, 1]] {
        assert_eq!(key(&good, &base64(e)), Some(KeyFault::Invalid), "{e:?}");
    }
    let mut even = vec![0xff; 256];
    even[255] = 0xfe;
    assert_eq!(key(&base64(even), "AQAB"), Some(KeyFault::Invalid));
    for (n, e) in [(&*good, "AQAB="), (&good, "A"), (&good, "AQ+/"), (&good, "AR"), ("*", "AQAB")] {
        assert_eq!(key(n, e), Some(KeyFault::Malformed), "{e}");
    }
    for members in [
        format!(r#""kty":"RSA","n":"{good}""#),
        r#""kty":"RSA","e":"AQAB""#.to_owned(),
        format!(r#""kty":"RSA","n":"{good}","e":65537"#),
        format!(r#""kty":"RSA","n":"{good}","n":"{good}","e":"AQAB""#),
    ] {
        assert_eq!(fault_of(&members), Some(KeyFault::Malformed));
    }
    let alg = |alg| fault_of(&format!(r#""alg":"{alg}",{}"#, rsa().members()));
    for good in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        assert_eq!(alg(good), None);
    }
    for other in ["RSA-OAEP", "RSA1_5", "HS256", "ES256", "EdDSA", "RS1", "none"] {
        assert_eq!(alg(other), Some(KeyFault::Algorithm), "{other}");
    }
}

#[test]
fn curves() {
    for pair in [p256(), p384(), ed25519()] {
        let members = pair.members();
        assert_eq!(fault_of(&members), None);
        for (from, to, fault) in [
            ("P-256", "P-384", KeyFault::Malformed),
            ("P-384", "P-256", KeyFault::Malformed),
            ("P-256", "P-521", KeyFault::Curve),
            ("P-384", "secp256k1", KeyFault::Curve),
            ("Ed25519", "X25519", KeyFault::Curve),
            ("Ed25519", "Ed448", KeyFault::Curve),
            ("Ed25519", "P-256", KeyFault::Curve),
            ("\"crv\"", "\"curve\"", KeyFault::Malformed),
            ("\"x\"", "\"z\"", KeyFault::Malformed),
            ("\"y\"", "\"z\"", KeyFault::Malformed),
            ("\"x\":\"", "\"x\":\"AAAA", KeyFault::Malformed),
            ("\"kty\":\"EC\"", "\"kty\":\"OKP\"", KeyFault::Curve),
            ("\"kty\":\"OKP\"", "\"kty\":\"EC\"", KeyFault::Curve),
        ] {
            if members.contains(from) {
                assert_eq!(fault_of(&members.replacen(from, to, 1)), Some(fault), "{from} {to}");
            }
        }
    }
    let alg = |alg| fault_of(&format!(r#""alg":"{alg}",{}"#, ed25519().members()));
    assert_eq!(alg("EdDSA"), None);
    assert_eq!(alg("Ed25519"), None);
    for other in ["Ed448", "ed25519", "X25519", "ES256"] {
        assert_eq!(alg(other), Some(KeyFault::Algorithm), "{other}");
    }
    // The same point, divided elsewhere: two keys of other names, and another thumbprint, for one key.
    for (pair, len) in [(p256(), 32), (p384(), 48)] {
        let members = pair.members();
        let value = |name: &str| {
            let start = members.find(&format!("\"{name}\":\"")).unwrap() + name.len() + 4;
            members[start..].split('"').next().unwrap().to_owned()
        };
        let (x, y) = (value("x"), value("y"));
        let point = [bytes_of(&x), bytes_of(&y)].concat();
        assert_eq!(point.len(), 2 * len);
        for at in [0, 1, len - 1, len + 1, 2 * len - 1, 2 * len] {
            let (left, right) = point.split_at(at);
            let divided = members.replace(&x, &base64(left)).replace(&y, &base64(right));
            assert_eq!(fault_of(&divided), Some(KeyFault::Malformed), "{at}");
        }
    }
    // No point of the curve.
    let off = |curve: &str, len: usize, x: u8| {
        let (mut bytes, zeros) = (vec![0; len], base64(vec![0; len]));
        bytes[len - 1] = x;
        fault_of(&format!(r#""kty":"EC","crv":"{curve}","x":"{}","y":"{zeros}""#, base64(bytes)))
    };
    for x in 0..4 {
        assert_eq!(off("P-256", 32, x), Some(KeyFault::Invalid));
        assert_eq!(off("P-384", 48, x), Some(KeyFault::Invalid));
    }
}

#[test]
fn names() {
    let (one, other) = (new_p256().members(), new_p256().members());
    let named = |kid: &str, members: &str| format!(r#""kid":"{kid}",{members}"#);
    // Two keys of one name: both, as some servers have it while they rotate their keys.
    let set = keys(&[named("a", &one), named("b", &other), named("a", &other)]);
    assert_eq!((set.len(), set.ignored().len()), (3, 0));
    // The same key again is one.
    for more in [
        named("a", &one),
        named("b", &one),
        named("a", &p384().members()),
        named("a", &rsa().members()),
        named("a", &format!(r#"{other},"use":"enc""#)),
        one.clone(),
        other.clone(),
    ] {
        let set = keys(&[named("a", &one), more.clone()]);
        let ignored: Vec<_> = set.ignored().iter().map(|it| it.fault).collect();
        assert!(ignored.iter().all(|fault| *fault == KeyFault::Use), "{more}");
        assert_eq!(set.len() + ignored.len(), if more == named("a", &one) { 1 } else { 2 });
    }
    // A log line cannot be forged, and is not flooded.
    let set =
        keys(&[named(&format!("\\n\\u001b{}", "x".repeat(999)), r#""kty":"oct""#), one.clone()]);
    let text = set.ignored()[0].to_string();
    assert!(text.is_ascii() && text.len() < 300 && !text.contains(char::is_control), "{text}");
    let many: Vec<String> = (0..20).map(|n| named(&n.to_string(), r#""kty":"oct""#)).collect();
    let text = KeySet::parse(set_of(&many).as_bytes()).unwrap_err().to_string();
    assert!(text.ends_with("and 16 more") && text.len() < 700, "{text}");
}

/// Whom an operator is told of: not those that many sets have for other purposes.
#[test]
fn keys_that_are_some_trouble() {
    let good = p256().members();
    let told = |other: &str| {
        let set = keys(&[good.clone(), format!(r#""kid":"k",{other}"#)]);
        assert_eq!(set.ignored().len(), 1, "{other}");
        set.unusable().map(|it| it.to_string())
    };
    let enc = format!(r#"{good},"use":"enc""#);
    for usual in [&enc, r#""kty":"EC","crv":"P-521","x":"AA","y":"AA""#, r#""kty":"LWE""#] {
        assert_eq!(told(usual), None);
    }
    let short = format!(r#""kty":"RSA","n":"{}","e":"AQAB""#, base64([0xff; 128]));
    for (other, expected) in [
        (&*short, r#"key 2 ("kid" k) has 1024 bits"#),
        (r#""kty":"oct","k":"AA""#, r#"key 2 ("kid" k) is a shared secret"#),
        (&format!(r#"{good},"d":"AA""#), r#"key 2 ("kid" k) is a private key"#),
        (r#""kty":"RSA""#, r#"key 2 ("kid" k) is no JWK"#),
    ] {
        let told = told(other).unwrap();
        assert!(told.starts_with(expected), "{told}");
    }
    assert_eq!(keys(&[good]).unusable(), None);
}

#[test]
fn identities() {
    let one = |members: &str| *keys(&[members.to_owned()]).identity();
    let (a, b) = (p256().members(), p384().members());
    assert_eq!(keys(&[a.clone(), b.clone()]).identity(), keys(&[b.clone(), a.clone()]).identity());
    assert_eq!(one(&a), one(&format!(r#""x5t":"unheeded","use":"sig",{a}"#)));
    let different = [
        one(&a),
        one(&b),
        *keys(&[a.clone(), b]).identity(),
        one(&format!(r#""kid":"",{a}"#)),
        one(&format!(r#""kid":"a",{a}"#)),
        one(&rsa().members()),
        one(&format!(r#""alg":"RS256",{}"#, rsa().members())),
        one(&format!(r#""alg":"PS256",{}"#, rsa().members())),
    ];
    for (n, one) in different.iter().enumerate() {
        assert!(!different[n + 1..].contains(one), "{n}");
    }
    // What is ignored changes nothing.
    assert_eq!(one(&a), *keys(&[r#""kty":"oct""#.to_owned(), a]).identity());
}

/// Values that a member may have.
fn value() -> impl Strategy<Value = String> {
    let words = [
        "\"RSA\"",
        "\"EC\"",
        "\"OKP\"",
        "\"oct\"",
        "\"P-256\"",
        "\"Ed25519\"",
        "\"sig\"",
        "\"enc\"",
        "\"ES256\"",
        "\"RS256\"",
        "\"AQAB\"",
        "null",
        "1",
        "[]",
        "[\"verify\"]",
        "{}",
        "\"\"",
    ];
    prop_oneof![
        8 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        2 => prop::collection::vec(any::<u8>(), 30..34).prop_map(|it| format!("\"{}\"", base64(it))),
        1 => prop::collection::vec(any::<u8>(), 250..260).prop_map(|it| format!("\"{}\"", base64(it))),
        1 => any::<String>().prop_map(|text| format!("{text:?}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        prop_assert!(KeySet::parse(&bytes).is_err());
    }

    #[test]
    fn any_members(
        keys in prop::collection::vec(
            prop::collection::vec((proptest::sample::select(vec![
                "kty", "use", "key_ops", "alg", "kid", "crv", "n", "e", "x", "y", "d", "k", "z",
            ]), value()), 0..9),
            0..4,
        ),
    ) {
        let members = |it: &Vec<(&str, String)>| {
            it.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>().join(",")
        };
        let text = set_of(&keys.iter().map(members).collect::<Vec<_>>());
        match KeySet::parse(text.as_bytes()) {
            Ok(set) => prop_assert!(!set.is_empty() && set.len() + set.ignored().len() <= keys.len()),
            Err(error) => prop_assert!(!error.to_string().contains(char::is_control)),
        }
    }

    /// A set with a byte changed is refused, or has keys that are no others than those of the text.
    #[test]
    fn any_damage(at: proptest::sample::Index, byte: u8) {
        let mut text = set_of(&[p256().members(), format!(r#""kid":"k",{}"#, ed25519().members())]).into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(set) = KeySet::parse(&text) {
            prop_assert!((1..=2).contains(&set.len()));
        }
    }
}
