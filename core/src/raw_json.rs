//! The members of a JSON object and the elements of an array as they are in the text, unread.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{JsonError, error_of};

/// A string of the text.
pub(crate) enum Text<'de, 't> {
    /// As it is in the text.
    Plain(&'de str),
    /// It has escapes in the text: resolved, and gone after the call.
    Unescaped(&'t str),
}

impl<'de> Text<'de, '_> {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Unescaped(text) => text,
        }
    }
}

/// Reads an object: `name` makes what the caller wants of each member's name, `note` gets that with the
/// text of the value.
///
/// # Errors
/// [`JsonError`]; by then members before the fault were noted.
pub(crate) fn members<'de, K>(
    text: &'de [u8],
    name: impl FnMut(Text<'de, '_>) -> K,
    note: impl FnMut(K, &'de str),
) -> Result<(), JsonError> {
    let text = core::str::from_utf8(text).map_err(|_| JsonError::Encoding)?;
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Members { name, note, key: PhantomData })
        .and_then(|()| json.end())
        .map_err(|error| error_of(&error))
}

/// Reads an array: `note` gets the text of each element.
///
/// # Errors
/// As of [`members`].
pub(crate) fn elements<'de>(text: &'de str, note: impl FnMut(&'de str)) -> Result<(), JsonError> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_seq(Elements { note })
        .and_then(|()| json.end())
        .map_err(|error| error_of(&error))
}

/// Reads a string and hands it to `take`.
///
/// # Errors
/// As of [`members`].
pub(crate) fn string<'de, T>(
    text: &'de str,
    take: impl FnOnce(Text<'de, '_>) -> T,
) -> Result<T, JsonError> {
    let mut json = serde_json::Deserializer::from_str(text);
    Taken(take)
        .deserialize(&mut json)
        .and_then(|taken| json.end().map(|()| taken))
        .map_err(|error| error_of(&error))
}

struct Members<K, Name, Note> {
    name: Name,
    note: Note,
    key: PhantomData<K>,
}

impl<'de, K, Name, Note> Visitor<'de> for Members<K, Name, Note>
where
    Name: FnMut(Text<'de, '_>) -> K,
    Note: FnMut(K, &'de str),
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Taken(&mut self.name))? {
            let value: &'de RawValue = map.next_value()?;
            (self.note)(key, value.get());
        }
        Ok(())
    }
}

struct Elements<Note> {
    note: Note,
}

impl<'de, Note: FnMut(&'de str)> Visitor<'de> for Elements<Note> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(value) = items.next_element::<&'de RawValue>()? {
            (self.note)(value.get());
        }
        Ok(())
    }
}

/// A string, handed to the function.
struct Taken<F>(F);

impl<'de, T, F: FnOnce(Text<'de, '_>) -> T> DeserializeSeed<'de> for Taken<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, T, F: FnOnce(Text<'de, '_>) -> T> Visitor<'de> for Taken<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<T, E> {
        Ok((self.0)(Text::Plain(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok((self.0)(Text::Unescaped(text)))
    }
}
