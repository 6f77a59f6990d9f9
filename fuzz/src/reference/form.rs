//! `application/x-www-form-urlencoded`, read as an authorization server reads it.

/// The pairs, decoded; `None` if a byte that needs encoding is not encoded, or an escape is not complete.
pub fn decode(form: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    if form.is_empty() {
        return Some(Vec::new());
    }
    let pair = |pair: &[u8]| {
        let mut halves = pair.split(|&byte| byte == b'=');
        let (name, value) = (halves.next()?, halves.next()?);
        halves.next().is_none().then_some((text(name)?, text(value)?))
    };
    form.split(|&byte| byte == b'&').map(pair).collect()
}

/// One name or value, decoded.
pub fn text(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = encoded.iter();
    let mut decoded = Vec::new();
    while let Some(&byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [char::from(*bytes.next()?), char::from(*bytes.next()?)];
                // Upper case, as RFC 3986 section 2.1 asks for.
                if digits.iter().any(char::is_ascii_lowercase) {
                    return None;
                }
                let [high, low] = digits.map(|digit| digit.to_digit(16));
                u8::try_from(high? * 16 + low?).ok()?
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => byte,
            _ => return None,
        });
    }
    Some(decoded)
}
