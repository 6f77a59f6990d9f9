//! Tokens in requests: whatever the bytes, the slow and plain reading agrees.

use phantom_token_core::credentials::{self, Credentials};
use proptest::prelude::*;

const ALPHANUMERIC: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Bytes that resemble what the strategy's pieces are made of, with noise between them.
fn made_of(pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => proptest::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

/// RFC 6750 section 2.1, by the letter.
fn b64token(bytes: &[u8]) -> bool {
    let alphabet = format!("{ALPHANUMERIC}-._~+/");
    let mut bytes = bytes.to_vec();
    while bytes.last() == Some(&b'=') {
        bytes.pop();
    }
    !bytes.is_empty() && bytes.iter().all(|byte| alphabet.as_bytes().contains(byte))
}

fn authorization(value: &[u8]) -> Credentials<'_> {
    let is_blank = |byte: &u8| b" \t".contains(byte);
    let Some(start) = value.iter().position(|byte| !is_blank(byte)) else {
        return Credentials::None;
    };
    let end = value.iter().rposition(|byte| !is_blank(byte)).unwrap();
    let value = &value[start..=end];
    let tchars = format!("{ALPHANUMERIC}!#$%&'*+-.^_`|~");
    let scheme = value.iter().take_while(|byte| tchars.as_bytes().contains(byte)).count();
    if !value[..scheme].eq_ignore_ascii_case(b"bearer") {
        return Credentials::None;
    }
    let spaces = value[scheme..].iter().take_while(|&&byte| byte == b' ').count();
    let token = &value[scheme + spaces..];
    if spaces > 0 && b64token(token) { Credentials::Bearer(token) } else { Credentials::Malformed }
}

/// Percent-decoding, where a stray `%` stands for itself.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let hex = hex.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

/// What NGINX's `$cookie_NAME` finds in one header line (`ngx_http_parse_multi_header_lines`).
fn nginx_cookie<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let skip = |at: usize, is: &dyn Fn(u8) -> bool| {
        at + value[at..].iter().take_while(|&&byte| is(byte)).count()
    };
    let mut at = 0;
    while at < value.len() {
        let is_name =
            value.get(at..at + name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name));
        if is_name {
            at = skip(at + name.len(), &|byte| byte == b' ');
            if value.get(at) == Some(&b'=') {
                let start = skip(at + 1, &|byte| byte == b' ');
                return Some(&value[start..skip(start, &|byte| byte != b';')]);
            }
            at = (at + 1).min(value.len());
        }
        at = (skip(at, &|byte| byte != b';' && byte != b',') + 1).min(value.len());
        at = skip(at, &|byte| byte == b' ');
    }
    None
}

/// The cookies of a value that has no commas.
fn cookies(value: &[u8], without: Option<&[u8]>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for cookie in value.split(|&byte| byte == b';') {
        let cookie = cookie.trim_ascii();
        let mut sides = cookie.splitn(2, |&byte| byte == b'=');
        let name = sides.next().unwrap().trim_ascii_end();
        let is_pair = sides.next().is_some();
        let is_named = without.is_some_and(|without| name.eq_ignore_ascii_case(without));
        let is_removed = is_pair && is_named;
        if !is_removed && !cookie.is_empty() {
            found.push(cookie.to_vec());
        }
    }
    found
}

fn without_cookie(value: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![b'#'; value.len()];
    let len = credentials::without_cookie(value, name, &mut out)?;
    out.truncate(len);
    Some(out)
}

const COOKIES: &[&str] =
    &["tok=", "TOK = ", "tok", "a=", "b=", "1", "s", "; ", ";", ",", ", ", " ", "=", "\t"];

proptest! {
    // A failure prints its minimal input; no file is left behind.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn authorization_is_read_by_the_letter(
        value in made_of(&["Bearer", "bEARER ", "Bearer ", " ", "\t", "=", "a", "Z9-._~+/", "Basic ", ","])
    ) {
        prop_assert_eq!(credentials::authorization(&value), authorization(&value));
    }

    #[test]
    fn bare_values_are_read_by_the_letter(value in made_of(&["a", "Z9-._~+/", "=", " "])) {
        let expected = match &value[..] {
            [] => Credentials::None,
            token if b64token(token) => Credentials::Bearer(token),
            _ => Credentials::Malformed,
        };
        prop_assert_eq!(credentials::bare(&value), expected);
    }

    #[test]
    fn queries_are_read_decoded(
        args in made_of(&["access_token", "%61ccess%5Ftoken", "access", "_token", "%5f", "%", "&", "=", "a"])
    ) {
        let names = args.split(|&byte| byte == b'&').map(|pair| pair.split(|&byte| byte == b'=').next().unwrap());
        let expected = names.into_iter().any(|name| decode(name) == b"access_token");
        prop_assert_eq!(credentials::in_query(&args), expected);
    }

    #[test]
    fn no_cookie_is_left_that_nginx_would_find(value in made_of(COOKIES)) {
        let found = nginx_cookie(&value, b"tok").is_some();
        let rest = without_cookie(&value, b"tok");
        prop_assert!(!found || rest.is_some());
        if let Some(rest) = rest {
            prop_assert_eq!(nginx_cookie(&rest, b"tok"), None);
            prop_assert_eq!(without_cookie(&rest, b"tok"), None);
        }
    }

    #[test]
    fn the_other_cookies_stay(value in made_of(COOKIES)) {
        let mut value = value;
        value.retain(|byte| matches!(byte, b'\t' | b' '..=b'~') && *byte != b',');
        if let Some(rest) = without_cookie(&value, b"tok") {
            prop_assert_eq!(cookies(&rest, None), cookies(&value, Some(b"tok")));
        }
    }
}
