//! DPoP proofs: what nobody has signed is never accepted, and what was signed only where it says what it must. The
//! input: a proof as it stands, or a header, a line break and a payload, which are signed here. `KEY` in the
//! header stands for the members of the key, `ATH` in the payload for the hash of the token.
#![no_main]

use std::num::NonZeroUsize;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use libfuzzer_sys::fuzz_target;
use phantom_token_core::dpop::{Base, Expect, Proofs, Target};
use phantom_token_core::key::ProofKey;
use phantom_token_fuzz::reference::base64::encode_url;
use phantom_token_fuzz::reference::instant::seconds;
use phantom_token_fuzz::reference::json::{Value, all, object};
use phantom_token_fuzz::template::split_line;

const NOW: i64 = 1_000_000;
const TOKEN: &[u8] = b"t";

struct Client {
    pair: Ed25519KeyPair,
    members: String,
    thumbprint: [u8; 32],
    ath: String,
}

thread_local! {
    static CLIENT: Client = {
        let pair = Ed25519KeyPair::generate().expect("a key pair");
        let x = text(encode_url(pair.public_key().as_ref()));
        let members = format!(r#""crv":"Ed25519","kty":"OKP","x":"{x}""#);
        let hash = digest(&SHA256, format!("{{{members}}}").as_bytes());
        let thumbprint = hash.as_ref().try_into().expect("32 bytes");
        let ath = text(encode_url(digest(&SHA256, TOKEN).as_ref()));
        Client { pair, members, thumbprint, ath }
    };
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

fuzz_target!(|input: &[u8]| CLIENT.with(|client| {
    let expect = Expect {
        method: b"GET",
        target: Target::new(Base::parse(b"https://h").expect("a base"), b"/p?q"),
        token: TOKEN,
        thumbprint: &client.thumbprint,
        leeway: 30_000,
        nonce: None,
    };
    let names = ProofKey::new(&[0; 32]);
    let mut proofs = Proofs::new(NonZeroUsize::MIN);
    let mut check = |proof: &[u8]| proofs.check(proof, &expect, &names, NOW * 1_000);
    assert!(check(input).is_err());

    let Some((header, payload)) = split_line(input) else { return };
    let header = String::from_utf8_lossy(header).replace("KEY", &client.members);
    let payload = String::from_utf8_lossy(payload).replace("ATH", &client.ath);
    let message = [encode_url(header.as_bytes()), encode_url(payload.as_bytes())].join(&b'.');
    let signature = encode_url(client.pair.sign(&message).as_ref());
    let signed = [&message[..], b".", &signature].concat();
    if let Ok(proof) = check(&signed) {
        assert!(may_be_accepted(&header, &payload, client), "{header} {payload}");
        assert!((NOW as u64..=NOW as u64 + 90).contains(&proof.until));
    }
    // The signature is of this message alone.
    let forged = [&message[..message.len() - 1], b".", &signature].concat();
    assert!(check(&forged).is_err());
}));

/// What a proof must say that is accepted; of the URL what it comes to with all decoded.
fn may_be_accepted(header: &str, payload: &str, client: &Client) -> bool {
    let Some(header) = object(header.as_bytes()) else { return false };
    let Some(payload) = object(payload.as_bytes()) else { return false };
    let one = |name| match all(&payload, name)[..] {
        [value] => Some(value),
        _ => None,
    };
    let is = |name, expected: &str| one(name).and_then(Value::text) == Some(expected);
    let stands = |name, expected: &str| match all(&header, name)[..] {
        [value] => value.text() == Some(expected),
        _ => false,
    };
    let [Value::Object(jwk)] = all(&header, "jwk")[..] else { return false };
    let Some(issued) = one("iat").filter(|iat| iat.text().is_none()).and_then(seconds) else {
        return false;
    };
    let Some(url) = one("htu").and_then(Value::text) else { return false };
    let url = decoded(url.split(['?', '#']).next().unwrap_or_default());
    let url = url.to_ascii_lowercase();
    stands("typ", "dpop+jwt")
        && stands("alg", "EdDSA")
        && all(&header, "crit").is_empty()
        && all(jwk, "d").is_empty()
        && all(jwk, "x").iter().all(|x| x.text().is_some_and(|x| client.members.contains(x)))
        && is("htm", "GET")
        && is("ath", &client.ath)
        && one("jti").and_then(Value::text).is_some_and(|jti| !jti.is_empty())
        && (NOW - 60..=NOW + 30).contains(&issued.whole)
        && url.starts_with("https://h")
        && url.ends_with("/p")
}

fn decoded(url: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = url.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
