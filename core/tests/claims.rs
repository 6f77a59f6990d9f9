//! Claims of a hostile server: no panic, one line of text, and the text says what the claim says.

use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use phantom_token_core::claims::{self, Claim, ClaimError};
use phantom_token_core::record::Document;
use proptest::prelude::*;
use serde_json::Value;

/// What may be written in a string: what means something in JSON or in a header, and anything.
fn character() -> impl Strategy<Value = char> {
    let visible: Vec<char> = " \"\\/[[]{},:abcé😀\u{a0}\u{2028}".chars().collect();
    let control: Vec<char> = "\t\r\n\0\u{7f}\u{85}\u{9f}".chars().collect();
    prop_oneof![
        40 => proptest::sample::select(visible),
        1 => proptest::sample::select(control),
        1 => any::<char>(),
    ]
}

/// The text of a JSON string, some of its characters escaped.
fn string() -> impl Strategy<Value = String> {
    prop::collection::vec((character(), any::<bool>()), 0..6).prop_map(|characters| {
        let mut text = String::from("\"");
        for (character, escape) in characters {
            if escape || character < ' ' || matches!(character, '"' | '\\') {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                text.push(character);
            }
        }
        text + "\""
    })
}

fn blank() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["", "", "", " ", "\t", "\r\n"])
}

/// The text of any JSON value.
fn value() -> impl Strategy<Value = String> {
    let numbers = ["0", "-0", "17", "-1.5e+3", "1E400", "123456789012345678901234567890"];
    let leaf = prop_oneof![
        4 => string(),
        1 => proptest::sample::select(numbers.to_vec()).prop_map(str::to_owned),
        1 => proptest::sample::select(vec!["true", "false", "null"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let inner =
            (blank(), inner, blank()).prop_map(|(a, value, b)| format!("{a}{value}{b}")).boxed();
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|values| format!("[{}]", values.join(","))),
            1 => prop::collection::vec((string(), inner), 0..3).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("{name}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// The claims of an object; `None` if it is none.
fn each<T>(object: &[u8], take: impl FnOnce(&[Claim<'_>]) -> T) -> Option<T> {
    let mut names = vec![0; object.len()];
    let mut found = Vec::new();
    match claims::each(object, &mut names, |claim| found.push(claim)) {
        Ok(()) => Some(take(&found)),
        Err(error) => {
            assert_eq!(error, ClaimError::Unreadable);
            None
        }
    }
}

/// The text of a claim, with what must hold of every text.
fn text_of(claim: &Claim<'_>) -> Result<Result<String, ClaimError>, TestCaseError> {
    let mut room = vec![0; claim.room()];
    let found = claim.text(&mut room).map(|len| String::from_utf8(room[..len].to_vec()).unwrap());
    if let Ok(text) = &found {
        prop_assert!(!text.chars().any(char::is_control), "{text:?}");
        // Just enough is enough, and one byte less is not.
        let mut exact = vec![0; text.len()];
        if let Ok(len) = claim.text(&mut exact) {
            prop_assert_eq!(&exact[..len], text.as_bytes());
        }
        if let Some(less) = text.len().checked_sub(1) {
            prop_assert_eq!(claim.text(&mut vec![0; less]), Err(ClaimError::NoRoom));
        }
    }
    Ok(found)
}

/// The text of the claim `x` that has that value.
fn text(value: &str) -> Result<Result<String, ClaimError>, TestCaseError> {
    let object = format!("{{\"x\":{value}}}");
    let text = each(object.as_bytes(), |claims| match claims::find(claims, b"x") {
        Ok(Some(claim)) => text_of(&claim),
        other => Err(TestCaseError::fail(format!("{:?}", other.map(|claim| claim.is_some())))),
    });
    text.unwrap_or_else(|| Err(TestCaseError::fail("unreadable")))
}

/// The same JSON without blanks between its tokens; strings and numbers as they are written.
fn compact(json: &str) -> String {
    let mut out = String::new();
    let mut rest = json;
    while let Some(at) = rest.find('"') {
        let (before, string) = rest.split_at(at);
        out.extend(before.split_ascii_whitespace());
        let mut end = 1;
        while string.as_bytes()[end] != b'"' {
            end += if string.as_bytes()[end] == b'\\' { 2 } else { 1 };
        }
        let (string, after) = string.split_at(end + 1);
        out.push_str(string);
        rest = after;
    }
    out.extend(rest.split_ascii_whitespace());
    out
}

proptest! {
    // A failure prints its minimal input; no file is left behind.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(object: Vec<u8>) {
        each(&object, |claims| claims.iter().map(text_of).collect::<Result<Vec<_>, _>>())
            .transpose()?;
        for kind in [Document::Json, Document::Jwt, Document::ClaimsJwt, Document::Envelope] {
            let mut scratch = vec![0; object.len()];
            let found = claims::object(kind, &object, &mut scratch);
            prop_assert!(matches!(found, Ok(_) | Err(ClaimError::Unreadable)));
        }
    }

    #[test]
    fn almost_json(value in value(), at: proptest::sample::Index, byte: u8) {
        let mut object = format!("{{\"x\":{value}}}").into_bytes();
        let at = at.index(object.len());
        object[at] = byte;
        each(&object, |claims| claims.iter().map(text_of).collect::<Result<Vec<_>, _>>())
            .transpose()?;
    }

    #[test]
    fn strings_are_what_they_mean(string in string()) {
        let meant: String = serde_json::from_str(&string).unwrap();
        let expected = if meant.chars().any(char::is_control) {
            Err(ClaimError::Control)
        } else if meant.starts_with(char::is_whitespace) || meant.ends_with(char::is_whitespace) {
            Err(ClaimError::Blank)
        } else {
            Ok(meant)
        };
        prop_assert_eq!(text(&string)?, expected);
    }

    /// Whoever reads the text of an array gets its elements back, and those of no other array.
    #[test]
    fn arrays_are_told_apart(
        elements in prop::collection::vec(prop_oneof![9 => string(), 1 => value()], 0..4),
        blank in blank(),
    ) {
        let array = format!("[{blank}{}{blank}]", elements.join(","));
        let Ok(text) = text(&array)? else { return Ok(()) };
        if text.starts_with('[') {
            prop_assert_eq!(text, compact(&array));
        } else {
            let read: Vec<&str> = text.split(' ').filter(|_| !text.is_empty()).collect();
            let meant: Vec<String> = elements
                .iter()
                .map(|element| match serde_json::from_str(element) {
                    Ok(Value::String(text)) => text,
                    _ => element.clone(),
                })
                .collect();
            prop_assert_eq!(read, meant);
        }
    }

    #[test]
    fn objects_and_numbers_are_as_they_are_written(value in value()) {
        let expected = match value.as_bytes()[0] {
            b'{' => compact(&value),
            b'0'..=b'9' | b'-' | b't' | b'f' => value.clone(),
            b'n' => String::new(),
            _ => return Ok(()),
        };
        match text(&value)? {
            Ok(text) => prop_assert_eq!(text, expected),
            Err(error) => {
                prop_assert_eq!(error, ClaimError::Control);
                prop_assert!(expected.chars().any(char::is_control));
            }
        }
    }

    /// A claim is found by its name alone, and never where two could be meant.
    #[test]
    fn names(names in prop::collection::vec((string(), 0..3_u8), 0..6), asked in string()) {
        let meant = |name: &str| serde_json::from_str::<String>(name).unwrap();
        let members: Vec<String> =
            names.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        let object = format!("{{{}}}", members.join(","));
        let asked = meant(&asked);
        let found = each(object.as_bytes(), |claims| {
            claims::find(claims, asked.as_bytes()).map(|claim| claim.map(|claim| text_of(&claim)))
        });
        let values = |same: fn(&str, &str) -> bool| -> Vec<u8> {
            names.iter().filter(|(name, _)| same(&meant(name), &asked)).map(|it| it.1).collect()
        };
        let exact = values(|one, other| one == other);
        let fold = values(str::eq_ignore_ascii_case);
        let one = if exact.is_empty() { fold } else { exact };
        match (found, one.as_slice()) {
            (Some(Ok(None)), []) | (Some(Err(ClaimError::Repeated)), [_, _, ..]) => {}
            (Some(Ok(Some(text))), [value]) => prop_assert_eq!(text?, Ok(value.to_string())),
            _ => prop_assert!(false, "{}", object),
        }
    }
}

fn sealed(header: &str, payload: &str) -> String {
    let part = |text: &str| Base64Display::new(text.as_bytes(), &URL_SAFE_NO_PAD).to_string();
    format!("{}.{}.c2ln", part(header), part(payload))
}

/// Nested as deeply as bytes allow, as only damage in the cache could bring it here: no stack overflows.
#[test]
fn depth_costs_no_stack() {
    let depth = 1 << 18;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        assert_eq!(text(&deep).unwrap().as_deref(), Ok(deep.as_str()));
        let cut = format!("{{\"x\":{}", open.repeat(depth));
        assert!(each(cut.as_bytes(), |_| ()).is_none());
        let payload = format!("{{\"token_introspection\":{deep}}}");
        let envelope = sealed(r#"{"alg":"ES256"}"#, &payload);
        let mut scratch = vec![0; envelope.len()];
        let inside = claims::object(Document::Envelope, envelope.as_bytes(), &mut scratch);
        assert_eq!(inside, Ok(deep.as_bytes()));
    }
}

/// Would take hours if any of it were more than linear.
#[test]
fn a_megabyte_is_read_in_linear_time() {
    let count = 1 << 17;
    for value in [
        format!("[{}\"\"]", "\"a\",".repeat(count)),
        format!("[{}\"a b\"]", "\"\\u0061\" , ".repeat(count)),
        format!("\"{}\"", "\\\\\\\"".repeat(count)),
        format!("{{{}\"b\":1}}", "\"\\u0061\\\"\": [ ],".repeat(count)),
        "9".repeat(count * 8),
        format!("[{}1]", " ".repeat(count * 8)),
    ] {
        assert!(text(&value).unwrap().is_ok());
    }
    let object = format!("{{{}\"x\":1}}", "\"\\u0061\":1,".repeat(count));
    let found = each(object.as_bytes(), |claims| {
        assert_eq!(claims.len(), count + 1);
        claims::find(claims, b"a").err()
    });
    assert_eq!(found, Some(Some(ClaimError::Repeated)));
}
