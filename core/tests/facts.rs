//! Facts of a token, whatever its claims are: beside a slow reading of the same JSON.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use phantom_token_core::answer::{self, Answer};
use phantom_token_core::claims;
use phantom_token_core::facts::{Collector, Digest, Facts, Kind, MAX_LEN, MAX_NAMES};
use phantom_token_core::key::FactsKey;
use phantom_token_core::record::{CacheDirectives, Document};
use proptest::prelude::*;

const SECRET: [u8; 32] = [0x5a; 32];

fn digest(kind: Kind, name: &str) -> Digest {
    Digest::new(&FactsKey::new(&SECRET), kind, name.as_bytes())
}

/// The facts of these sources, in this order.
fn collected(sources: &[&str]) -> Vec<u8> {
    let key = FactsKey::new(&SECRET);
    let mut collector = Collector::new(&key);
    sources.iter().for_each(|source| collector.claims(source.as_bytes()));
    collector.write(&mut [0; MAX_LEN]).to_vec()
}

fn scopes(sources: &[&str], among: &[&str]) -> Vec<String> {
    let bytes = collected(sources);
    let has = |name: &&&str| Facts::read(&bytes).has_scope(digest(Kind::Scope, name));
    among.iter().filter(has).map(|name| (*name).to_owned()).collect()
}

fn audiences(sources: &[&str], among: &[&str]) -> Vec<String> {
    let bytes = collected(sources);
    let has = |name: &&&str| Facts::read(&bytes).has_audience(digest(Kind::Audience, name));
    among.iter().filter(has).map(|name| (*name).to_owned()).collect()
}

#[test]
fn scopes_as_string_and_array_by_both_names() {
    let all = ["a", "b", "a b", "", "https://x/y.z", "A"];
    for (source, expected) in [
        (r#"{"scope":"a b"}"#, &["a", "b"][..]),
        (r#"{"scope":"  b   a "}"#, &["a", "b"]),
        (r#"{"scope":["a","b"]}"#, &["a", "b"]),
        (r#"{"scp":["a"]}"#, &["a"]),
        (r#"{"scp":"a https://x/y.z"}"#, &["a", "https://x/y.z"]),
        (r#"{"scp":"b","scope":"a"}"#, &["a"]),
        (r#"{"scope":null,"scp":"b"}"#, &["b"]),
        (r#"{"sc\u006fpe":"\u0061 b"}"#, &["a", "b"]),
        // Spaces separate in a string, and in no array.
        (r#"{"scope":["a b"]}"#, &["a b"]),
        (r#"{"scope":"a\tb"}"#, &[]),
        (r#"{"scope":""}"#, &[]),
        (r#"{"scope":[]}"#, &[]),
        (r#"{"scope":["",""]}"#, &[]),
        ("{}", &[]),
        // What is no scope says that there is none, and the other name is not asked.
        (r#"{"scope":7,"scp":"b"}"#, &[]),
        (r#"{"scope":{"a":1}}"#, &[]),
        (r#"{"scope":true}"#, &[]),
        (r#"{"scope":["a",7]}"#, &[]),
        (r#"{"scope":["a",null]}"#, &[]),
        (r#"{"scope":["a",["b"]]}"#, &[]),
        (r#"{"scope":"a","scope":"b"}"#, &[]),
        (r#"{"scope":"a","sc\u006fpe":"b"}"#, &[]),
        (r#"{"scope":null,"scope":"b"}"#, &[]),
        (r#"{"Scope":"a","SCP":"b"}"#, &[]),
        (r#"{"x":{"scope":"a"}}"#, &[]),
    ] {
        assert_eq!(scopes(&[source], &all), expected, "{source}");
    }
}

#[test]
fn audiences_as_string_and_array() {
    let all = ["a", "b", "a b", ""];
    for (source, expected) in [
        (r#"{"aud":"a"}"#, &["a"][..]),
        (r#"{"aud":["b","a"]}"#, &["a", "b"]),
        (r#"{"aud":"a b"}"#, &["a b"]),
        (r#"{"aud":["\u0061"]}"#, &["a"]),
        (r#"{"aud":7}"#, &[]),
        (r#"{"aud":["a",{}]}"#, &[]),
        (r#"{"aud":"a","aud":"a"}"#, &[]),
        (r#"{"aud":["","a"]}"#, &["a"]),
        (r#"{"aud":""}"#, &[]),
        (r#"{"aud":null}"#, &[]),
        (r#"{"scope":"a"}"#, &[]),
    ] {
        assert_eq!(audiences(&[source], &all), expected, "{source}");
    }
}

#[test]
fn a_later_source_is_asked_where_the_first_is_silent() {
    let all = ["a", "b"];
    assert_eq!(scopes(&[r#"{"sub":"x"}"#, r#"{"scope":"a"}"#], &all), ["a"]);
    assert_eq!(scopes(&[r#"{"scope":null}"#, r#"{"scp":"a"}"#], &all), ["a"]);
    assert_eq!(scopes(&[r#"{"scp":"b"}"#, r#"{"scope":"a"}"#], &all), ["b"]);
    for silent in [r#"{"scope":""}"#, r#"{"scope":7}"#, r#"{"scope":"b","scope":"b"}"#] {
        assert!(scopes(&[silent, r#"{"scope":"a"}"#], &all).is_empty(), "{silent}");
    }
    let bytes = collected(&[
        r#"{"sub":"alice","sid":1}"#,
        r#"{"sub":"bob","sid":"s","azp":"app","aud":"a"}"#,
    ]);
    let facts = Facts::read(&bytes);
    assert_eq!(facts.subject, Some(digest(Kind::Subject, "alice")));
    assert_eq!(facts.session, None);
    assert_eq!(facts.client, Some(digest(Kind::Client, "app")));
    assert!(facts.has_audience(digest(Kind::Audience, "a")));
}

#[test]
fn single_names() {
    let of = |source: &str| {
        let bytes = collected(&[source]);
        let facts = Facts::read(&bytes);
        (facts.subject, facts.client, facts.session)
    };
    let client = |name| Some(digest(Kind::Client, name));
    assert_eq!(
        of(r#"{"sub":"a","client_id":"a","azp":"b","sid":"a"}"#),
        (Some(digest(Kind::Subject, "a")), client("a"), Some(digest(Kind::Session, "a")))
    );
    assert_eq!(of(r#"{"azp":"b"}"#), (None, client("b"), None));
    assert_eq!(of(r#"{"client_id":null,"azp":"b"}"#), (None, client("b"), None));
    assert_eq!(of(r#"{"client_id":["a"],"azp":"b"}"#), (None, None, None));
    for source in [
        r#"{"sub":"","sid":""}"#,
        r#"{"sub":1,"sid":["a"]}"#,
        r#"{"sub":"a","sub":"a","sid":"a","sid":"b"}"#,
        "[]",
        "{",
        "",
    ] {
        assert_eq!(of(source), (None, None, None), "{source}");
    }
    assert!(collected(&["{}"]).is_empty());
}

/// One name under two kinds, or two secrets, has nothing in common.
#[test]
fn digests_are_apart() {
    let kinds = [Kind::Scope, Kind::Audience, Kind::Subject, Kind::Client, Kind::Session];
    for (n, one) in kinds.iter().enumerate() {
        for other in &kinds[n + 1..] {
            assert_ne!(digest(*one, "a"), digest(*other, "a"));
        }
    }
    let other = FactsKey::new(&[1; 32]);
    assert_ne!(digest(Kind::Scope, "a"), Digest::new(&other, Kind::Scope, b"a"));
    assert_ne!(digest(Kind::Scope, "a"), digest(Kind::Scope, "b"));
    assert_ne!(digest(Kind::Scope, &"a".repeat(100)), digest(Kind::Scope, &"a".repeat(101)));
}

#[test]
fn bindings() {
    let (one, other) = ([1_u8; 32], [2_u8; 32]);
    let text = |bytes: &[u8]| Base64Display::new(bytes, &URL_SAFE_NO_PAD).to_string();
    let x5t = |bytes: &[u8]| format!(r#"{{"cnf":{{"x5t#S256":"{}"}}}}"#, text(bytes));
    let jkt = |bytes: &[u8]| format!(r#"{{"cnf":{{"jkt":"{}"}}}}"#, text(bytes));
    let of = |sources: &[&str]| {
        let bytes = collected(sources);
        let facts = Facts::read(&bytes);
        (facts.certificate.copied(), facts.key.copied(), facts.other_binding)
    };
    assert_eq!(of(&[&x5t(&one)]), (Some(one), None, false));
    assert_eq!(of(&[&jkt(&one)]), (None, Some(one), false));
    // They add up, from all sources; what contradicts is no binding that can be shown.
    assert_eq!(of(&[&x5t(&one), &jkt(&other)]), (Some(one), Some(other), false));
    assert_eq!(of(&[&x5t(&one), &x5t(&one)]), (Some(one), None, false));
    assert_eq!(of(&[&x5t(&one), &x5t(&other)]), (Some(one), None, true));
    let (certificate, key) = (text(&one), text(&other));
    let both = format!(r#"{{"cnf":{{"x5t#S256":"{certificate}","jkt":"{key}"}}}}"#);
    assert_eq!(of(&[&both]), (Some(one), Some(other), false));
    let third = format!(r#"{{"cnf":{{"jkt":"{key}","jwk":{{}}}}}}"#);
    assert_eq!(of(&[&third]), (None, Some(other), true));
    let twice = format!(r#"{{"cnf":{{"jkt":"{key}","jkt":"{certificate}"}}}}"#);
    assert_eq!(of(&[&twice]), (None, Some(other), true));
    assert_eq!(of(&[r#"{"cnf":null}"#]), (None, None, false));
    let unreadable = [
        "{}".to_owned(),
        "7".to_owned(),
        r#""x""#.to_owned(),
        "[]".to_owned(),
        r#"{"kid":"x"}"#.to_owned(),
        r#"{"jkt":null}"#.to_owned(),
        r#"{"jkt":7}"#.to_owned(),
        r#"{"jkt":""}"#.to_owned(),
        format!(r#"{{"jkt":"{}"}}"#, text(&[1; 31])),
        format!(r#"{{"jkt":"{}"}}"#, text(&[1; 33])),
        format!(r#"{{"jkt":"{}="}}"#, text(&one)),
        format!(r#"{{"jkt":"{}+"}}"#, &text(&one)[..42]),
        // The last character has bits that stand for nothing.
        format!(r#"{{"jkt":"{}F"}}"#, &text(&one)[..42]),
        format!(r#"{{"x5t":"{}"}}"#, text(&one)),
    ];
    for cnf in &unreadable {
        assert_eq!(of(&[&format!(r#"{{"cnf":{cnf}}}"#)]), (None, None, true), "{cnf}");
    }
    assert_eq!(of(&[r#"{"cnf":{"jkt":"x"},"cnf":{}}"#]), (None, None, true));
}

/// An exchange gives a token that is bound to a key, and does not say to which: nobody can show it.
#[test]
fn what_an_exchange_issues_may_be_bound() {
    let of = |claims: &str, answer: &str| {
        let key = FactsKey::new(&SECRET);
        let mut collector = Collector::new(&key);
        collector.claims(claims.as_bytes());
        collector.issued(answer.as_bytes());
        let mut room = [0; MAX_LEN];
        Facts::read(collector.write(&mut room)).other_binding
    };
    let thumbprint = Base64Display::new(&[1; 32], &URL_SAFE_NO_PAD).to_string();
    let jkt = format!(r#"{{"cnf":{{"jkt":"{thumbprint}"}}}}"#);
    let x5t = format!(r#"{{"cnf":{{"x5t#S256":"{thumbprint}"}}}}"#);
    for (claims, token_type, expected) in [
        ("{}", r#""DPoP""#, true),
        ("{}", r#""dpop""#, true),
        ("{}", r#""Bearer""#, false),
        ("{}", "7", false),
        (&x5t, r#""DPoP""#, true),
        (&x5t, r#""Bearer""#, false),
        (&jkt, r#""DPoP""#, false),
        (&jkt, r#""Bearer""#, false),
    ] {
        let answer = format!(r#"{{"token_type":{token_type}}}"#);
        assert_eq!(of(claims, &answer), expected, "{claims} {answer}");
    }
}

/// Any source may say that the token is bound to a key (RFC 9449 sections 5 and 6.2); to which one must be known.
#[test]
fn a_token_of_type_dpop_has_a_key() {
    let of = |sources: &[&str]| {
        let bytes = collected(sources);
        let facts = Facts::read(&bytes);
        (facts.key.is_some(), facts.other_binding)
    };
    let thumbprint = Base64Display::new(&[1; 32], &URL_SAFE_NO_PAD).to_string();
    let jkt = format!(r#"{{"cnf":{{"jkt":"{thumbprint}"}}}}"#);
    let x5t = format!(r#"{{"cnf":{{"x5t#S256":"{thumbprint}"}}}}"#);
    let both = format!(r#"{{"token_type":"DPoP",{}"#, &jkt[1..]);
    for dpop in [
        r#"{"token_type":"DPoP"}"#,
        r#"{"token_type":"dpop"}"#,
        r#"{"token_\u0074ype":"\u0044PoP"}"#,
    ] {
        assert_eq!(of(&[dpop]), (false, true), "{dpop}");
        assert_eq!(of(&["{}", dpop]), (false, true), "{dpop}");
        assert_eq!(of(&[dpop, "{}"]), (false, true), "{dpop}");
        assert_eq!(of(&[dpop, &x5t]), (false, true), "{dpop}");
        assert_eq!(of(&[&jkt, dpop]), (true, false), "{dpop}");
        assert_eq!(of(&[dpop, &jkt]), (true, false), "{dpop}");
    }
    assert_eq!(of(&[&both]), (true, false));
    for other in [
        r#"{"token_type":"Bearer"}"#,
        r#"{"token_type":"N_A"}"#,
        r#"{"token_type":["DPoP"]}"#,
        r#"{"token_type":null}"#,
        r#"{"x":{"token_type":"DPoP"}}"#,
        r#"{"typ":"at+jwt"}"#,
    ] {
        assert_eq!(of(&[other]), (false, false), "{other}");
    }
}

#[test]
fn names_beyond_the_bound_are_not_kept() {
    let names: Vec<String> = (0..200).map(|n| format!("s{n}")).collect();
    let source = format!(r#"{{"scope":"{}","aud":["{}"]}}"#, names.join(" "), names.join(r#"",""#));
    let bytes = collected(&[&source]);
    let facts = Facts::read(&bytes);
    for (n, name) in names.iter().enumerate() {
        assert_eq!(facts.has_scope(digest(Kind::Scope, name)), n < MAX_NAMES, "{name}");
        assert_eq!(facts.has_audience(digest(Kind::Audience, name)), n < MAX_NAMES, "{name}");
    }
    // The same again and again is one.
    let source = format!(r#"{{"scope":"{}b"}}"#, "a ".repeat(200));
    assert_eq!(scopes(&[&source], &["a", "b"]), ["a", "b"]);
    let everything = format!(
        r#"{{"scope":"{}","aud":["{}"],"sub":"a","azp":"b","sid":"c","cnf":{{"jkt":"{2}","x5t#S256":"{2}"}}}}"#,
        names.join(" "),
        names.join(r#"",""#),
        Base64Display::new(&[3; 32], &URL_SAFE_NO_PAD),
    );
    assert_eq!(collected(&[&everything]).len(), MAX_LEN);
}

#[test]
fn the_usual_token_has_60_bytes() {
    let source = r#"{"scope":"openid a b","aud":"x","sub":"y","client_id":"z","sid":"s"}"#;
    let bytes = collected(&[source]);
    assert_eq!((bytes.len(), bytes[0]), (60, 0));
}

/// Facts out of each kind of document, and out of the JSON around it.
#[test]
fn sources_of_an_answer() {
    let part = |text: &str| Base64Display::new(text.as_bytes(), &URL_SAFE_NO_PAD).to_string();
    let jwt = |payload: &str| format!("{}.{}.c2ln", part(r#"{"alg":"ES256"}"#), part(payload));
    let inside = jwt(r#"{"scope":"inside"}"#);
    let silent = jwt(r#"{"sub":"alice"}"#);
    let envelope = format!(
        "{}.{}.c2ln",
        part(r#"{"alg":"ES256","typ":"token-introspection+jwt"}"#),
        part(r#"{"scope":"outside","token_introspection":{"active":true,"scope":"inside"}}"#)
    );
    let member =
        |jwt: &str| format!(r#"{{"active":true,"scope":"outside","aud":"x","jwt":"{jwt}"}}"#);
    let issued = |jwt: &str| format!(r#"{{"access_token":"{jwt}","scope":"outside","aud":"x"}}"#);
    let (json, jwt_type) = ("application/JSON; charset=utf-8", "application/jwt");
    let plain = r#"{"active":true,"scope":"outside"}"#.to_owned();
    for (kind, document, content_type, body, scope, has_audience) in [
        (Document::Jwt, &inside, jwt_type, inside.clone(), Some("inside"), false),
        (Document::Jwt, &silent, jwt_type, silent.clone(), None, false),
        (Document::Jwt, &inside, json, member(&inside), Some("inside"), true),
        (Document::Jwt, &silent, json, member(&silent), Some("outside"), true),
        (Document::Exchanged, &inside, json, issued(&inside), Some("inside"), false),
        // A token endpoint says nothing of the audience.
        (Document::Exchanged, &silent, json, issued(&silent), Some("outside"), false),
        (Document::Json, &plain, json, plain.clone(), Some("outside"), false),
        (Document::ClaimsJwt, &inside, jwt_type, inside.clone(), Some("inside"), false),
        (Document::Envelope, &envelope, "x", envelope.clone(), Some("inside"), false),
    ] {
        let answer = Answer {
            status: 200,
            content_type: content_type.as_bytes(),
            encoded: false,
            directives: CacheDirectives::default(),
            body: body.as_bytes(),
        };
        let key = FactsKey::new(&SECRET);
        let mut scratch = vec![0; document.len()];
        let mut room = [0; MAX_LEN];
        let claims = claims::object(kind, document.as_bytes(), &mut scratch).unwrap();
        let bytes = answer::facts(&answer, kind, claims, &key, &mut room);
        let facts = Facts::read(bytes);
        let found = ["inside", "outside"]
            .into_iter()
            .find(|name| facts.has_scope(digest(Kind::Scope, name)));
        assert_eq!(found, scope, "{kind:?} {body}");
        assert_eq!(
            facts.has_audience(digest(Kind::Audience, "x")),
            has_audience,
            "{kind:?} {body}"
        );
    }
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        6 => "[ab ]{0,6}".prop_map(serde_json::Value::from),
        1 => Just(serde_json::Value::Null),
        1 => any::<bool>().prop_map(serde_json::Value::from),
        1 => any::<i32>().prop_map(serde_json::Value::from),
        1 => Just(serde_json::json!({"jkt": "a"})),
    ];
    prop_oneof![
        2 => leaf.clone(),
        1 => proptest::collection::vec(leaf, 0..4).prop_map(serde_json::Value::from),
    ]
}

fn object() -> impl Strategy<Value = serde_json::Value> {
    let name =
        prop::sample::select(vec!["scope", "scp", "aud", "sub", "client_id", "azp", "sid", "x"]);
    proptest::collection::vec((name, value()), 0..8).prop_map(|members| {
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<serde_json::Map<_, _>>()
            .into()
    })
}

/// The names of a claim by the letter, out of a tree.
fn names(value: Option<&serde_json::Value>, splits: bool) -> Option<Vec<String>> {
    match value {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(text)) if splits => {
            Some(text.split(' ').map(str::to_owned).collect())
        }
        Some(serde_json::Value::String(text)) => Some(vec![text.clone()]),
        Some(serde_json::Value::Array(elements)) => {
            let texts =
                elements.iter().map(|it| it.as_str().map(str::to_owned)).collect::<Option<_>>();
            Some(texts.unwrap_or_default())
        }
        Some(_) => Some(Vec::new()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn facts_are_what_a_slow_reading_finds(first in object(), second in object()) {
        let bytes = collected(&[&first.to_string(), &second.to_string()]);
        let facts = Facts::read(&bytes);
        let said = |members: &[&str], splits: bool| {
            [&first, &second]
                .iter()
                .flat_map(|source| members.iter().map(move |member| source.get(*member)))
                .find_map(|value| names(value, splits))
                .unwrap_or_default()
        };
        let (has, is_for) = (said(&["scope", "scp"], true), said(&["aud"], false));
        for one in ["a", "b", "ab", "ba", "aa", "a b", " ", "aab", "bba"] {
            prop_assert_eq!(facts.has_scope(digest(Kind::Scope, one)), has.iter().any(|it| it == one));
            prop_assert_eq!(facts.has_audience(digest(Kind::Audience, one)), is_for.iter().any(|it| it == one));
        }
        let single = |members: &[&str], kind| {
            [&first, &second]
                .iter()
                .flat_map(|source| members.iter().map(move |member| source.get(*member)))
                .flatten()
                .find(|value| !value.is_null())
                .and_then(|value| value.as_str())
                .filter(|text| !text.is_empty())
                .map(|text| digest(kind, text))
        };
        prop_assert_eq!(facts.subject, single(&["sub"], Kind::Subject));
        prop_assert_eq!(facts.client, single(&["client_id", "azp"], Kind::Client));
        prop_assert_eq!(facts.session, single(&["sid"], Kind::Session));
    }

    /// Whatever the bytes are that come out of a damaged cache.
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let facts = Facts::read(&bytes);
        let _ = facts.has_scope(digest(Kind::Scope, "a")) || facts.has_audience(digest(Kind::Audience, "a"));
    }

    #[test]
    fn any_text_is_collected(text in ".{0,200}") {
        let claims = format!(r#"{{"scope":{text},"cnf":{text}}}"#);
        prop_assert!(collected(&[&text, &claims]).len() <= MAX_LEN);
    }

    /// Half of the facts are none, and neither is anything else.
    #[test]
    fn what_is_not_whole_says_nothing(
        cut in 1..92_usize, more in 1..9_usize, first in 1..=255_u8
    ) {
        let mut bytes = collected(&[
            r#"{"scope":"a b c","aud":"x","sub":"y","client_id":"z","sid":"s"}"#,
            r#"{"cnf":{"jkt":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}"#,
        ]);
        prop_assert_eq!(bytes.len(), 92);
        let mut nothing = Facts::default();
        nothing.other_binding = true;
        prop_assert_eq!(Facts::read(&bytes[..cut]), nothing);
        let longer = [&bytes[..], &[0; 9][..more]].concat();
        prop_assert_eq!(Facts::read(&longer), nothing);
        bytes[0] = first;
        prop_assert_eq!(Facts::read(&bytes), nothing);
        prop_assert_eq!(Facts::read(b""), Facts::default());
    }
}
