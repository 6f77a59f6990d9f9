//! A JSON object, member by member, without building it: what nobody asks for is checked and skipped.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Why the bytes are no JSON object. Nested too deeply (128 levels) is a fault of syntax, and so is a
/// number beyond what a double holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// JSON is UTF-8 (RFC 8259 section 8.1).
    #[error("not UTF-8")]
    Encoding,
    /// No JSON, or more than one value.
    #[error("not valid JSON at line {line}, column {column}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Some other JSON value.
    #[error("JSON, but not an object")]
    NotAnObject,
}

/// The value of one member.
pub(crate) enum Value<'de, 't> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    /// A string as it is in the text.
    Text(&'de str),
    /// A string that has escapes in the text, resolved.
    Unescaped(&'t str),
    Array,
    Object,
}

impl Value<'_, '_> {
    /// The string, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Unescaped(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads one object. `known` tells by its name whether a member counts; each that does is handed to
/// `note`, in the order of the text, and repeated as often as it is there.
///
/// # Errors
/// [`JsonError`]; by then `note` may have been called already.
pub(crate) fn object<'de, K>(
    text: &'de [u8],
    known: impl Fn(&str) -> Option<K>,
    note: impl FnMut(K, Value<'de, '_>),
) -> Result<(), JsonError> {
    // Once for the whole: serde_json does not look at the bytes of strings that it skips.
    let text = core::str::from_utf8(text).map_err(|_| JsonError::Encoding)?;
    let mut json = serde_json::Deserializer::from_str(text);
    Object { known, note, key: PhantomData }
        .deserialize(&mut json)
        .and_then(|()| json.end())
        .map_err(|error| error_of(&error))
}

/// What serde_json finds wrong, without a word of the text.
pub(crate) fn error_of(error: &serde_json::Error) -> JsonError {
    if error.is_data() {
        JsonError::NotAnObject
    } else {
        JsonError::Syntax { line: error.line(), column: error.column() }
    }
}

struct Object<K, Known, Note> {
    known: Known,
    note: Note,
    key: PhantomData<K>,
}

impl<'de, K, Known, Note> DeserializeSeed<'de> for Object<K, Known, Note>
where
    Known: Fn(&str) -> Option<K>,
    Note: FnMut(K, Value<'de, '_>),
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, K, Known, Note> Visitor<'de> for Object<K, Known, Note>
where
    Known: Fn(&str) -> Option<K>,
    Note: FnMut(K, Value<'de, '_>),
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Name(&self.known))? {
            match key {
                Some(key) => map.next_value_seed(Member(|value: Value<'de, '_>| {
                    (self.note)(key, value);
                }))?,
                None => map.next_value_seed(Member(skip))?,
            }
        }
        Ok(())
    }
}

/// The name of a member, turned into what it means.
struct Name<'k, Known>(&'k Known);

impl<'de, K, Known: Fn(&str) -> Option<K>> DeserializeSeed<'de> for Name<'_, Known> {
    type Value = Option<K>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<K, Known: Fn(&str) -> Option<K>> Visitor<'_> for Name<'_, Known> {
    type Value = Option<K>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok((self.0)(name))
    }
}

/// The value of a member, handed to the function. What it holds in turn is skipped by way of the same
/// visitor rather than serde's `IgnoredAny`, since for that one serde_json has no limit of depth.
struct Member<F>(F);

fn skip(_: Value<'_, '_>) {}

impl<'de, F: FnOnce(Value<'de, '_>)> DeserializeSeed<'de> for Member<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnOnce(Value<'de, '_>)> Visitor<'de> for Member<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        (self.0)(Value::Null);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        (self.0)(Value::Bool(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        (self.0)(Value::Unsigned(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        (self.0)(Value::Negative(value));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        (self.0)(Value::Float(value));
        Ok(())
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        (self.0)(Value::Text(value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        (self.0)(Value::Unescaped(value));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Member(skip))?.is_some() {}
        (self.0)(Value::Array);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_key::<IgnoredAny>()?.is_some() {
            members.next_value_seed(Member(skip))?;
        }
        (self.0)(Value::Object);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The members named with one letter, as text.
    fn read(text: &[u8]) -> Result<String, JsonError> {
        let mut out = String::new();
        let letter = |name: &str| (name.len() == 1).then(|| name.to_owned());
        object(text, letter, |name, value| {
            let value = match value {
                Value::Null => "null".to_owned(),
                Value::Bool(value) => value.to_string(),
                Value::Unsigned(value) => format!("u{value}"),
                Value::Negative(value) => format!("i{value}"),
                Value::Float(value) => format!("f{value}"),
                Value::Text(text) => format!("{text:?}"),
                Value::Unescaped(text) => format!("escaped {text:?}"),
                Value::Array => "array".to_owned(),
                Value::Object => "object".to_owned(),
            };
            out.push_str(&format!("{name}={value};"));
        })?;
        Ok(out)
    }

    #[test]
    fn members() {
        let text = br#" { "a":null, "xx":[{"a":1}], "b":true, "c":1, "d":-1, "e":1.5, "f":1e3,
            "g":18446744073709551616, "h":"x", "i":"\u0078", "\u006a":"y", "k":{"a":[]}, "l":[1,"a"],
            "a":2 } "#;
        assert_eq!(
            read(text).unwrap(),
            "a=null;b=true;c=u1;d=i-1;e=f1.5;f=f1000;g=f18446744073709552000;h=\"x\";\
             i=escaped \"x\";j=\"y\";k=object;l=array;a=u2;"
        );
        assert_eq!(read(b"{}").unwrap(), "");
    }

    #[test]
    fn faults() {
        for text in ["[]", "1", "null", "true", r#""a""#] {
            assert_eq!(read(text.as_bytes()), Err(JsonError::NotAnObject), "{text}");
        }
        let unfinished = JsonError::Syntax { line: 2, column: 5 };
        assert_eq!(read(b"{\n\"a\":1"), Err(unfinished));
        for text in [
            "",
            " ",
            "{",
            "{}x",
            "{}{}",
            "{a:1}",
            "{'a':1}",
            r#"{"a":1,}"#,
            r#"{"xx":01}"#,
            r#"{"xx":1e999}"#,
            r#"{"xx":"\ud800"}"#,
            "{\"xx\":\"\n\"}",
            "<html>",
        ] {
            assert!(matches!(read(text.as_bytes()), Err(JsonError::Syntax { .. })), "{text}");
        }
        assert_eq!(read(b"{\"xx\":\"\xff\"}"), Err(JsonError::Encoding));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| {
            format!("{{\"xx\":{}{}}}", "[".repeat(depth), "]".repeat(depth)).into_bytes()
        };
        assert!(read(&nested(100)).is_ok());
        for depth in [128, 1 << 20] {
            assert!(matches!(read(&nested(depth)), Err(JsonError::Syntax { .. })));
        }
    }
}
