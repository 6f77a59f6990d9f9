//! Answers of any status and type, in every mode: what may be read at all. The first line of an input is the
//! type, the second one Cache-Control.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phantom_token_core::cache_control;
use phantom_token_fuzz::compare::{ASKED, NAMES, judge};
use phantom_token_fuzz::recipe::{Shape, prepare};
use phantom_token_fuzz::reference::answer::{Answer, Mode};
use phantom_token_fuzz::reference::cache_control as reference;
use phantom_token_fuzz::template::split_line;

fuzz_target!(|input: (u16, bool, &[u8])| {
    let (status, encoded, rest) = input;
    let Some((content_type, rest)) = split_line(rest) else { return };
    let Some((cache_control, body)) = split_line(rest) else { return };
    let status = [200, 204, 400, 200 + status % 400][usize::from(status % 4)];
    let shape = if content_type.ends_with(b"jwt") { Shape::Jwt } else { Shape::Object };
    let body = prepare(body, shape);

    let directives = cache_control::parse([cache_control]);
    if let Some((max_age, uncacheable)) = reference::unquoted(cache_control) {
        assert_eq!((directives.max_age, directives.uncacheable), (max_age, uncacheable));
    }
    for mode in [Mode::Jwt, Mode::Claims, Mode::Exchange] {
        for unverified in [false, true] {
            let answer = Answer {
                mode,
                unverified,
                status,
                content_type,
                encoded,
                body: &body,
                names: NAMES,
                asked: ASKED,
            };
            judge(&answer, directives);
        }
    }
});
