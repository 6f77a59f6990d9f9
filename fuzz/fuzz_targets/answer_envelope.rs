//! Signed introspection answers (RFC 9701) that nobody verifies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phantom_token_core::record::CacheDirectives;
use phantom_token_fuzz::compare::{ASKED, NAMES, judge};
use phantom_token_fuzz::recipe::{Shape, prepare};
use phantom_token_fuzz::reference::answer::{Answer, Mode};

fuzz_target!(|input: &[u8]| {
    let body = prepare(input, Shape::Jwt);
    let answer = |mode, unverified| Answer {
        mode,
        unverified,
        status: 200,
        content_type: b"application/token-introspection+jwt",
        encoded: false,
        body: &body,
        names: NAMES,
        asked: ASKED,
    };
    judge(&answer(Mode::Claims, true), CacheDirectives::default());
    // Wherever else one comes, it is refused.
    judge(&answer(Mode::Claims, false), CacheDirectives::default());
    judge(&answer(Mode::Jwt, true), CacheDirectives::default());
});
