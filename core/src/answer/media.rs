//! The media type of an answer.

use core::fmt;

/// The types of answers that are read.
#[derive(Clone, Copy)]
pub(super) enum MediaKind {
    Jwt,
    Json,
    Envelope,
}

/// The type of a `Content-Type` value, without parameters (RFC 9110 section 8.3.1).
pub(super) fn media_type(content_type: &[u8]) -> &[u8] {
    content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii()
}

/// A media type as the log may show it: whatever the server sent, it cannot forge a line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MediaType {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl MediaType {
    /// A longer one is not shown.
    const MAX: usize = 64;

    pub(super) fn of(media_type: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX];
        let shown: &[u8] = match media_type {
            [] => b"no Content-Type",
            long if long.len() > Self::MAX => b"an overlong Content-Type",
            plain if plain.iter().all(u8::is_ascii_graphic) => plain,
            _ => b"an unprintable Content-Type",
        };
        for (slot, byte) in bytes.iter_mut().zip(shown) {
            *slot = *byte;
        }
        Self { bytes, len: shown.len() }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.bytes.get(..self.len).and_then(|bytes| core::str::from_utf8(bytes).ok());
        f.write_str(shown.unwrap_or_default())
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MediaType({self})")
    }
}
