//! The claims of a document, as text for a header.

use super::answer::Document;
use super::json::{self, Object, Value};
use super::jwt::{self, Kind};

/// A claim that has no text.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is more than one that could be meant.
    Repeated,
    /// It has a control character in it.
    Control,
    /// It begins or ends with a blank.
    Blank,
}

/// The claims of a document that was judged.
pub fn claims(kind: Document, document: &[u8]) -> Option<Object> {
    match kind {
        Document::Json => json::object(document),
        Document::Envelope => {
            let payload = jwt::payload(document, Kind::Envelope)?;
            let mut inside =
                payload.into_iter().filter(|(name, _)| name.text == "token_introspection");
            match inside.next()?.1 {
                Value::Object(object) => Some(object),
                _ => None,
            }
        }
        _ => jwt::payload(document, Kind::AccessToken),
    }
}

/// The claim of that name, or the one whose name differs only in case. `None` if there is none.
pub fn text(claims: &Object, name: &[u8]) -> Option<Result<String, Refused>> {
    let exact: Vec<_> = claims.iter().filter(|(it, _)| it.text.as_bytes() == name).collect();
    let alike: Vec<_> =
        claims.iter().filter(|(it, _)| it.text.as_bytes().eq_ignore_ascii_case(name)).collect();
    let meant = if exact.is_empty() { alike } else { exact };
    match meant[..] {
        [] => None,
        [(_, value)] => {
            let text = flat(value);
            let is_unsafe = text.chars().any(|it| matches!(it, '\0'..='\x1f' | '\x7f'..='\u{9f}'));
            let is_cut = text.trim() != text;
            Some(match (is_unsafe, is_cut) {
                (true, _) => Err(Refused::Control),
                (_, true) => Err(Refused::Blank),
                _ => Ok(text),
            })
        }
        _ => Some(Err(Refused::Repeated)),
    }
}

fn flat(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(text) => text.text.clone(),
        Value::Array(elements) => joined(elements).unwrap_or_else(|| json(value)),
        _ => json(value),
    }
}

/// The elements with spaces between them, if that tells them apart and is not taken for JSON.
fn joined(elements: &[Value]) -> Option<String> {
    let texts: Option<Vec<String>> = elements
        .iter()
        .map(|element| match element {
            Value::Null | Value::Array(_) | Value::Object(_) => None,
            Value::Text(text) if text.text.is_empty() || text.text.contains(' ') => None,
            element => Some(flat(element)),
        })
        .collect();
    texts.map(|texts| texts.join(" ")).filter(|text| !text.starts_with('['))
}

/// JSON without white space between the tokens.
fn json(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(",");
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.clone(),
        Value::Text(text) => text.raw.clone(),
        Value::Array(elements) => format!("[{}]", list(elements.iter().map(json).collect())),
        Value::Object(members) => {
            let member =
                |(name, value): &(json::Text, Value)| format!("{}:{}", name.raw, json(value));
            format!("{{{}}}", list(members.iter().map(member).collect()))
        }
    }
}
