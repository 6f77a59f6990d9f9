//! Answers to a token exchange (RFC 8693). The first line of an input is the status.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phantom_token_core::jwt::is_compact;
use phantom_token_core::record::CacheDirectives;
use phantom_token_fuzz::compare::{ASKED, NAMES, judge};
use phantom_token_fuzz::recipe::{Shape, prepare};
use phantom_token_fuzz::reference::answer::{Answer, Mode};
use phantom_token_fuzz::template::split_line;

fuzz_target!(|input: &[u8]| {
    let Some((status, body)) = split_line(input) else { return };
    let body = prepare(body, Shape::Object);
    let answer = Answer {
        mode: Mode::Exchange,
        unverified: true,
        status: if status == b"400" { 400 } else { 200 },
        content_type: b"application/json",
        encoded: false,
        body: &body,
        names: NAMES,
        asked: ASKED,
    };
    // A token endpoint says this of every answer, and not about the token.
    let directives = CacheDirectives { max_age: Some(0), uncacheable: true };
    if let Some((_, jwt)) = judge(&answer, directives) {
        assert!(is_compact(&jwt));
    }
});
