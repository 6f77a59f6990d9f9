//! A `WWW-Authenticate` value with one challenge, by the grammar of RFC 9110 sections 5.6 and 11.

/// Names and values of the parameters.
pub type Parameters = Vec<(Vec<u8>, Vec<u8>)>;

/// Scheme and parameters: `token 1*SP auth-param *( "," SP auth-param )`, each value a quoted-string.
pub fn parse(value: &[u8]) -> Option<(Vec<u8>, Parameters)> {
    let mut rest = value;
    let scheme = token(&mut rest)?;
    expect(&mut rest, b' ')?;
    let mut parameters = Vec::new();
    loop {
        let name = token(&mut rest)?;
        expect(&mut rest, b'=')?;
        parameters.push((name, quoted_string(&mut rest)?));
        if rest.is_empty() {
            return Some((scheme, parameters));
        }
        expect(&mut rest, b',')?;
        expect(&mut rest, b' ')?;
    }
}

fn token(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let len = rest.iter().take_while(|byte| is_tchar(byte)).count();
    let (token, after) = rest.split_at(len);
    *rest = after;
    (len > 0).then(|| token.to_vec())
}

fn quoted_string(rest: &mut &[u8]) -> Option<Vec<u8>> {
    expect(rest, b'"')?;
    let mut text = Vec::new();
    loop {
        match next(rest)? {
            b'"' => return Some(text),
            b'\\' => match next(rest)? {
                byte @ (b'\t' | b' ' | 0x21..=0x7e | 0x80..=0xff) => text.push(byte),
                _ => return None,
            },
            byte @ (b'\t' | b' ' | 0x21..=0x7e | 0x80..=0xff) => text.push(byte),
            _ => return None,
        }
    }
}

fn expect(rest: &mut &[u8], byte: u8) -> Option<()> {
    (next(rest)? == byte).then_some(())
}

fn next(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, after) = rest.split_first()?;
    *rest = after;
    Some(byte)
}
