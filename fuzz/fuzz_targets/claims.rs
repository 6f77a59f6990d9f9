//! Claims on their way into a header: each is one line of text, and that of the claim that was meant. The
//! first line of an input is the name of a claim, the second one tells the type, the rest is an answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phantom_token_core::claims::{self, Claim, ClaimError};
use phantom_token_core::record::CacheDirectives;
use phantom_token_fuzz::compare::{ASKED, NAMES, judge, kept};
use phantom_token_fuzz::recipe::{Shape, prepare};
use phantom_token_fuzz::reference::answer::{Answer, Mode};
use phantom_token_fuzz::reference::claims::{self as reference, Refused};
use phantom_token_fuzz::template::split_line;

fuzz_target!(|input: &[u8]| {
    let Some((name, rest)) = split_line(input) else { return };
    let Some((kind, body)) = split_line(rest) else { return };
    let (mode, shape, content_type): (_, _, &[u8]) = match kind {
        b"json" => (Mode::Claims, Shape::Object, b"application/json"),
        b"flat" => (Mode::Claims, Shape::Jwt, b"application/jwt"),
        b"envelope" => (Mode::Claims, Shape::Jwt, b"application/token-introspection+jwt"),
        b"exchange" => (Mode::Exchange, Shape::Object, b"application/json"),
        b"member" => (Mode::Jwt, Shape::Object, b"application/json"),
        _ => (Mode::Jwt, Shape::Jwt, b"application/jwt"),
    };
    let body = prepare(body, shape);
    let answer = Answer {
        mode,
        unverified: true,
        status: 200,
        content_type,
        encoded: false,
        body: &body,
        names: NAMES,
        asked: ASKED,
    };
    let Some((kind, document)) = judge(&answer, CacheDirectives::default()) else { return };
    let expected = reference::claims(kind, &document).expect("it was judged");
    let expected = reference::text(&expected, name);

    let mut scratch = vec![0; document.len()];
    let object = claims::object(kept(kind), &document, &mut scratch).expect("it was judged");
    let mut names = vec![0; object.len()];
    let mut all = Vec::new();
    claims::each(object, &mut names, |claim| all.push(claim)).expect("it was judged");
    let found = claims::find(&all, name).map(|claim| claim.as_ref().map(text));
    match (found, expected) {
        (Ok(None), None) => {}
        (Ok(Some(Ok(text))), Some(Ok(expected))) => assert_eq!(text, expected),
        (Ok(Some(Err(ClaimError::Control))), Some(Err(Refused::Control))) => {}
        (Ok(Some(Err(ClaimError::Blank))), Some(Err(Refused::Blank))) => {}
        (Err(ClaimError::Repeated), Some(Err(Refused::Repeated))) => {}
        (found, expected) => panic!("{found:?} instead of {expected:?}"),
    }
});

/// In the room that it says it needs.
fn text(claim: &Claim<'_>) -> Result<String, ClaimError> {
    let mut room = vec![0; claim.room()];
    let len = claim.text(&mut room)?;
    Ok(String::from_utf8(room[..len].to_vec()).expect("text"))
}
