//! The claims of a verdict, as text that is safe in a header.

use crate::json::JsonError;
use crate::jwt::{self, Kind};
use crate::raw_json::{self, Text};
use crate::record::Document;

/// One claim, as it is in the document.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    name: &'a str,
    /// JSON.
    value: &'a str,
}

/// Why a claim has no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Two readers could take different ones.
    #[error("is there more than once")]
    Repeated,
    /// It could end a header line, or be cut by whoever reads it.
    #[error("has a control character in it")]
    Control,
    /// HTTP takes it for no part of a value: who reads the header would see another text (RFC 9110 section 5.5).
    #[error("begins or ends with a blank")]
    Blank,
    /// The caller's room is shorter than the claim.
    #[error("finds no room")]
    NoRoom,
    /// The document is none that was judged.
    #[error("cannot be read")]
    Unreadable,
}

impl From<JsonError> for ClaimError {
    fn from(_: JsonError) -> Self {
        Self::Unreadable
    }
}

/// The JSON object whose members are the claims of a document. `scratch` must be as long as `document`.
///
/// # Errors
/// [`ClaimError::Unreadable`] for what is no such document.
pub fn object<'a>(
    kind: Document,
    document: &'a [u8],
    scratch: &'a mut [u8],
) -> Result<&'a [u8], ClaimError> {
    let payload = |kind, scratch: &'a mut [u8]| {
        jwt::payload(document, kind, scratch).map_err(|_| ClaimError::Unreadable)
    };
    match kind {
        Document::Json => Ok(document),
        Document::Jwt | Document::Exchanged | Document::ClaimsJwt => {
            payload(Kind::AccessToken, scratch)
        }
        Document::Envelope => {
            let mut inside = None;
            let is_inside = |name: Text<'_, '_>| name.as_str() == "token_introspection";
            raw_json::members(payload(Kind::Envelope, scratch)?, is_inside, |is_inside, value| {
                if is_inside {
                    inside = Some(value.as_bytes());
                }
            })?;
            inside.ok_or(ClaimError::Unreadable)
        }
        Document::Keys => Err(ClaimError::Unreadable),
    }
}

/// Hands each claim of the object to `note`. `names` must be as long as `object`: a name that has escapes in
/// the text is kept there.
///
/// # Errors
/// [`ClaimError::Unreadable`], [`ClaimError::NoRoom`].
pub fn each<'a>(
    object: &'a [u8],
    names: &'a mut [u8],
    mut note: impl FnMut(Claim<'a>),
) -> Result<(), ClaimError> {
    let mut names = Some(names);
    let keep = |name: Text<'a, '_>| match name {
        Text::Plain(name) => Some(name),
        Text::Unescaped(name) => {
            let (kept, rest) = names.take()?.split_at_mut_checked(name.len())?;
            names = Some(rest);
            kept.copy_from_slice(name.as_bytes());
            core::str::from_utf8(kept).ok()
        }
    };
    let mut has_room = true;
    raw_json::members(object, keep, |name, value| match name {
        Some(name) => note(Claim { name, value }),
        None => has_room = false,
    })?;
    if has_room { Ok(()) } else { Err(ClaimError::NoRoom) }
}

/// The claim of that name in any case, as NGINX's variables have none; a name in the very case is
/// preferred.
///
/// # Errors
/// [`ClaimError::Repeated`] if more than one claim could be meant.
pub fn find<'a>(claims: &[Claim<'a>], name: &[u8]) -> Result<Option<Claim<'a>>, ClaimError> {
    let same: fn(&[u8], &[u8]) -> bool = |one, other| one == other;
    for is in [same, <[u8]>::eq_ignore_ascii_case] {
        let mut found = claims.iter().filter(|claim| is(claim.name.as_bytes(), name));
        if let Some(claim) = found.next() {
            return if found.next().is_none() {
                Ok(Some(*claim))
            } else {
                Err(ClaimError::Repeated)
            };
        }
    }
    Ok(None)
}

impl Claim<'_> {
    /// How much room [`Claim::text`] needs.
    #[must_use]
    pub fn room(&self) -> usize {
        self.value.len()
    }

    /// Writes the claim as one line of text, and returns its length.
    ///
    /// A string without its quotes; an array joined by spaces, or as JSON if an element is empty, holds a
    /// space, or is itself none of string, number and boolean, or if the first begins as JSON does; an
    /// object as JSON; null as nothing.
    ///
    /// # Errors
    /// [`ClaimError::Control`] and [`ClaimError::Blank`] for what no header can carry as it is.
    pub fn text(&self, room: &mut [u8]) -> Result<usize, ClaimError> {
        let mut out = Out { room, len: 0 };
        match self.value.as_bytes().first() {
            Some(b'"') => raw_json::string(self.value, |text| out.push(text.as_str()))??,
            Some(b'{') => compact(self.value, &mut out)?,
            Some(b'[') => {
                if !join(self.value, &mut out)? {
                    out.len = 0;
                    compact(self.value, &mut out)?;
                }
            }
            Some(b'n') | None => {}
            Some(_) => out.push(self.value)?,
        }
        let text = out.room.get(..out.len).ok_or(ClaimError::NoRoom)?;
        let text = core::str::from_utf8(text).map_err(|_| ClaimError::Unreadable)?;
        if text.chars().any(char::is_control) {
            return Err(ClaimError::Control);
        }
        if text.trim().len() != text.len() {
            return Err(ClaimError::Blank);
        }
        Ok(out.len)
    }
}

struct Out<'o> {
    room: &'o mut [u8],
    len: usize,
}

impl Out<'_> {
    fn push(&mut self, text: &str) -> Result<(), ClaimError> {
        let room = self.room.get_mut(self.len..).and_then(|rest| rest.get_mut(..text.len()));
        room.ok_or(ClaimError::NoRoom)?.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// Joins the elements of an array. False if what came out does not tell the elements apart.
fn join(array: &str, out: &mut Out<'_>) -> Result<bool, ClaimError> {
    let mut apart = true;
    let mut result = Ok(());
    raw_json::elements(array, |element| {
        if !apart || result.is_err() {
            return;
        }
        result = match element.as_bytes().first() {
            Some(b'{' | b'[' | b'n') | None => {
                apart = false;
                return;
            }
            Some(b'"') => raw_json::string(element, |text| {
                let text = text.as_str();
                // A bracket at the beginning says that this is JSON.
                let is_like_json = out.len == 0 && text.starts_with('[');
                apart = !text.is_empty() && !text.contains(' ') && !is_like_json;
                separate(out).and_then(|()| out.push(text))
            })
            .unwrap_or(Err(ClaimError::Unreadable)),
            Some(_) => separate(out).and_then(|()| out.push(element)),
        };
    })?;
    result.map(|()| apart)
}

fn separate(out: &mut Out<'_>) -> Result<(), ClaimError> {
    if out.len == 0 { Ok(()) } else { out.push(" ") }
}

/// Copies JSON without the blanks between its tokens: line breaks among them cannot be in a header.
fn compact(json: &str, out: &mut Out<'_>) -> Result<(), ClaimError> {
    let mut in_string = false;
    let mut escaped = false;
    let mut start = 0;
    for (at, byte) in json.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte == b'"' {
            in_string = true;
        } else if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            out.push(json.get(start..at).unwrap_or_default())?;
            start = at + 1;
        }
    }
    out.push(json.get(start..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::tests::{HEADER, encode};

    /// The text of a claim with that JSON value.
    fn text(value: &str) -> Result<String, ClaimError> {
        let claim = Claim { name: "x", value };
        let mut room = vec![0; claim.room()];
        let len = claim.text(&mut room)?;
        Ok(String::from_utf8(room[..len].to_vec()).unwrap())
    }

    #[test]
    fn texts() {
        let cases = [
            (r#""alice""#, "alice"),
            (r#""""#, ""),
            (r#""a b""#, "a b"),
            (r#""\"\\\/\u00e4\ud83d\ude00""#, "\"\\/ä😀"),
            ("\"käse\"", "käse"),
            ("null", ""),
            ("true", "true"),
            ("false", "false"),
            ("17", "17"),
            ("-0.50e+3", "-0.50e+3"),
            ("9007199254740993", "9007199254740993"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("[]", ""),
            (r#"["a"]"#, "a"),
            (r#"[ "a" ,"b",	"\u0063"]"#, "a b c"),
            (r#"["a",1,true]"#, "a 1 true"),
            (r#"["a b", "c"]"#, r#"["a b","c"]"#),
            (r#"["a\u0020b"]"#, r#"["a\u0020b"]"#),
            (r#"["a", ""]"#, r#"["a",""]"#),
            // Joined, they would read as the JSON of another array.
            (r#"["[\"a", "b\"]"]"#, r#"["[\"a","b\"]"]"#),
            (r#"["\u005b\"a\"]"]"#, r#"["\u005b\"a\"]"]"#),
            (r#"["a", "[b"]"#, "a [b"),
            (r#"["a", null]"#, r#"["a",null]"#),
            (r#"["a", ["b"] ]"#, r#"["a",["b"]]"#),
            (r#"[{"a" : "b c"}]"#, r#"[{"a":"b c"}]"#),
            ("{ \"a\" :\r\n\t[ 1 , \" \\\" } \" ] }", r#"{"a":[1," \" } "]}"#),
            (r#"{"a":"\\"  , "b":"\n"}"#, r#"{"a":"\\","b":"\n"}"#),
            ("{}", "{}"),
        ];
        for (value, expected) in cases {
            assert_eq!(text(value).as_deref(), Ok(expected), "{value}");
        }
    }

    #[test]
    fn control_characters() {
        for value in [
            r#""a\r\nX-Admin: 1""#,
            r#""\u0000""#,
            r#""\t""#,
            "\"\u{7f}\"",
            r#""\u0085""#,
            "\"\u{9f}\"",
            r#"["a","b\nc"]"#,
            "{\"a\":\"\u{7f}\"}",
        ] {
            assert_eq!(text(value), Err(ClaimError::Control), "{value:?}");
        }
    }

    #[test]
    fn blanks_at_the_ends() {
        for value in
            [r#"" admin""#, r#""admin ""#, r#"" ""#, r#""\u0020a""#, "\"a\u{a0}\"", "\"\u{3000}a\""]
        {
            assert_eq!(text(value), Err(ClaimError::Blank), "{value:?}");
        }
        assert_eq!(text(r#""a b""#).as_deref(), Ok("a b"));
    }

    #[test]
    fn room() {
        let claim = Claim { name: "x", value: r#""abc""# };
        assert_eq!(claim.text(&mut [0; 2]), Err(ClaimError::NoRoom));
        assert_eq!(claim.text(&mut [0; 3]), Ok(3));
    }

    fn claims(object: &str) -> Result<Vec<(String, String)>, ClaimError> {
        let mut names = vec![0; object.len()];
        let mut found = Vec::new();
        each(object.as_bytes(), &mut names, |claim| {
            found.push((claim.name.to_owned(), claim.value.to_owned()));
        })?;
        Ok(found)
    }

    #[test]
    fn names_and_values() {
        let object = r#" {"a":1 , "\u0062c" : [ 2 ],"\"":{ },"a":null} "#;
        let found = claims(object).unwrap();
        let expected = [("a", "1"), ("bc", "[ 2 ]"), ("\"", "{ }"), ("a", "null")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for object in ["", "[]", "{", "{}{}", "{\"a\":01}", "1"] {
            assert_eq!(claims(object), Err(ClaimError::Unreadable), "{object}");
        }
        assert!(claims("{\"\\u0061\":1}").is_ok());
        let short = each(b"{\"\\u0061b\":1}", &mut [0; 1], |_| {});
        assert_eq!(short, Err(ClaimError::NoRoom));
    }

    #[test]
    fn look_ups() {
        let claim = |name, value| Claim { name, value };
        let claims = [
            claim("sub", "1"),
            claim("clientId", "2"),
            claim("Aud", "3"),
            claim("aud", "4"),
            claim("twice", "5"),
            claim("twice", "6"),
            claim("CASE", "7"),
            claim("Case", "8"),
        ];
        let found =
            |name: &str| find(&claims, name.as_bytes()).map(|claim| claim.map(|claim| claim.value));
        assert_eq!(found("sub"), Ok(Some("1")));
        assert_eq!(found("clientid"), Ok(Some("2")));
        assert_eq!(found("aud"), Ok(Some("4")));
        assert_eq!(found("none"), Ok(None));
        assert_eq!(found("twice"), Err(ClaimError::Repeated));
        assert_eq!(found("case"), Err(ClaimError::Repeated));
    }

    #[test]
    fn objects_of_documents() {
        let payload = br#"{"sub":"x","token_introspection":{"active":true}}"#;
        let plain = encode(HEADER, payload);
        let enveloped = encode(br#"{"alg":"RS256","typ":"token-introspection+jwt"}"#, payload);
        let read = |kind, document: &str| {
            let mut scratch = vec![0; document.len()];
            object(kind, document.as_bytes(), &mut scratch).map(<[u8]>::to_vec)
        };
        for kind in [Document::Jwt, Document::Exchanged, Document::ClaimsJwt] {
            assert_eq!(read(kind, &plain), Ok(payload.to_vec()));
        }
        assert_eq!(read(Document::Json, "{}"), Ok(b"{}".to_vec()));
        assert_eq!(read(Document::Envelope, &enveloped), Ok(br#"{"active":true}"#.to_vec()));
        assert_eq!(read(Document::Envelope, &encode(HEADER, b"{}")), Err(ClaimError::Unreadable));
        assert_eq!(read(Document::Jwt, "x"), Err(ClaimError::Unreadable));
    }
}
