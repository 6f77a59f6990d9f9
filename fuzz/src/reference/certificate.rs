//! The forms in which a client certificate is handed on, taken apart as a whole.

use super::base64::{decode_standard, encode_standard};

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// A byte; `None`: a percent sign that begins no escape.
type Byte = Option<u8>;

/// The DER of the first certificate.
pub fn der(value: &[u8]) -> Option<Vec<u8>> {
    let is_quoted = value.len() >= 2
        && value[0] == b'"'
        && value.iter().filter(|&&byte| byte == b'"').count() == 2
        && value.ends_with(b"\"");
    let value = if is_quoted { &value[1..value.len() - 1] } else { value };
    let is_form = value.contains(&b'%') && value.starts_with(b"-----BEGIN+");
    let plain = |byte: &u8| if is_form && *byte == b'+' { b' ' } else { *byte };
    let bytes = unescaped(&value.iter().map(plain).collect::<Vec<u8>>());
    let text = match bytes.first() {
        Some(Some(b':')) => field(&bytes[1..])?,
        Some(Some(b'-')) => pem(&bytes)?,
        _ => first_of_chain(&bytes)?,
    };
    let encoded: Option<Vec<u8>> = text.iter().filter(|byte| !is_blank(byte)).copied().collect();
    decode_standard(&encoded?).filter(|der| is_certificate(der))
}

/// What is in front of the first comma, behind which there is nothing but certificates and commas.
fn first_of_chain(bytes: &[Byte]) -> Option<&[Byte]> {
    let mut parts = bytes.split(|byte| *byte == Some(b','));
    let first = parts.next()?;
    let is_base64 =
        |byte: &Byte| byte.is_some_and(|it| it.is_ascii_alphanumeric() || b"+/=".contains(&it));
    parts.all(|part| !part.is_empty() && part.iter().all(is_base64)).then_some(first)
}

/// What is in front of a colon that is the last byte (RFC 9440 section 2.1).
fn field(bytes: &[Byte]) -> Option<&[Byte]> {
    let end = bytes.iter().position(|byte| *byte == Some(b':'))?;
    (end + 1 == bytes.len()).then_some(&bytes[..end])
}

/// What is between the lines of the first block (RFC 7468 section 2). What follows may be another block.
fn pem(bytes: &[Byte]) -> Option<&[Byte]> {
    let after = |bytes: &'_ [Byte], line: &[u8]| -> Option<usize> {
        let is_there = bytes.len() >= line.len()
            && bytes.iter().zip(line).all(|(byte, expected)| *byte == Some(*expected));
        is_there.then_some(line.len())
    };
    let bytes = &bytes[after(bytes, BEGIN)?..];
    let end = bytes.iter().position(|byte| *byte == Some(b'-'))?;
    let rest = &bytes[end + after(&bytes[end..], END)?..];
    let blanks = rest.iter().take_while(|byte| is_blank(byte)).count();
    let next = rest.get(blanks);
    let is_separator = |byte: &Byte| *byte == Some(b',');
    let is_joined = |at: usize| rest.get(at + 1) == Some(&Some(b'-'));
    let is_chain = next.is_none_or(|next| *next == Some(b'-') || is_separator(next))
        && (blanks..rest.len()).all(|at| !is_separator(&rest[at]) || is_joined(at));
    (is_chain && rest.iter().all(Option::is_some)).then_some(&bytes[..end])
}

fn is_blank(byte: &Byte) -> bool {
    byte.is_some_and(|byte| b" \t\r\n".contains(&byte))
}

fn unescaped(value: &[u8]) -> Vec<Byte> {
    let digit = |at: usize| value.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut bytes = Vec::new();
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        at += 1;
        bytes.push(match byte {
            b'%' => match (digit(at), digit(at + 1)) {
                (Some(high), Some(low)) => {
                    at += 2;
                    Some((high * 16 + low) as u8)
                }
                _ => None,
            },
            byte => Some(byte),
        });
    }
    bytes
}

/// One SEQUENCE, as long as it says in as few bytes as can be (X.690 section 10.1), and as long as a certificate is.
fn is_certificate(der: &[u8]) -> bool {
    der.len() > 4 && der == sequence(&der[if der[1] == 0x81 { 3 } else { 4 }..])
}

/// A SEQUENCE of that content, which has 128 to 65,535 bytes.
pub fn sequence(content: &[u8]) -> Vec<u8> {
    let len = (content.len() as u32).to_be_bytes();
    let head: &[u8] = match content.len() {
        128..=255 => &[0x30, 0x81, len[3]],
        256..=65_535 => &[0x30, 0x82, len[2], len[3]],
        _ => &[],
    };
    [head, content].concat()
}

/// A certificate in one of the forms.
pub fn form(der: &[u8], which: u8) -> Vec<u8> {
    let base64 = encode_standard(der);
    let block = |newline: &[u8]| {
        let lines: Vec<&[u8]> = base64.chunks(64).collect();
        [BEGIN, &lines.join(newline), END, b""].join(newline)
    };
    let chain = || block(b"\n").repeat(2);
    match which % 12 {
        8 => [&base64[..], b",", &base64].concat(),
        9 => [&block(b"\n")[..], b",", &block(b"\n")].concat(),
        10 => [b"\"", &base64[..], b"\""].concat(),
        11 => String::from_utf8_lossy(&escaped(&block(b"\n"))).replace("%20", "+").into_bytes(),
        0 => block(b"\n"),
        1 => block(b"\r\n"),
        2 => block(b"\n\t"),
        3 => chain(),
        4 => escaped(&block(b"\n")),
        5 => escaped(&chain()),
        6 => [b":", &base64[..], b":"].concat(),
        _ => base64,
    }
}

fn escaped(text: &[u8]) -> Vec<u8> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escape = |&byte: &u8| match byte {
        byte if is_plain(byte) => vec![byte],
        byte => format!("%{byte:02X}").into_bytes(),
    };
    text.iter().flat_map(escape).collect()
}
