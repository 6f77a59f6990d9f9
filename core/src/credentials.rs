//! Where a request carries its access token: the `Authorization` field, a variable, the query, a cookie.

use core::fmt;

use crate::alphabet;

/// What one place of a request says of an access token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// No bearer credentials: nothing at all, or another scheme.
    None,
    /// Bearer credentials that are no `b64token`.
    Malformed,
    /// The access token.
    Bearer(&'a [u8]),
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Malformed => "Malformed",
            Self::Bearer(_) => "Bearer(..)",
        })
    }
}

/// Reads a whole `Authorization` value (RFC 6750 section 2.1): the scheme `Bearer` in any case, one or
/// more spaces, one `b64token`. A value of another scheme carries no bearer credentials; `Bearer`
/// followed by anything else, or by nothing, is malformed.
///
/// Spaces and tabs around the value are no part of it (RFC 9110 section 5.5). NGINX strips the spaces
/// from an HTTP/1 header, but not from an HTTP/2 or HTTP/3 one, and an upstream would: what it
/// would read as bearer credentials has to be seen as such here.
#[must_use]
pub fn authorization(value: &[u8]) -> Credentials<'_> {
    with_scheme(b"Bearer", value)
}

/// The same of the scheme `DPoP` (RFC 9449 section 7.1), whose tokens come with a proof.
#[must_use]
pub fn dpop(value: &[u8]) -> Credentials<'_> {
    with_scheme(b"DPoP", value)
}

// Of each scheme a copy of its own, which knows what it compares.
#[inline(always)]
fn with_scheme<'a>(expected: &[u8], value: &'a [u8]) -> Credentials<'a> {
    let value = trim_blanks(value);
    let Some((scheme, rest)) = value.split_at_checked(expected.len()) else {
        return Credentials::None;
    };
    // As almost everybody writes it, which is compared at once.
    if scheme != expected && !scheme.eq_ignore_ascii_case(expected) {
        return Credentials::None;
    }
    match rest {
        [b' ', value @ ..] => {
            let start = value.iter().position(|&byte| byte != b' ').unwrap_or(value.len());
            token(value.get(start..).unwrap_or_default())
        }
        // The scheme goes on: another one, whose name merely begins so.
        [next, ..] if is_tchar(*next) => Credentials::None,
        _ => Credentials::Malformed,
    }
}

/// Reads the value of a variable that holds the bare token.
#[must_use]
pub fn bare(value: &[u8]) -> Credentials<'_> {
    if value.is_empty() { Credentials::None } else { token(value) }
}

/// Whether a raw query string has a parameter named `access_token` (RFC 6750 section 2.3), with any
/// value or none. The name is case-sensitive and may be percent-encoded.
#[must_use]
pub fn in_query(args: &[u8]) -> bool {
    args.split(|&byte| byte == b'&').any(is_access_token)
}

/// Writes a `Cookie` value without any cookie of that name to `out`, and returns the length written:
/// 0 where no other cookie is left. The other cookies keep their bytes and their order.
///
/// `None` if there is none of that name, or if `out` is shorter than `value`.
///
/// The name is found wherever NGINX's `$cookie_name` would find it: in any case, after a comma too,
/// with blanks before the `=`; the value goes up to the next semicolon.
#[must_use]
pub fn without_cookie(value: &[u8], name: &[u8], out: &mut [u8]) -> Option<usize> {
    if name.is_empty() || out.len() < value.len() {
        return None;
    }
    let mut rest = value;
    let mut written = 0;
    // Where the last cookie that was kept ends, without its separator.
    let mut end_of_kept = 0;
    let mut removed_before = false;
    let mut found = false;
    while !rest.is_empty() {
        let remove = is_cookie(rest, name);
        let is_end = |&byte: &u8| byte == b';' || (byte == b',' && !remove);
        let end = rest.iter().position(is_end).unwrap_or(rest.len());
        let after = rest.get(end + 1..).unwrap_or_default();
        let blanks = after.iter().take_while(|&&byte| is_blank(byte)).count();
        let next = after.get(blanks..).unwrap_or_default();
        if remove {
            found = true;
            removed_before = true;
            // Together with what separated it from the last one.
            written = end_of_kept;
        } else {
            if removed_before && written > 0 {
                written = append(out, written, b"; ")?;
            }
            removed_before = false;
            end_of_kept = written + end;
            let whole = rest.get(..rest.len() - next.len()).unwrap_or_default();
            written = append(out, written, whole)?;
        }
        rest = next;
    }
    found.then_some(written)
}

fn append(out: &mut [u8], at: usize, bytes: &[u8]) -> Option<usize> {
    let end = at + bytes.len();
    out.get_mut(at..end)?.copy_from_slice(bytes);
    Some(end)
}

/// Whether a cookie of that name begins here.
fn is_cookie(bytes: &[u8], name: &[u8]) -> bool {
    let start = bytes.iter().take_while(|&&byte| is_blank(byte)).count();
    let Some((found, rest)) = bytes.get(start..).and_then(|it| it.split_at_checked(name.len()))
    else {
        return false;
    };
    found.eq_ignore_ascii_case(name) && rest.iter().find(|&&byte| !is_blank(byte)) == Some(&b'=')
}

fn is_access_token(pair: &[u8]) -> bool {
    let mut rest = pair;
    for expected in b"access_token" {
        rest = match rest {
            [byte, tail @ ..] if byte == expected => tail,
            [b'%', high, low, tail @ ..] if percent(*high, *low) == Some(*expected) => tail,
            _ => return false,
        };
    }
    matches!(rest, [] | [b'=', ..])
}

fn percent(high: u8, low: u8) -> Option<u8> {
    let digit = |byte| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// `b64token` = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
fn token(value: &[u8]) -> Credentials<'_> {
    let mut unpadded = value;
    while let [rest @ .., b'='] = unpadded {
        unpadded = rest;
    }
    if alphabet::holds(unpadded, is_b64) && !unpadded.is_empty() {
        Credentials::Bearer(value)
    } else {
        Credentials::Malformed
    }
}

/// ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/", of which the digits follow upon "-./": what may stand in a
/// `b64token` before its padding.
fn is_b64(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let is_digit_or_before = byte.wrapping_sub(b'-') < 13;
    is_letter | is_digit_or_before | (byte == b'+') | (byte == b'_') | (byte == b'~')
}

/// A character of a `token` (RFC 9110 section 5.6.2), as scheme names are made of.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim_blanks(value: &[u8]) -> &[u8] {
    let mut value = value;
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::Credentials::{Bearer, Malformed, None};
    use super::*;

    #[test]
    fn authorization_values() {
        let cases: &[(&[u8], Credentials)] = &[
            (b"Bearer abc", Bearer(b"abc")),
            (b"bearer abc", Bearer(b"abc")),
            (b"BEARER   abc", Bearer(b"abc")),
            (b"Bearer a-b.c_d~e+f/g==", Bearer(b"a-b.c_d~e+f/g==")),
            (b"Bearer abc ", Bearer(b"abc")),
            (b" \tBearer abc\t ", Bearer(b"abc")),
            (b"Bearer", Malformed),
            (b"Bearer ", Malformed),
            (b"Bearer\tabc", Malformed),
            (b"Bearer \tabc", Malformed),
            (b"Bearer a b", Malformed),
            (b"Bearer a&b=c", Malformed),
            (b"Bearer =a", Malformed),
            (b"Bearer =", Malformed),
            (b"Bearer a=b", Malformed),
            (b"Bearer a,b", Malformed),
            (b"Bearer a\0", Malformed),
            (b"Bearer a\x7f", Malformed),
            (b"Bearer \"abc\"", Malformed),
            (b"Bearer \xc3\xa4", Malformed),
            (b"Bearer, Basic x", Malformed),
            (b"Bearer=abc", Malformed),
            (b"Bearer: abc", Malformed),
            (b"", None),
            (b" ", None),
            (b"Bear", None),
            (b"Basic x", None),
            (b"Basic x Bearer y", None),
            (b"XBearer y", None),
            (b"BearerX y", None),
            (b"Bearer-X y", None),
            (b"DPoP abc", None),
            (b", Bearer abc", None),
        ];
        for (value, expected) in cases {
            assert_eq!(authorization(value), *expected, "{}", value.escape_ascii());
        }
    }

    /// The same grammar as that of Bearer, under another name.
    #[test]
    fn dpop_values() {
        let cases: &[(&[u8], Credentials)] = &[
            (b"DPoP abc", Bearer(b"abc")),
            (b" dpop   abc=\t", Bearer(b"abc=")),
            (b"DPoP", Malformed),
            (b"DPoP a b", Malformed),
            (b"DPoP=abc", Malformed),
            (b"DPoPX abc", None),
            (b"Bearer abc", None),
            (b"", None),
        ];
        for (value, expected) in cases {
            assert_eq!(dpop(value), *expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn bare_values() {
        let cases: &[(&[u8], Credentials)] = &[
            (b"", None),
            (b"abc=", Bearer(b"abc=")),
            (b"=", Malformed),
            (b" abc", Malformed),
            (b"Bearer abc", Malformed),
            (b"a\nb", Malformed),
        ];
        for (value, expected) in cases {
            assert_eq!(bare(value), *expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn every_byte_of_a_token_counts() {
        const ALPHABET: &[u8] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/";
        for len in 1..=50 {
            for at in 0..len {
                for byte in 0..=255 {
                    let mut value = vec![b'a'; len];
                    value[at] = byte;
                    let is_padding = byte == b'=' && at > 0 && at + 1 == len;
                    let is_valid = ALPHABET.contains(&byte) || is_padding;
                    let expected = if is_valid { Bearer(&value) } else { Malformed };
                    assert_eq!(bare(&value), expected, "{byte} at {at} of {len}");
                }
            }
        }
    }

    #[test]
    fn debug_keeps_the_token() {
        assert_eq!(format!("{:?}", Bearer(b"secret")), "Bearer(..)");
    }

    #[test]
    fn queries() {
        let with: &[&[u8]] = &[
            b"access_token=x",
            b"a=1&access_token=x&b=2",
            b"access_token",
            b"access_token=",
            b"&&access_token=x",
            b"%61ccess%5ftoke%6E=x",
            b"%61%63%63%65%73%73%5F%74%6f%6b%65%6e=x",
        ];
        for args in with {
            assert!(in_query(args), "{}", args.escape_ascii());
        }
        let without: &[&[u8]] = &[
            b"",
            b"a=access_token",
            b"a=b=access_token=x",
            b"Access_Token=x",
            b"access_tokens=x",
            b"xaccess_token=x",
            b"access+token=x",
            b"access_token%3dx",
            b"access_toke%6",
            b"access_toke%",
            b"access_toke%6g",
            b"%2561ccess_token=x",
        ];
        for args in without {
            assert!(!in_query(args), "{}", args.escape_ascii());
        }
    }

    #[test]
    fn cookies() {
        let cases: &[(&str, Option<&str>)] = &[
            ("", Option::None),
            ("a=1; b=2", Option::None),
            ("tok", Option::None),
            ("xtok=1; tokx=2; a=tok=3", Option::None),
            ("tok=s", Some("")),
            ("tok=s; a=1", Some("a=1")),
            ("a=1; tok=s", Some("a=1")),
            ("a=1; tok=s; b=2", Some("a=1; b=2")),
            ("a=1;tok=s;b=2", Some("a=1; b=2")),
            ("a=1; TOK=s; b=2; tok=t; Tok=u", Some("a=1; b=2")),
            ("tok=s; tok=t;", Some("")),
            ("tok = s; a = 1 ", Some("a = 1 ")),
            ("  tok=s", Some("")),
            ("a=1;\ttok=s", Some("a=1")),
            ("a=1, tok=s, t; b=2", Some("a=1; b=2")),
            ("a=1,2; tok=s; b=3,4;", Some("a=1,2; b=3,4;")),
            ("a=1;; tok=s;;b=2", Some("a=1;; ;b=2")),
        ];
        for (value, expected) in cases {
            let mut out = vec![0; value.len()];
            let written = without_cookie(value.as_bytes(), b"tok", &mut out);
            let rest = written.map(|len| std::str::from_utf8(&out[..len]).unwrap());
            assert_eq!(rest, *expected, "{value}");
        }
    }

    #[test]
    fn cookies_need_room_and_a_name() {
        assert_eq!(without_cookie(b"a=1", b"a", &mut [0; 2]), Option::None);
        assert_eq!(without_cookie(b"=1", b"", &mut [0; 2]), Option::None);
    }
}
