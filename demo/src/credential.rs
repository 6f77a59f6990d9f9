//! A client's id and secret, as HTTP Basic carries them (RFC 6749 section 2.3.1).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, ensure};
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

/// A client's id and secret. Deliberately without `Debug`.
pub struct Credential {
    id: String,
    secret: String,
}

impl Credential {
    /// A credential from its two parts.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { id: id.into(), secret: secret.into() }
    }

    /// Reads the secret of `id` from a file; one newline at its end does not count.
    ///
    /// # Errors
    /// If the file cannot be read, is empty, or is open to others than its owner.
    pub fn from_file(id: &str, path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let mode = fs::metadata(path).with_context(|| format!("cannot read {shown}"))?.mode();
        ensure!(mode & 0o077 == 0, "{shown} is open to other users: chmod 600 it");
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        let secret = text.strip_suffix('\n').unwrap_or(&text);
        ensure!(!secret.is_empty(), "{shown} is empty: write the secret of client {id} into it");
        Ok(Self::new(id, secret))
    }

    /// The client's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The value of an `Authorization` header.
    #[must_use]
    pub fn authorization(&self) -> String {
        let pair = format!("{}:{}", form_encode(&self.id), form_encode(&self.secret));
        format!("Basic {}", STANDARD.encode(pair))
    }

    /// The credential that a request presents; `None` if there is none or it is malformed.
    #[must_use]
    pub fn presented(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::AUTHORIZATION).into_iter();
        let value = values.next()?.to_str().ok()?;
        if values.next().is_some() {
            return None;
        }
        let (scheme, credentials) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
        let (id, secret) = pair.split_once(':')?;
        Some(Self::new(form_decode(id)?, form_decode(secret)?))
    }

    /// Whether both are the same client with the same secret; takes equally long for every wrong
    /// secret of the right length.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let id = self.id.as_bytes().ct_eq(other.id.as_bytes());
        let secret = self.secret.as_bytes().ct_eq(other.secret.as_bytes());
        (id & secret).into()
    }
}

fn form_encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Decodes one form-encoded word; `None` if it has a separator that encoding would have escaped.
fn form_decode(word: &str) -> Option<String> {
    if word.contains(['&', '=']) {
        return None;
    }
    Some(
        form_urlencoded::parse(word.as_bytes())
            .next()
            .map_or_else(String::new, |(name, _)| name.into_owned()),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    fn presented(value: &str) -> Option<Credential> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        Credential::presented(&headers)
    }

    #[test]
    fn every_byte_survives_the_header() {
        let sent = Credential::new("a:b c", "p+%&=ü/?~");
        let seen = presented(&sent.authorization()).unwrap();
        assert_eq!(seen.id(), "a:b c");
        assert!(seen.matches(&sent));
    }

    #[test]
    fn the_header_is_what_the_rfc_says() {
        // RFC 6749 section 2.3.1: form encoding first, then RFC 7617.
        let sent = Credential::new("a b", "x:y").authorization();
        assert_eq!(sent, format!("Basic {}", STANDARD.encode("a+b:x%3Ay")));
    }

    #[test]
    fn others_do_not_match() {
        let right = Credential::new("id", "secret");
        assert!(!right.matches(&Credential::new("id", "secreT")));
        assert!(!right.matches(&Credential::new("id", "secret2")));
        assert!(!right.matches(&Credential::new("di", "secret")));
    }

    #[test]
    fn what_is_no_basic_credential_is_none() {
        for value in ["", "Basic", "Basic !", "Bearer YTpi", "Basic YQ==", "Basic YT1iOmM="] {
            assert!(presented(value).is_none(), "{value}");
        }
        let mut twice = HeaderMap::new();
        twice.append(header::AUTHORIZATION, "Basic YTpi".parse().unwrap());
        twice.append(header::AUTHORIZATION, "Basic YTpi".parse().unwrap());
        assert!(Credential::presented(&twice).is_none());
    }

    #[test]
    fn a_secret_file_is_its_owners_alone() {
        let path =
            std::env::temp_dir().join(format!("credential-{}", crate::random::opaque().unwrap()));
        let write = |mode, text: &str| {
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let read = Credential::from_file("id", &path);
            fs::remove_file(&path).unwrap();
            read
        };
        assert!(write(0o600, "s\n").unwrap().matches(&Credential::new("id", "s")));
        assert!(write(0o600, "s\n\n").unwrap().matches(&Credential::new("id", "s\n")));
        assert!(write(0o640, "s\n").is_err());
        assert!(write(0o600, "\n").is_err());
    }
}
