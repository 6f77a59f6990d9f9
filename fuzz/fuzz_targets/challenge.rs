//! Challenges of any configuration: one header line that reads as what was configured, or an error of
//! configuration where there is no such line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phantom_token_core::challenge::render;
use phantom_token_core::reason::ChallengeError;
use phantom_token_fuzz::reference::challenge as reference;

fuzz_target!(|input: (&[u8], &[u8], u8)| {
    let (realm, scope, error) = input;
    let error = match error % 3 {
        0 => None,
        1 => Some(ChallengeError::InvalidToken),
        _ => Some(ChallengeError::InvalidRequest),
    };
    let scopes: Vec<&[u8]> =
        scope.split(|&byte| byte == b' ').filter(|it| !it.is_empty()).collect();
    let expected: [(&[u8], Vec<u8>); 3] = [
        (b"realm", realm.to_vec()),
        (b"scope", scopes.join(&b' ')),
        (b"error", error.map_or("", ChallengeError::as_str).into()),
    ];
    let expected: reference::Parameters = expected
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| (name.to_vec(), text))
        .collect();

    // RFC 9110 section 5.6.4 and RFC 6749 section 3.3.
    let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    let is_scope = |byte: &u8| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
    let possible = realm.iter().all(is_text)
        && scopes.iter().all(|scope| scope.iter().all(is_scope))
        && !(realm.is_empty() && scopes.is_empty());

    match render(realm, scope, error, None) {
        Ok(value) => {
            assert!(possible);
            assert_eq!(reference::parse(&value), Some((b"Bearer".to_vec(), expected)));
        }
        Err(_) => assert!(!possible),
    }
});
