//! Keys that are made for a run of the tests, and what they sign.

use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use phantom_token_core::jose::{Expect, KeySet};

pub(crate) const NOW: i64 = 1_700_000_000_000;
pub(crate) const ISSUER: &str = "https://as.example";
pub(crate) const AUDIENCES: &[&[u8]] = &[b"other", b"api"];
pub(crate) const EXPECT: Expect<'_> =
    Expect { issuer: Some(ISSUER.as_bytes()), audiences: AUDIENCES, leeway: 30_000 };
/// Whatever a JWT says.
pub(crate) const ANY: Expect<'_> = Expect { issuer: None, audiences: &[], leeway: 0 };

/// The claims of a good access token.
pub(crate) const CLAIMS: &str = r#"{"iss":"https://as.example","aud":"api","sub":"alice","iat":1699999990,"nbf":1699999990,"exp":1700000060}"#;

/// The claims of a good envelope.
pub(crate) const ENVELOPE: &str = r#"{"iss":"https://as.example","aud":["api"],"iat":1699999990,"token_introspection":{"active":true,"sub":"alice","exp":1700000060}}"#;

/// Every algorithm that is accepted.
pub(crate) const ALGORITHMS: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "Ed25519"];

/// Whether both names are of one algorithm (RFC 9864 section 2.2, as far as the only curve is Ed25519).
pub(crate) fn same(one: &str, other: &str) -> bool {
    let is_edwards = |name| matches!(name, "EdDSA" | "Ed25519");
    one == other || is_edwards(one) && is_edwards(other)
}

pub(crate) enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// RSA keys take long to make.
pub(crate) fn rsa() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(new_rsa)
}

pub(crate) fn new_rsa() -> Pair {
    Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
}

pub(crate) fn p256() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(new_p256)
}

pub(crate) fn new_p256() -> Pair {
    Pair::P256(EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
}

pub(crate) fn p384() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    let new = || EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    PAIR.get_or_init(|| Pair::P384(new()))
}

pub(crate) fn ed25519() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| Pair::Ed25519(Ed25519KeyPair::generate().unwrap()))
}

/// The key that signs with that algorithm here.
pub(crate) fn pair_for(algorithm: &str) -> &'static Pair {
    match algorithm {
        "ES256" => p256(),
        "ES384" => p384(),
        "EdDSA" | "Ed25519" => ed25519(),
        _ => rsa(),
    }
}

impl Pair {
    /// The members of the public key, to be completed and put in braces.
    pub(crate) fn members(&self) -> String {
        match self {
            Self::Rsa(pair) => {
                let parts = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                format!(r#""kty":"RSA","n":"{}","e":"{}""#, base64(&parts.n), base64(&parts.e))
            }
            Self::P256(pair) => point("P-256", pair.public_key().as_ref()),
            Self::P384(pair) => point("P-384", pair.public_key().as_ref()),
            Self::Ed25519(pair) => {
                let x = base64(pair.public_key().as_ref());
                format!(r#""kty":"OKP","crv":"Ed25519","x":"{x}""#)
            }
        }
    }

    pub(crate) fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::P256(pair) | Self::P384(pair) => {
                pair.sign(&random, message).unwrap().as_ref().to_vec()
            }
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Rsa(pair) => {
                let padding: &dyn RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// A JWT with that header and payload, signed with the algorithm, whatever the header says.
    pub(crate) fn jwt(&self, algorithm: &str, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", base64(header), base64(payload));
        let signature = base64(self.sign(algorithm, message.as_bytes()));
        format!("{message}.{signature}")
    }
}

fn point(curve: &str, sec1: &[u8]) -> String {
    let (x, y) = sec1[1..].split_at(sec1.len() / 2);
    format!(r#""kty":"EC","crv":"{curve}","x":"{}","y":"{}""#, base64(x), base64(y))
}

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A set of keys, each by its members.
pub(crate) fn set_of(keys: &[String]) -> String {
    let keys: Vec<String> = keys.iter().map(|members| format!("{{{members}}}")).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

pub(crate) fn keys(keys: &[String]) -> KeySet {
    KeySet::parse(set_of(keys).as_bytes()).unwrap()
}

/// The public keys of all pairs above, without a word of what they are for.
pub(crate) fn all_keys() -> KeySet {
    keys(&[rsa(), p256(), p384(), ed25519()].map(Pair::members))
}

/// A good access token.
pub(crate) fn token(algorithm: &str) -> String {
    pair_for(algorithm).jwt(algorithm, &format!(r#"{{"alg":"{algorithm}"}}"#), CLAIMS)
}

/// A good envelope.
pub(crate) fn envelope(algorithm: &str) -> String {
    let header = format!(r#"{{"alg":"{algorithm}","typ":"token-introspection+jwt"}}"#);
    pair_for(algorithm).jwt(algorithm, &header, ENVELOPE)
}

pub(crate) fn bytes_of(base64url: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(base64url).unwrap()
}

/// Other numbers that come to the same, or almost, and whether they are a signature by the rules of the algorithm.
pub(crate) fn other_signatures(pair: &Pair, signature: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let order = |hex: &str| {
        let digits = hex.as_bytes().chunks(2).map(|it| std::str::from_utf8(it).unwrap());
        digits.map(|it| u8::from_str_radix(it, 16).unwrap()).collect::<Vec<u8>>()
    };
    let halves = signature.split_at(signature.len() / 2);
    match pair {
        // r and n - s (SEC 1 section 4.1.4).
        Pair::P256(_) => {
            let n = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
            vec![([halves.0, &less(&order(n), halves.1)].concat(), true)]
        }
        Pair::P384(_) => {
            let n = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
            vec![([halves.0, &less(&order(n), halves.1)].concat(), true)]
        }
        // R and s + L, which RFC 8032 section 5.1.7 forbids.
        Pair::Ed25519(_) => {
            let l = "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed";
            let reversed = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>();
            let zero = less(&order(l), &order(l));
            let minus_l = less(&zero, &order(l));
            let sum = less(&reversed(halves.1), &minus_l);
            vec![([halves.0, &reversed(&sum)].concat(), false)]
        }
        // n - s, s + n, and s in more bytes (RFC 8017 section 8.2.2).
        Pair::Rsa(pair) => {
            let n = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key()).n;
            let wide = |bytes: &[u8]| [&[0], bytes].concat();
            let sum = less(&wide(signature), &less(&wide(&[0].repeat(n.len())), &wide(&n)));
            let all = [less(&n, signature), sum, wide(signature)];
            all.map(|other| (other, false)).to_vec()
        }
    }
}

/// The difference of two numbers of as many bytes, modulo what these hold.
fn less(number: &[u8], other: &[u8]) -> Vec<u8> {
    let mut borrow = false;
    let mut difference: Vec<u8> = number
        .iter()
        .zip(other)
        .rev()
        .map(|(one, other)| {
            let (less, one_borrow) = one.overflowing_sub(*other);
            let (less, other_borrow) = less.overflowing_sub(u8::from(borrow));
            borrow = one_borrow | other_borrow;
            less
        })
        .collect();
    difference.reverse();
    difference
}
