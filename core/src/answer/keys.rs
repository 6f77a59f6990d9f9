//! The server's answer to the question for its keys.

use super::media::{MediaType, media_type};
use super::reading::Answer;
use crate::jose::{KeySet, KeySetError};
use crate::reason::Reason;

/// Why an answer gives no keys. The texts are for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Another status than 200.
    #[error(
        "the server answered {0}: check that the proxy_pass of the location that phantom_token_jwks names leads \
         to its JWK set (\"jwks_uri\" in the server's metadata)"
    )]
    Status(u16),
    /// `Content-Encoding`.
    #[error(
        "the answer is compressed: the location must not ask for that, see \"Accept-Encoding\""
    )]
    Encoded,
    /// Another type.
    #[error(
        "the server answered 200 with {0} instead of application/jwk-set+json or application/json: check that the \
         proxy_pass of the location that phantom_token_jwks names leads to its JWK set"
    )]
    ContentType(MediaType),
    /// No set that can be used.
    #[error("the JWK set in the answer cannot be used: {0}")]
    Set(#[from] KeySetError),
}

impl KeysError {
    /// What requests are refused with that would need the keys.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Status(429 | 503) => Reason::ServerBusy,
            Self::Status(500..=599) => Reason::ServerUnreachable,
            Self::Status(400..=499) => Reason::ServerRefusedUs,
            _ => Reason::ServerBadAnswer,
        }
    }
}

/// Reads an answer: status and `Content-Type` decide, then the set must have a key that can be used.
///
/// # Errors
/// [`KeysError`].
pub fn read_keys(answer: &Answer<'_>) -> Result<KeySet, KeysError> {
    if answer.status != 200 {
        return Err(KeysError::Status(answer.status));
    }
    if answer.encoded {
        return Err(KeysError::Encoded);
    }
    let media_type = media_type(answer.content_type);
    let types = [&b"application/jwk-set+json"[..], b"application/json"];
    if !types.iter().any(|it| media_type.eq_ignore_ascii_case(it)) {
        return Err(KeysError::ContentType(MediaType::of(media_type)));
    }
    Ok(KeySet::parse(answer.body)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::CacheDirectives;

    const SET: &[u8] = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn answer<'a>(status: u16, content_type: &'a [u8], body: &'a [u8]) -> Answer<'a> {
        let directives = CacheDirectives::default();
        Answer { status, content_type, encoded: false, directives, body }
    }

    #[test]
    fn sets() {
        for content_type in [
            &b"application/jwk-set+json"[..],
            b"application/json",
            b"Application/JSON; charset=utf-8",
        ] {
            assert_eq!(read_keys(&answer(200, content_type, SET)).map(|set| set.len()), Ok(1));
        }
    }

    #[test]
    fn no_sets() {
        let json = &b"application/json"[..];
        let cases = [
            (answer(500, json, SET), Reason::ServerUnreachable),
            (answer(503, json, SET), Reason::ServerBusy),
            (answer(404, json, SET), Reason::ServerRefusedUs),
            (answer(302, json, SET), Reason::ServerBadAnswer),
            (answer(204, json, b""), Reason::ServerBadAnswer),
            (Answer { encoded: true, ..answer(200, json, SET) }, Reason::ServerBadAnswer),
            (answer(200, b"text/html", SET), Reason::ServerBadAnswer),
            (answer(200, b"", SET), Reason::ServerBadAnswer),
            (answer(200, b"application/jwt", SET), Reason::ServerBadAnswer),
            (answer(200, json, b" "), Reason::ServerBadAnswer),
            (answer(200, json, br#"{"keys":[]}"#), Reason::ServerBadAnswer),
        ];
        for (n, (answer, reason)) in cases.iter().enumerate() {
            let error = read_keys(answer).map(|set| set.len()).unwrap_err();
            assert_eq!(error.reason(), *reason, "{n}: {error}");
        }
    }
}
