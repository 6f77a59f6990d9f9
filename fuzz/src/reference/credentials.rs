//! Where a request carries a token: the grammars of RFC 6750 and RFC 9110, and how NGINX finds a cookie.

/// `Some(None)` is a malformed token.
pub type Found<'a> = Option<Option<&'a [u8]>>;

const BLANKS: &[u8] = b" \t";

/// An `Authorization` value: `"Bearer" 1*SP b64token`.
pub fn authorization(value: &[u8]) -> Found<'_> {
    with_scheme(b"bearer", value)
}

/// `"DPoP" 1*SP token68`, which is the same by another name (RFC 9449 section 7.1, RFC 9110 section 11.2).
pub fn dpop(value: &[u8]) -> Found<'_> {
    with_scheme(b"dpop", value)
}

fn with_scheme<'a>(expected: &[u8], value: &'a [u8]) -> Found<'a> {
    let value = trim(value);
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let scheme = value.iter().take_while(|byte| is_tchar(byte)).count();
    let (scheme, rest) = value.split_at(scheme);
    if !scheme.eq_ignore_ascii_case(expected) {
        return None;
    }
    let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
    Some(if spaces > 0 { b64token(&rest[spaces..]) } else { None })
}

/// The value of a variable.
pub fn bare(value: &[u8]) -> Found<'_> {
    (!value.is_empty()).then(|| b64token(value))
}

fn b64token(text: &[u8]) -> Option<&[u8]> {
    let is_b64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    let characters = text.iter().take_while(|byte| is_b64(byte)).count();
    (characters > 0 && text[characters..].iter().all(|&byte| byte == b'=')).then_some(text)
}

/// Whether a query string has a parameter of that name.
pub fn in_query(args: &[u8], wanted: &[u8]) -> bool {
    args.split(|&byte| byte == b'&').any(|pair| {
        let name = pair.split(|&byte| byte == b'=').next().unwrap_or_default();
        let mut decoded = Vec::new();
        let mut at = 0;
        while at < name.len() {
            let digit = |at: usize| name.get(at).and_then(|&byte| char::from(byte).to_digit(16));
            match (name[at], digit(at + 1), digit(at + 2)) {
                (b'%', Some(high), Some(low)) => {
                    decoded.push((high * 16 + low) as u8);
                    at += 3;
                }
                (byte, ..) => {
                    decoded.push(byte);
                    at += 1;
                }
            }
        }
        decoded == wanted
    })
}

/// The cookies that are left when those of a name are taken out, without the blanks around them; and
/// whether there was one. A cookie that goes takes all up to the next semicolon with it, as NGINX has
/// it in `$cookie_name`; one that stays ends at a comma, too.
pub fn cookies_without<'a>(value: &'a [u8], name: &[u8]) -> (Vec<&'a [u8]>, bool) {
    let mut left = Vec::new();
    let mut found = false;
    for part in value.split(|&byte| byte == b';') {
        for cookie in part.split(|&byte| byte == b',').map(trim) {
            let end = cookie.iter().position(|&byte| byte == b'=');
            if end.is_some_and(|end| trim(&cookie[..end]).eq_ignore_ascii_case(name)) {
                found = true;
                break;
            }
            left.push(cookie);
        }
    }
    left.retain(|cookie| !cookie.is_empty());
    (left, found)
}

/// Whether NGINX's `$cookie_name` has a value: `ngx_http_parse_multi_header_lines()` for one line.
pub fn nginx_finds_cookie(value: &[u8], name: &[u8]) -> bool {
    let mut rest = value;
    while !rest.is_empty() {
        if rest.len() >= name.len() && rest[..name.len()].eq_ignore_ascii_case(name) {
            rest = skip_spaces(&rest[name.len()..]);
            match rest.split_first() {
                Some((b'=', _)) => return true,
                // Whatever the byte is, it is passed over.
                Some((_, after)) => rest = after,
                None => {}
            }
        }
        let end = rest.iter().position(|byte| b";,".contains(byte));
        rest = skip_spaces(end.map_or(b"", |end| &rest[end + 1..]));
    }
    false
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|&&byte| byte == b' ').count()..]
}

fn trim(text: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !BLANKS.contains(byte);
    let Some(start) = text.iter().position(is_text) else { return b"" };
    let end = text.iter().rposition(is_text).unwrap_or(start);
    &text[start..=end]
}
