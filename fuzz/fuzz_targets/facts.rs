//! The facts of a token that checks on a hit rely on: no scope, audience or binding but those that a slow
//! reading finds. The first line of an input tells the type, the rest is an answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phantom_token_core::answer;
use phantom_token_core::claims;
use phantom_token_core::facts::{Digest, Facts, Kind, MAX_LEN};
use phantom_token_core::key::FactsKey;
use phantom_token_core::record::CacheDirectives;
use phantom_token_fuzz::compare::{ASKED, NAMES, judge, kept};
use phantom_token_fuzz::recipe::{Shape, prepare};
use phantom_token_fuzz::reference::answer::{Answer, Mode};
use phantom_token_fuzz::reference::facts as reference;
use phantom_token_fuzz::template::split_line;

const JSON: &[u8] = b"application/json";

fuzz_target!(|input: &[u8]| {
    let Some((kind, body)) = split_line(input) else { return };
    let (mode, shape, content_type): (_, _, &[u8]) = match kind {
        b"json" => (Mode::Claims, Shape::Object, JSON),
        b"flat" => (Mode::Claims, Shape::Jwt, b"application/jwt"),
        b"envelope" => (Mode::Claims, Shape::Jwt, b"application/token-introspection+jwt"),
        b"exchange" => (Mode::Exchange, Shape::Object, JSON),
        b"member" => (Mode::Jwt, Shape::Object, JSON),
        _ => (Mode::Jwt, Shape::Jwt, b"application/jwt"),
    };
    let body = prepare(body, shape);
    let directives = CacheDirectives::default();
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
    let Some((kind, document)) = judge(&answer, directives) else { return };
    let expected = reference::facts(kind, &document, content_type == JSON, &body);

    let key = FactsKey::new(&[7; 32]);
    let received =
        answer::Answer { status: 200, content_type, encoded: false, directives, body: &body };
    let mut scratch = vec![0; document.len()];
    let claims = claims::object(kept(kind), &document, &mut scratch).unwrap();
    let mut room = [0; MAX_LEN];
    let bytes = answer::facts(&received, kept(kind), claims, &key, &mut room).to_vec();
    let facts = Facts::read(&bytes);

    // As many as expected, and each of those: hence these and no others.
    let (scopes, audiences) = match bytes[..] {
        [zero, scopes, audiences, ..] => {
            assert_eq!(zero, 0);
            (usize::from(scopes), usize::from(audiences))
        }
        _ => (0, 0),
    };
    assert_eq!((scopes, audiences), (expected.scopes.len(), expected.audiences.len()));
    let digest = |kind, name: &str| Digest::new(&key, kind, name.as_bytes());
    assert!(expected.scopes.iter().all(|it| facts.has_scope(digest(Kind::Scope, it))));
    assert!(expected.audiences.iter().all(|it| facts.has_audience(digest(Kind::Audience, it))));
    let single = |kind, name: &Option<String>| name.as_ref().map(|name| digest(kind, name));
    assert_eq!(facts.subject, single(Kind::Subject, &expected.subject));
    assert_eq!(facts.client, single(Kind::Client, &expected.client));
    assert_eq!(facts.session, single(Kind::Session, &expected.session));
    assert_eq!(facts.certificate.map(|it| it.to_vec()), expected.certificate);
    assert_eq!(facts.key.map(|it| it.to_vec()), expected.key);
    assert_eq!(facts.other_binding, expected.other_binding);
});
