//! Requests of a hostile client: only a `b64token` is a token, and a cookie that is removed is gone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phantom_token_core::credentials::{Credentials, authorization, bare, in_query, without_cookie};

fuzz_target!(|input: (&[u8], &[u8])| {
    let (value, name) = input;
    for credentials in [authorization(value), bare(value)] {
        if let Credentials::Bearer(token) = credentials {
            assert!(token.iter().all(u8::is_ascii_graphic));
            assert_eq!(bare(token), credentials);
        }
    }
    assert!(in_query(&[value, b"&access_token=x"].concat()));
    // A name with separators in it is none that a cookie can have.
    if name.iter().any(|byte| b" \t;,=".contains(byte)) {
        return;
    }
    let mut out = vec![0; value.len()];
    if let Some(len) = without_cookie(value, name, &mut out) {
        assert_eq!(without_cookie(&out[..len], name, &mut vec![0; len]), None);
    }
});
