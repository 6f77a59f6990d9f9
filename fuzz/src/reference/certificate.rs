//! The forms in which a client certificate is handed on, taken apart as a whole.

use super::base64::{decode_standard, encode_standard};

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// A byte; `None`: a percent sign that begins no escape.
type Byte = Option<u8>;

/// The DER of the first certificate.
pub fn der(value: &[u8]) -> Option<Vec<u8>> {
    let bytes = unescaped(value);
    let text = match bytes.first() {
        Some(Some(b':')) => field(&bytes[1..])?,
        Some(Some(b'-')) => pem(&bytes)?,
        _ => &bytes,
    };
    let encoded: Option<Vec<u8>> = text.iter().filter(|byte| !is_blank(byte)).copied().collect();
    decode_standard(&encoded?).filter(|der| is_certificate(der))
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
    let next = rest.iter().find(|byte| !is_blank(byte));
    next.is_none_or(|next| *next == Some(b'-')).then_some(&bytes[..end])
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
    match which % 8 {
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
