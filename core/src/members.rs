//! What the members of an introspection answer, or of the payload of a JWT, say of a token.

use crate::json::Value;
use crate::record::UnixMillis;

/// The member `active` (RFC 7662 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Active {
    /// The JSON boolean `true`.
    True,
    /// Any other value, `"true"`, 1 and null among them: not active.
    Other,
}

/// The members that count, wherever they are.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Name {
    Active,
    Exp,
    Cnf,
    TokenType,
    Typ,
    TokenIntrospection,
    Error,
}

impl Name {
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "active" => Self::Active,
            "exp" => Self::Exp,
            "cnf" => Self::Cnf,
            "token_type" => Self::TokenType,
            "typ" => Self::Typ,
            "token_introspection" => Self::TokenIntrospection,
            "error" => Self::Error,
            _ => return None,
        })
    }
}

/// What they say together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Members {
    pub(crate) active: Option<Active>,
    pub(crate) expires: Option<UnixMillis>,
    /// `exp` is there, but is no point in time.
    pub(crate) unreadable_exp: bool,
    /// There is a `cnf`, or `token_type` is that of a token with one (RFC 9449 section 5).
    pub(crate) bound: bool,
    /// A refresh token: `token_type` says so, or `typ`, as Keycloak writes it.
    pub(crate) refresh: bool,
    /// There is a `token_introspection`, as in the signed answers of RFC 9701.
    pub(crate) envelope: bool,
    /// `error` is `unsupported_token_type` (RFC 7009 section 2.2.1).
    pub(crate) unsupported: bool,
    /// One of them is there twice: two readers could take different ones.
    pub(crate) repeated: bool,
    seen: u8,
}

impl Members {
    pub(crate) fn note(&mut self, name: Name, value: &Value<'_, '_>) {
        let bit = 1 << (name as u8);
        self.repeated |= self.seen & bit != 0;
        self.seen |= bit;
        let is = |word: &str| value.text().is_some_and(|text| text.eq_ignore_ascii_case(word));
        match name {
            Name::Active => {
                let active = matches!(value, Value::Bool(true));
                self.active = Some(if active { Active::True } else { Active::Other });
            }
            Name::Exp => match instant(value) {
                Ok(expires) => self.expires = expires,
                Err(Unreadable) => self.unreadable_exp = true,
            },
            Name::Cnf => self.bound |= !matches!(value, Value::Null),
            Name::TokenType => {
                self.refresh |= is("refresh_token");
                self.bound |= is(DPOP);
            }
            Name::Typ => self.refresh |= is("Refresh") || is("Offline"),
            Name::TokenIntrospection => self.envelope = true,
            Name::Error => self.unsupported = value.text() == Some("unsupported_token_type"),
        }
    }
}

/// The `token_type` of a token that is bound to a key (RFC 9449 section 5), in any case (RFC 6749 section 5.1).
pub(crate) const DPOP: &str = "DPoP";

/// What is there is no point in time.
pub(crate) struct Unreadable;

/// A NumericDate (RFC 7519 section 2), or a string of digits, as some servers write it. Fractions of a
/// second are cut off downwards; what is beyond the range of [`UnixMillis`] becomes its end. Null
/// counts as absent.
pub(crate) fn instant(value: &Value<'_, '_>) -> Result<Option<UnixMillis>, Unreadable> {
    let seconds = match value {
        Value::Null => return Ok(None),
        Value::Unsigned(seconds) => i64::try_from(*seconds).unwrap_or(i64::MAX),
        Value::Negative(seconds) => *seconds,
        // A cast from a double saturates.
        Value::Float(seconds) => seconds.floor() as i64,
        text => digits(text.text().ok_or(Unreadable)?).ok_or(Unreadable)?,
    };
    Ok(Some(seconds.saturating_mul(1_000)))
}

fn digits(text: &str) -> Option<i64> {
    let mut total = None;
    for byte in text.bytes() {
        if !byte.is_ascii_digit() {
            return None;
        }
        let before: i64 = total.unwrap_or(0);
        total = Some(before.saturating_mul(10).saturating_add(i64::from(byte - b'0')));
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn read(text: &str) -> Members {
        let mut members = Members::default();
        json::object(text.as_bytes(), Name::of, |name, value| members.note(name, &value)).unwrap();
        members
    }

    #[test]
    fn instants() {
        let cases: &[(&str, i64)] = &[
            ("1700000000", 1_700_000_000_000),
            ("0", 0),
            ("-0", 0),
            ("1.7e9", 1_700_000_000_000),
            ("17E8", 1_700_000_000_000),
            ("1700000000.999", 1_700_000_000_000),
            ("-1", -1_000),
            ("-0.5", -1_000),
            ("-9223372036854775808", i64::MIN),
            ("-1e300", i64::MIN),
            ("9223372036854775807", i64::MAX),
            ("18446744073709551615", i64::MAX),
            ("18446744073709551616", i64::MAX),
            ("1e300", i64::MAX),
            ("1e-300", 0),
            (r#""1700000000""#, 1_700_000_000_000),
            (r#""\u0031\u0037""#, 17_000),
            (r#""99999999999999999999999999""#, i64::MAX),
        ];
        for (value, expected) in cases {
            let members = read(&format!(r#"{{"exp":{value}}}"#));
            assert_eq!(members.expires, Some(*expected), "{value}");
            assert!(!members.unreadable_exp);
        }
        let null = read(r#"{"exp":null}"#);
        assert!(null.expires.is_none() && !null.unreadable_exp);
        for value in
            ["true", "false", "[1]", "{}", r#""""#, r#""-1""#, r#""1.5""#, r#"" 1""#, r#""1e9""#]
        {
            let members = read(&format!(r#"{{"exp":{value}}}"#));
            assert!(members.unreadable_exp && members.expires.is_none(), "{value}");
        }
    }

    #[test]
    fn active() {
        assert_eq!(read("{}").active, None);
        assert_eq!(read(r#"{"active":true}"#).active, Some(Active::True));
        for value in ["false", "null", "1", r#""true""#, "[true]", "{}"] {
            let members = read(&format!(r#"{{"active":{value}}}"#));
            assert_eq!(members.active, Some(Active::Other), "{value}");
        }
    }

    #[test]
    fn kinds_of_token() {
        for text in [
            r#"{"token_type":"refresh_token"}"#,
            r#"{"token_type":"REFRESH_token"}"#,
            r#"{"typ":"Refresh"}"#,
            r#"{"typ":"Offline"}"#,
        ] {
            assert!(read(text).refresh, "{text}");
        }
        for text in [r#"{"token_type":"Bearer","typ":"Bearer"}"#, r#"{"typ":null}"#, "{}"] {
            assert!(!read(text).refresh, "{text}");
        }
        for text in [r#"{"token_type":"DPoP"}"#, r#"{"token_type":"dpop","cnf":null}"#] {
            assert!(read(text).bound && !read(text).refresh, "{text}");
        }
        for text in [r#"{"token_type":"Bearer"}"#, r#"{"token_type":["DPoP"]}"#, r#"{"DPoP":1}"#] {
            assert!(!read(text).bound, "{text}");
        }
        assert!(read(r#"{"cnf":{}}"#).bound);
        assert!(read(r#"{"cnf":0}"#).bound);
        assert!(!read(r#"{"cnf":null}"#).bound);
        assert!(read(r#"{"token_introspection":{}}"#).envelope);
        assert!(read(r#"{"error":"unsupported_token_type"}"#).unsupported);
        assert!(!read(r#"{"error":"invalid_request"}"#).unsupported);
    }

    #[test]
    fn repetition() {
        for name in ["active", "exp", "cnf", "token_type", "typ", "token_introspection", "error"] {
            let text = format!(r#"{{"{name}":null,"x":1,"{name}":null}}"#);
            assert!(read(&text).repeated, "{name}");
        }
        assert!(read(r#"{"exp":1,"\u0065xp":2}"#).repeated);
        assert!(!read(r#"{"x":1,"x":2,"exp":1,"sub":{"exp":1}}"#).repeated);
    }
}
