//! What a server says of a question that it refuses (RFC 6749 section 5.2), for the log.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::media::media_type;
use super::reading::Answer;
use crate::json;

/// The `error` and the `error_description` of an answer, as far as a log can show them.
///
/// Servers repeat in a description what they were sent. Of that nothing may be in a log: no word that is part of the
/// token or of our secret, and none that could be one by its looks, is shown.
pub struct Said {
    error: String,
    description: String,
}

/// More characters of it are not shown.
const ERROR: usize = 40;
const DESCRIPTION: usize = 160;
/// What stands in the place of a word that is not shown.
const HIDDEN: &str = "[...]";
/// Words of fewer characters tell nothing of a token.
const SHORT: usize = 4;
/// Longer ones are no words.
const LONG: usize = 64;

impl Said {
    /// Returns `None` if the answer has no `error`. `credential` is the question's `Authorization`, or empty.
    #[must_use]
    pub fn read(answer: &Answer<'_>, token: &[u8], credential: &[u8]) -> Option<Self> {
        let content_type = media_type(answer.content_type);
        if answer.encoded || !content_type.eq_ignore_ascii_case(b"application/json") {
            return None;
        }
        let pair = credential.strip_prefix(b"Basic ").and_then(|it| STANDARD.decode(it).ok());
        let secret = pair.as_deref().and_then(|pair| pair.splitn(2, |&byte| byte == b':').nth(1));
        let secrets = [token, secret.unwrap_or_default()];
        let (mut error, mut description) = (None, String::new());
        let known = |name: &str| match name {
            "error" => Some(true),
            "error_description" => Some(false),
            _ => None,
        };
        json::object(answer.body, known, |is_error, value| {
            let Some(text) = value.text() else { return };
            if is_error {
                error = Some(shown(text, ERROR, &secrets));
            } else {
                description = shown(text, DESCRIPTION, &secrets);
            }
        })
        .ok()?;
        Some(Self { error: error?, description })
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.error)?;
        if self.description.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.description)
    }
}

/// So much of a text, in printable ASCII.
fn shown(text: &str, max: usize, secrets: &[&[u8]]) -> String {
    let mut shown = String::new();
    // What a token can consist of, and what stands around it.
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if shown.len() > max {
            break;
        }
        let is_first_of_word = is_of_word(first);
        let end = rest.find(|it| is_of_word(it) != is_first_of_word).unwrap_or(rest.len());
        let Some((part, after)) = rest.split_at_checked(end) else { break };
        rest = after;
        if !is_first_of_word {
            shown.extend(part.chars().take(max + 1).map(|it| match it {
                '"' => '\'',
                ' '..='~' => it,
                _ => '?',
            }));
        } else if is_harmless(part, secrets) {
            shown.push_str(part);
        } else {
            shown.push_str(HIDDEN);
        }
    }
    if shown.len() > max {
        shown.truncate(max);
        shown.push_str("...");
    }
    shown
}

/// The alphabet of tokens (RFC 6750 section 2.1), with what is in names and URIs, and in secrets as they are sent.
fn is_of_word(it: char) -> bool {
    it.is_ascii_alphanumeric()
        || matches!(it, '-' | '.' | '_' | '~' | '+' | '/' | '=' | ':' | '%' | '&')
}

/// Whether a word may be shown: one of letters, as the names of parameters are, or a number, and of no secret.
fn is_harmless(word: &str, secrets: &[&[u8]]) -> bool {
    let is_number = word.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    let is_name = word.bytes().all(|it| it.is_ascii_alphabetic() || b"-._:/".contains(&it));
    let is_name = is_name && word.split(['-', '.', '_', ':', '/']).all(is_like_a_word);
    let is_in = |secret: &&[u8]| {
        let word = word.trim_matches(['.', ':', '-', '/']).as_bytes();
        word.len() >= SHORT && secret.windows(word.len()).any(|it| it == word)
            || !secret.is_empty() && word.windows(secret.len()).any(|it| it == *secret)
    };
    (word.len() < SHORT || (word.len() <= LONG && (is_number && word.len() <= 6 || is_name)))
        && !secrets.iter().any(is_in)
}

/// Letters in both cases without order are those of a random value.
fn is_like_a_word(word: &str) -> bool {
    let changes = word.as_bytes().windows(2);
    let changes = changes
        .filter(|it| matches!(it, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase()));
    word.len() <= 24 && changes.count() <= 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::CacheDirectives;

    const TOKEN: &[u8] = b"opaque-secretive.AbCdEfGhIjKl";
    /// `gateway`, `hunter two`.
    const CREDENTIAL: &[u8] = b"Basic Z2F0ZXdheTpodW50ZXIrdHdv";

    fn said(content_type: &str, body: &str) -> Option<String> {
        let answer = Answer {
            status: 400,
            content_type: content_type.as_bytes(),
            encoded: false,
            directives: CacheDirectives::default(),
            body: body.as_bytes(),
        };
        Said::read(&answer, TOKEN, CREDENTIAL).map(|it| it.to_string())
    }

    fn described(description: &str) -> String {
        let body = format!(r#"{{"error":"invalid_request","error_description":"{description}"}}"#);
        let text = said("application/json", &body).unwrap();
        text.strip_prefix("\"invalid_request\" (").unwrap().strip_suffix(')').unwrap().to_owned()
    }

    #[test]
    fn what_is_shown() {
        for plain in [
            "unsupported requested_token_type",
            "OAuth 2.0 Token Exchange parameter: requested_token_type",
            "urn:ietf:params:oauth:token-type:jwt is not supported",
            "Client gateway may not do this (AADSTS 65001).",
        ] {
            assert_eq!(described(plain), plain);
        }
        assert_eq!(described(r#"say \"no\"\r\n\u001b[bold ä"#), "say 'no'???[bold ?");
        let long = described(&"no ".repeat(1_000));
        assert_eq!((long.len(), long.ends_with("...")), (DESCRIPTION + 3, true));
        let long = described(&"\\n".repeat(1_000));
        assert_eq!(long.len(), DESCRIPTION + 3);
        for (body, expected) in [
            (r#"{"error":"x"}"#, Some("\"x\"")),
            (r#"{"error":"x","error_description":""}"#, Some("\"x\"")),
            (r#"{"error":"x","error_description":7}"#, Some("\"x\"")),
            (r#"{"error_description":"x"}"#, None),
            (r#"{"error":["x"]}"#, None),
            (r#"{"error":"x""#, None),
            ("", None),
        ] {
            assert_eq!(
                said("application/json; charset=utf-8", body).as_deref(),
                expected,
                "{body}"
            );
        }
        assert_eq!(said("text/html", r#"{"error":"x"}"#), None);
        let error = said("application/json", &format!(r#"{{"error":"{}"}}"#, "no ".repeat(99)));
        assert_eq!(error.unwrap().len(), ERROR + 5);
    }

    #[test]
    fn what_a_server_repeats_is_not_shown() {
        let token = std::str::from_utf8(TOKEN).unwrap();
        for secret in [
            token,
            "secretive",
            "opaque-secr",
            "AbCdEfGhIjKl",
            "hunter+two",
            "hunter",
            "eyJhbGciOiJIUzI1NiJ9.e30.x",
            "s3cret",
            "QWxhZGRpbjpPcGVu",
            "abcdefghijklmnopqrstuvwxyzabc",
            "123456789",
            "Z2F0ZXdheTpodW50ZXIrdHdv",
        ] {
            for frame in ["bad token X", "X", "token=X", "'X'", "\\\"X\\\": no", "<X>", "X."] {
                let text = described(&frame.replace('X', secret));
                assert!(
                    !text.contains(secret) && text.contains(HIDDEN),
                    "{frame} {secret}: {text}"
                );
            }
        }
        // In the error itself, too.
        let text = said("application/json", &format!(r#"{{"error":"{token}"}}"#)).unwrap();
        assert_eq!(text, format!("\"{HIDDEN}\""));
    }
}
