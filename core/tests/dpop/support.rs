//! Proofs that are right, to begin with.

use std::num::NonZeroUsize;

use phantom_token_core::dpop::{Base, Expect, Proof, ProofError, Proofs, Target};
use phantom_token_core::key::ProofKey;
use sha2::{Digest as _, Sha256};

use crate::keys::{Pair, base64};

/// In milliseconds.
pub(crate) const NOW: i64 = 1_700_000_000_000;
pub(crate) const LEEWAY: i64 = 30_000;
pub(crate) const TOKEN: &str = "some-token";
pub(crate) const SECRET: [u8; 32] = [7; 32];

/// The members of a good payload, as JSON.
pub(crate) const CLAIMS: [(&str, &str); 5] = [
    ("htm", "\"GET\""),
    ("htu", "\"https://api.example/things\""),
    ("iat", "1700000000"),
    ("jti", "\"one\""),
    ("ath", "\"2GcH-gaRiXRRk-1gRzJXcwaD6hT6GQoeqmKsJ5D9v3c\""),
];

pub(crate) fn proofs() -> Proofs {
    Proofs::new(NonZeroUsize::new(8).unwrap())
}

/// The thumbprint of a key, by its definition.
pub(crate) fn thumbprint(pair: &Pair) -> [u8; 32] {
    let members = pair.members();
    let member = |name: &str| {
        let start = members.find(&format!("\"{name}\":")).unwrap();
        let rest = &members[start..];
        rest[..rest.find(',').unwrap_or(rest.len())].to_owned()
    };
    let names: &[&str] = match pair {
        Pair::Rsa(_) => &["e", "kty", "n"],
        Pair::P256(_) | Pair::P384(_) => &["crv", "kty", "x", "y"],
        Pair::Ed25519(_) => &["crv", "kty", "x"],
    };
    let canonical: Vec<_> = names.iter().map(|name| member(name)).collect();
    Sha256::digest(format!("{{{}}}", canonical.join(","))).into()
}

pub(crate) fn header(algorithm: &str, pair: &Pair) -> String {
    format!(r#"{{"typ":"dpop+jwt","alg":"{algorithm}","jwk":{{{}}}}}"#, pair.members())
}

/// A good payload, where a claim is replaced, or left out.
pub(crate) fn payload(name: &str, value: Option<&str>) -> String {
    let members: Vec<_> = CLAIMS
        .iter()
        .filter_map(|&(claim, good)| {
            let value = if claim == name { value? } else { good };
            Some(format!("\"{claim}\":{value}"))
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

pub(crate) fn good_payload() -> String {
    let ath = format!("\"{}\"", base64(Sha256::digest(TOKEN)));
    payload("ath", Some(&ath))
}

/// A good proof.
pub(crate) fn proof(algorithm: &str, pair: &Pair) -> String {
    pair.jwt(algorithm, &header(algorithm, pair), &good_payload())
}

pub(crate) fn expect(thumbprint: &[u8; 32]) -> Expect<'_> {
    let base = Base::parse(b"https://api.example").unwrap();
    Expect {
        method: b"GET",
        target: Target::new(base, b"/things?page=2"),
        token: TOKEN.as_bytes(),
        thumbprint,
        leeway: LEEWAY,
        nonce: None,
    }
}

pub(crate) fn check_at(proof: &[u8], pair: &Pair, now: i64) -> Result<Proof, ProofError> {
    proofs().check(proof, &expect(&thumbprint(pair)), &ProofKey::new(&SECRET), now)
}

/// Why it is refused.
pub(crate) fn check(proof: impl AsRef<[u8]>, pair: &Pair) -> Result<(), ProofError> {
    check_at(proof.as_ref(), pair, NOW).map(|_| ())
}
