//! Answers of a hostile authorization server: nothing but a JWT goes upstream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phantom_token_core::answer::{Answer, Reading, Verdict, judge, scratch_len};
use phantom_token_core::{cache_control, jwt};

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (kind, cache_control, body) = input;
    let (status, content_type): (u16, &[u8]) = match kind % 4 {
        0 => (200, b"application/jwt"),
        1 => (200, b"application/json; charset=utf-8"),
        2 => (400, b"application/json"),
        _ => (200, cache_control),
    };
    let directives = cache_control::parse([cache_control]);
    let answer = Answer { status, content_type, encoded: false, directives, body };
    let reading = Reading { members: &[b"jwt", b"phantom_token"], asked: 1_000, now: 2_000 };
    let mut scratch = vec![0; scratch_len(body.len())];
    match judge(&answer, &reading, &mut scratch) {
        Ok(Verdict::Active { jwt, record }) => {
            assert!(jwt::is_compact(jwt));
            assert!(!record.is_expired(reading.now));
        }
        Ok(Verdict::Inactive(_) | Verdict::Expired(_)) => {}
        Err(error) => assert!(error.reason().status() > 500, "{error}"),
    }
});
