//! The body of a question: `application/x-www-form-urlencoded` (RFC 6749 appendix B).

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use crate::alphabet;

/// The buffer of a form is too small for the next pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the buffer of the form is too small")]
pub struct Full;

/// The length of these bytes when encoded.
#[must_use]
pub fn encoded_len(bytes: &[u8]) -> usize {
    if is_all_plain(bytes) {
        return bytes.len();
    }
    bytes.iter().map(|&byte| if is_plain(byte) || byte == b' ' { 1 } else { 3 }).sum()
}

/// The length of one pair when encoded, with the `&` before it.
#[must_use]
pub fn pair_len(name: &[u8], value: &[u8]) -> usize {
    b"&=".len() + encoded_len(name) + encoded_len(value)
}

/// Writes a form into a buffer that the caller brings; [`pair_len`] tells how large.
pub struct FormWriter<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> FormWriter<'a> {
    /// An empty form.
    #[must_use]
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// Adds a pair, encoded.
    ///
    /// # Errors
    /// [`Full`] if it does not fit; then nothing of it is written.
    pub fn pair(&mut self, name: &[u8], value: &[u8]) -> Result<(), Full> {
        let separator: &[u8] = if self.is_empty() { b"" } else { b"&" };
        let len = separator.len() + encoded_len(name) + b"=".len() + encoded_len(value);
        let room = self.buffer.get_mut(self.len..).and_then(|rest| rest.get_mut(..len));
        let mut room = room.ok_or(Full)?;
        put(&mut room, separator)?;
        put_encoded(&mut room, name)?;
        put(&mut room, b"=")?;
        put_encoded(&mut room, value)?;
        self.len += len;
        Ok(())
    }

    /// The form so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no pair was added yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The `Authorization` value of a client: HTTP Basic with both parts form-encoded first (RFC 6749
/// section 2.3.1). For the time of configuration: it allocates.
#[must_use]
pub fn basic_credentials(id: &[u8], secret: &[u8]) -> Vec<u8> {
    let pair: Vec<u8> = encode(id).chain(core::iter::once(b':')).chain(encode(secret)).collect();
    format!("Basic {}", Base64Display::new(&pair, &STANDARD)).into_bytes()
}

/// Writes bytes as they are to the beginning of `room`, which then is what is left of it.
fn put(room: &mut &mut [u8], bytes: &[u8]) -> Result<(), Full> {
    let (place, rest) = core::mem::take(room).split_at_mut_checked(bytes.len()).ok_or(Full)?;
    place.copy_from_slice(bytes);
    *room = rest;
    Ok(())
}

fn put_encoded(room: &mut &mut [u8], bytes: &[u8]) -> Result<(), Full> {
    if is_all_plain(bytes) {
        return put(room, bytes);
    }
    let (place, rest) =
        core::mem::take(room).split_at_mut_checked(encoded_len(bytes)).ok_or(Full)?;
    for (slot, byte) in place.iter_mut().zip(encode(bytes)) {
        *slot = byte;
    }
    *room = rest;
    Ok(())
}

/// As almost every token is.
fn is_all_plain(bytes: &[u8]) -> bool {
    alphabet::holds(bytes, is_plain)
}

fn is_plain(byte: u8) -> bool {
    let is_mark = (byte == b'*') | (byte == b'-') | (byte == b'.') | (byte == b'_');
    alphabet::is_alphanumeric(byte) | is_mark
}

fn encode(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().flat_map(|&byte| {
        let (encoded, len) = match byte {
            b' ' => ([b'+', 0, 0], 1),
            plain if is_plain(plain) => ([plain, 0, 0], 1),
            other => ([b'%', hex_digit(other >> 4), hex_digit(other & 0xf)], 3),
        };
        encoded.into_iter().take(len)
    })
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(pairs: &[(&[u8], &[u8])]) -> String {
        let room = pairs.iter().map(|(name, value)| pair_len(name, value)).sum();
        let mut buffer = vec![0; room];
        let mut form = FormWriter::new(&mut buffer);
        for (name, value) in pairs {
            form.pair(name, value).unwrap();
        }
        assert_eq!(form.len(), form.written().len());
        String::from_utf8(form.written().to_vec()).unwrap()
    }

    #[test]
    fn forms() {
        assert_eq!(form(&[]), "");
        assert_eq!(form(&[(b"", b"")]), "=");
        assert_eq!(
            form(&[(b"token", b"a+b/c=="), (b"token_type_hint", b"access_token")]),
            "token=a%2Bb%2Fc%3D%3D&token_type_hint=access_token"
        );
        assert_eq!(form(&[(b"a&b", b"c=d\r\n\0")]), "a%26b=c%3Dd%0D%0A%00");
        // The example of RFC 6749 appendix B.
        assert_eq!(form(&[(b"v", " %&+£€".as_bytes())]), "v=+%25%26%2B%C2%A3%E2%82%AC");
    }

    #[test]
    fn a_pair_that_does_not_fit_leaves_no_trace() {
        let mut buffer = [b'#'; 8];
        let mut form = FormWriter::new(&mut buffer);
        form.pair(b"a", b"b").unwrap();
        assert_eq!(form.pair(b"cd", b"ef"), Err(Full));
        assert_eq!(form.written(), b"a=b");
        form.pair(b"c", b"de").unwrap();
        assert_eq!(&buffer, b"a=b&c=de");
    }

    #[test]
    fn basic() {
        // The example of RFC 6749 section 2.3.1.
        assert_eq!(
            basic_credentials(b"s6BhdRkqt3", b"7Fjfp0ZBr1KtDRbnfVdmIw"),
            b"Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"
        );
        // "a%3Ab:c%25": a colon in the id does not end it.
        assert_eq!(basic_credentials(b"a:b", b"c%"), b"Basic YSUzQWI6YyUyNQ==");
        assert_eq!(basic_credentials(b"", b""), b"Basic Og==");
    }
}
