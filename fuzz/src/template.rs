//! Inputs with JWTs in them that a fuzzer can read and change: `<<header|payload>>` stands for a JWT of these
//! two, and may hold others in turn.

use crate::reference::base64::encode_url;

/// More of them are left as they stand: each one within another grows by a third.
const MOST: usize = 8;

/// Puts the JWTs in.
pub fn expand(input: &[u8]) -> Vec<u8> {
    let mut text = input.to_vec();
    let (mut from, mut count) = (0, 0);
    // The innermost first: what it becomes has none of these marks.
    while count < MOST
        && let Some(end) = find(&text[from..], b">>").map(|at| from + at)
    {
        from = end + 2;
        let Some(start) = text[..end].windows(2).rposition(|it| it == b"<<") else { continue };
        let inside = &text[start + 2..end];
        let Some(bar) = inside.iter().position(|&byte| byte == b'|') else { continue };
        let (header, payload) = (encode_url(&inside[..bar]), encode_url(&inside[bar + 1..]));
        let jwt = [&header[..], b".", &payload, b".c2ln"].concat();
        from = start + jwt.len();
        count += 1;
        text.splice(start..end + 2, jwt);
    }
    text
}

/// The first line, and what comes after it.
pub fn split_line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.iter().position(|&byte| byte == b'\n')?;
    Some((&input[..end], &input[end + 1..]))
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|it| it == wanted)
}
