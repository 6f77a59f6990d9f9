//! Challenges of any configuration: one header line, which reads as what was configured.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phantom_token_core::challenge::render;
use phantom_token_core::reason::ChallengeError;

fuzz_target!(|input: (&[u8], &[u8], bool)| {
    let (realm, scope, with_error) = input;
    let error = with_error.then_some(ChallengeError::InvalidToken);
    let Ok(value) = render(realm, scope, error) else { return };
    let mut rest = value.strip_prefix(b"Bearer ").expect("the scheme");
    let mut read = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_at(rest.iter().position(|&b| b == b'=').expect("a name"));
        let mut bytes = after.strip_prefix(b"=\"").expect("a quoted string").iter();
        let mut text = Vec::new();
        loop {
            match *bytes.next().expect("a closing quote") {
                b'"' => break,
                b'\\' => text.push(*bytes.next().expect("an escaped byte")),
                byte => text.push(byte),
            }
        }
        assert!(text.iter().all(|byte| !byte.is_ascii_control() || *byte == b'\t'));
        read.push((name, text));
        rest = bytes.as_slice();
        if !rest.is_empty() {
            rest = rest.strip_prefix(b", ").expect("a separator, and no trailing one");
            assert!(!rest.is_empty());
        }
    }
    let scopes: Vec<&[u8]> = scope.split(|&b| b == b' ').filter(|it| !it.is_empty()).collect();
    let expected: [(&[u8], Vec<u8>); 3] = [
        (b"realm", realm.to_vec()),
        (b"scope", scopes.join(&b' ')),
        (b"error", error.map_or("", ChallengeError::as_str).into()),
    ];
    let expected: Vec<_> = expected.into_iter().filter(|(_, text)| !text.is_empty()).collect();
    assert_eq!(read, expected);
});
