//! Values that nobody can guess.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// 256 random bits as 43 characters of base64url.
///
/// # Errors
/// If the operating system has no random bytes to give.
pub fn opaque() -> io::Result<String> {
    let mut bits = [0; 32];
    aws_lc_rs::rand::fill(&mut bits).map_err(io::Error::other)?;
    Ok(URL_SAFE_NO_PAD.encode(bits))
}

#[cfg(test)]
mod tests {
    use super::opaque;

    #[test]
    fn values_differ_and_are_base64url() {
        let (one, other) = (opaque().unwrap(), opaque().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 43);
        assert!(one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }
}
