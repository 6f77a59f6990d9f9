//! Answers that are a JWT as a whole: what goes upstream is a signed JWT that is no other kind of token.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phantom_token_core::jwt::is_compact;
use phantom_token_core::record::CacheDirectives;
use phantom_token_fuzz::compare::{ASKED, NAMES, judge};
use phantom_token_fuzz::recipe::{Shape, prepare};
use phantom_token_fuzz::reference::answer::{Answer, Mode};

fuzz_target!(|input: &[u8]| {
    let body = prepare(input, Shape::Jwt);
    let answer = Answer {
        mode: Mode::Jwt,
        unverified: true,
        status: 200,
        content_type: b"application/jwt",
        encoded: false,
        body: &body,
        names: NAMES,
        asked: ASKED,
    };
    if let Some((_, jwt)) = judge(&answer, CacheDirectives::default()) {
        assert!(is_compact(&jwt));
    }
});
