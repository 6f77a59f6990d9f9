//! JWTs and their signatures: what nobody has signed is never accepted, and what was signed where it says what it
//! must. The input: a JWT as it stands, or a header, a line break and a payload, which are signed here.
#![no_main]

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use libfuzzer_sys::fuzz_target;
use phantom_token_core::jose::{Expect, KeySet, VerifyError, verify};
use phantom_token_core::jwt;
use phantom_token_fuzz::reference::base64::encode_url;
use phantom_token_fuzz::reference::jwt::Kind;
use phantom_token_fuzz::reference::verification::{Expected, accepts};
use phantom_token_fuzz::template::split_line;

const EXPECTED: Expected<'_> =
    Expected { issuer: "i", audience: "a", kid: "k", now: 1_000_000, leeway: 30 };
const EXPECT: Expect<'_> =
    Expect { issuer: Some(b"i"), audiences: &[b"other", b"a"], leeway: 30_000 };
const NOW: i64 = EXPECTED.now * 1_000;

struct Server {
    pair: Ed25519KeyPair,
    keys: KeySet,
}

thread_local! {
    static SERVER: Server = {
        let pair = Ed25519KeyPair::generate().expect("a key pair");
        let x = encode_url(pair.public_key().as_ref());
        let x = String::from_utf8(x).expect("text");
        // Beside it one of another kind, which nobody here can sign with (RFC 7515 appendix A.3).
        let set = format!(
            r#"{{"keys":[{{"kid":"k","kty":"OKP","crv":"Ed25519","x":"{x}"}},{{"kty":"EC","crv":"P-256",
            "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}}]}}"#
        );
        Server { pair, keys: KeySet::parse(set.as_bytes()).expect("keys") }
    };
}

fuzz_target!(|input: &[u8]| SERVER.with(|server| {
    for (kind, meant) in [
        (jwt::Kind::AccessToken, Kind::AccessToken),
        (jwt::Kind::Envelope, Kind::Envelope),
        (jwt::Kind::Presented, Kind::Presented),
    ] {
        let found = verify(input, kind, &server.keys, &EXPECT, NOW);
        assert!(!matches!(found, Ok(()) | Err(VerifyError::Expired)));

        let Some((header, payload)) = split_line(input) else { continue };
        let message = [&encode_url(header)[..], b".", &encode_url(payload)].concat();
        let signature = encode_url(server.pair.sign(&message).as_ref());
        let signed = [&message[..], b".", &signature].concat();
        let found = verify(&signed, kind, &server.keys, &EXPECT, NOW);
        if let Some(expected) = accepts(&signed, header, meant, &EXPECTED) {
            assert_eq!(found.is_ok(), expected, "{found:?}");
        }
        // The signature is of this message alone.
        let forged = [&message[..message.len() - 1], b".", &signature].concat();
        assert!(verify(&forged, kind, &server.keys, &EXPECT, NOW).is_err());
    }
}));
