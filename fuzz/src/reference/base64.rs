//! Base64 and base64url (RFC 4648), bit by bit.

/// `None` unless `text` is exactly what an encoder with this alphabet writes, with or without padding.
fn decode(text: &[u8], last_two: &[u8; 2], padded: bool) -> Option<Vec<u8>> {
    let mut alphabet: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').collect();
    alphabet.extend(last_two);
    let digits: Vec<u8> = if padded {
        text.iter().copied().filter(|&byte| byte != b'=').collect()
    } else {
        text.into()
    };
    let mut bits: Vec<bool> = Vec::new();
    for digit in &digits {
        let value = alphabet.iter().position(|it| it == digit)?;
        bits.extend((0..6).rev().map(|bit| value >> bit & 1 == 1));
    }
    let whole = bits.len() / 8 * 8;
    // Bits that belong to no byte are zero, and fewer than a digit has.
    if bits[whole..].len() >= 6 || bits[whole..].contains(&true) {
        return None;
    }
    let byte = |bits: &[bool]| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
    let padding = if padded { b"=".repeat((4 - digits.len() % 4) % 4) } else { Vec::new() };
    (text == [digits, padding].concat()).then(|| bits[..whole].chunks(8).map(byte).collect())
}

/// Base64 with padding.
pub fn decode_standard(text: &[u8]) -> Option<Vec<u8>> {
    decode(text, b"+/", true)
}

/// Base64url without padding.
pub fn decode_url(text: &[u8]) -> Option<Vec<u8>> {
    decode(text, b"-_", false)
}

/// Base64url without padding of any bytes.
pub fn encode_url(bytes: &[u8]) -> Vec<u8> {
    encode(bytes, b"-_")
}

/// Base64 with padding of any bytes.
pub fn encode_standard(bytes: &[u8]) -> Vec<u8> {
    let digits = encode(bytes, b"+/");
    let padding = b"=".repeat((4 - digits.len() % 4) % 4);
    [digits, padding].concat()
}

fn encode(bytes: &[u8], last_two: &[u8; 2]) -> Vec<u8> {
    let mut alphabet: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').collect();
    alphabet.extend(last_two);
    let bits: Vec<bool> =
        bytes.iter().flat_map(|&byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
    let digit = |bits: &[bool]| {
        (0..6).fold(0, |sum, at| sum << 1 | usize::from(bits.get(at) == Some(&true)))
    };
    bits.chunks(6).map(|bits| alphabet[digit(bits)]).collect()
}
