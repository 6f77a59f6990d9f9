//! Requests of a hostile client. The first line of an input is the name of a cookie, the rest a value of
//! `Authorization`, of a variable, of the query string and of `Cookie`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phantom_token_core::credentials::{
    Credentials, authorization, bare, dpop, in_query, without_cookie,
};
use phantom_token_fuzz::reference::credentials as reference;

fuzz_target!(|input: &[u8]| {
    let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return };
    let (name, value) = (&input[..end], &input[end + 1..]);

    assert_eq!(found(authorization(value)), reference::authorization(value));
    assert_eq!(found(dpop(value)), reference::dpop(value));
    assert_eq!(found(bare(value)), reference::bare(value));
    // No value is of both schemes.
    assert!(authorization(value) == Credentials::None || dpop(value) == Credentials::None);
    assert_eq!(in_query(value), reference::in_query(value, b"access_token"));

    // A name with separators in it is none that a cookie can have.
    if name.is_empty() || name.iter().any(|byte| b" \t;,=".contains(byte)) {
        return;
    }
    let mut room = vec![0; value.len()];
    let rest = without_cookie(value, name, &mut room).map(|len| room[..len].to_vec());
    let (expected, was_there) = reference::cookies_without(value, name);
    assert_eq!(rest.is_some(), was_there);
    assert!(was_there || !reference::nginx_finds_cookie(value, name));
    if let Some(rest) = rest {
        assert_eq!(reference::cookies_without(&rest, name), (expected.clone(), false));
        assert!(!reference::nginx_finds_cookie(&rest, name));
        // No line at all where no other cookie is left.
        assert!(!expected.is_empty() || !rest.iter().any(|byte| !b" \t;,".contains(byte)));
    }
});

fn found(credentials: Credentials<'_>) -> reference::Found<'_> {
    match credentials {
        Credentials::None => None,
        Credentials::Malformed => Some(None),
        Credentials::Bearer(token) => Some(Some(token)),
    }
}
