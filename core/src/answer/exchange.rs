//! Answers to a token exchange (RFC 8693): a JWT for the opaque token, or that there is none.

use super::asked::{Asked, Beside};
use super::candidates::Candidates;
use super::error::AnswerError;
use super::media::{MediaKind, MediaType, media_type};
use super::verdict::Verdict;
use crate::json::{self, Value};
use crate::jwt::{self, JwtError, Kind};
use crate::members::DPOP;
use crate::record::{CacheDirectives, Document, Record, UnixMillis};

/// Longer lives are cut to this: no document is kept for so long.
const MAX_LIFE: i64 = 1 << 32;

impl<'a> Asked<'_, 'a, '_> {
    pub(super) fn exchanged(&self, scratch: &'a mut [u8]) -> Result<Verdict<'a>, AnswerError> {
        match self.answer.status {
            200 => {}
            400 => {
                return match self.oauth_error() {
                    Refusal::Token => Ok(self.exchange_verdict(self.inactive())),
                    Refusal::Us => Err(AnswerError::Credentials(400)),
                    Refusal::Request => Err(AnswerError::Exchange),
                };
            }
            404 | 405 | 410 => return Err(AnswerError::TokenEndpoint(self.answer.status)),
            status => return Err(AnswerError::of_status(status)),
        }
        match self.media_type() {
            Ok(MediaKind::Json) => {}
            Ok(_) | Err(AnswerError::ContentType(_)) => {
                let found = media_type(self.answer.content_type);
                return Err(AnswerError::TokenContentType(MediaType::of(found)));
            }
            Err(error) => return Err(error),
        }
        let (texts, decoded) =
            scratch.split_at_mut_checked(self.answer.body.len()).ok_or(AnswerError::Scratch)?;
        self.issued(texts, decoded).map(|verdict| self.exchange_verdict(verdict))
    }

    /// The members of a successful answer (RFC 8693 section 2.2.1).
    fn issued(
        &self,
        texts: &'a mut [u8],
        scratch: &'a mut [u8],
    ) -> Result<Verdict<'a>, AnswerError> {
        let known = |name: &str| match name {
            "access_token" => Some(0_usize),
            "expires_in" => Some(1),
            "issued_token_type" => Some(2),
            "token_type" => Some(3),
            _ => None,
        };
        let mut candidates = Candidates::new(texts);
        let mut seen = [false; 4];
        let mut repeated = false;
        let mut life = Ok(None);
        let mut other_kind = false;
        let mut bound = false;
        json::object(self.answer.body, known, |member, value| {
            if let Some(seen) = seen.get_mut(member) {
                repeated |= core::mem::replace(seen, true);
            }
            match member {
                0 => candidates.note(0, &value),
                1 => life = seconds(&value),
                2 => other_kind = !value.text().is_some_and(is_access_token),
                _ => bound = value.text().is_some_and(|text| text.eq_ignore_ascii_case(DPOP)),
            }
        })
        .map_err(AnswerError::Json)?;
        if repeated {
            return Err(AnswerError::Repeated);
        }
        let jwt = candidates.first()?.ok_or(AnswerError::NoAccessToken)?;
        if other_kind {
            return Err(AnswerError::IssuedType);
        }
        let life = life.map_err(|()| AnswerError::ExpiresIn)?;
        let (said, claims) = jwt::claims(jwt, scratch).map_err(|error| match error {
            JwtError::Envelope => AnswerError::IssuedType,
            error => error.into(),
        })?;
        // None of it is about the token that was to be exchanged: that one is not inactive.
        if said.envelope || said.refresh || said.active.is_some() {
            return Err(AnswerError::IssuedType);
        }
        self.verify(jwt, Kind::AccessToken)?;
        let lives_until = |life: i64| self.reading.asked.saturating_add(life.saturating_mul(1_000));
        let beside = Beside { expires: life.map(lives_until), bound };
        let verdict = self.active(Document::Exchanged, jwt, claims, Some(&said), beside);
        match &verdict {
            Verdict::Active { record, .. } if record.is_over(self.reading.now) => {
                Err(AnswerError::Over)
            }
            _ => Ok(verdict),
        }
    }

    /// `Cache-Control` of a token endpoint is about the response to a client, and always `no-store`.
    fn exchange_verdict(&self, verdict: Verdict<'a>) -> Verdict<'a> {
        let of = |record| Record { directives: CacheDirectives::default(), ..record };
        match verdict {
            Verdict::Active { document, claims, record } => {
                Verdict::Active { document, claims, record: of(record) }
            }
            Verdict::Inactive(record) => Verdict::Inactive(of(record)),
            Verdict::Expired(record) => Verdict::Expired(of(record)),
        }
    }

    /// Whom a 400 means (RFC 6749 section 5.2, RFC 8693 section 2.2.2).
    fn oauth_error(&self) -> Refusal {
        let content_type = media_type(self.answer.content_type);
        if self.answer.encoded || !content_type.eq_ignore_ascii_case(b"application/json") {
            return Refusal::Request;
        }
        let mut found = None;
        let (mut is_ambiguous, mut about_request) = (false, false);
        let known = |name: &str| match name {
            "error" => Some(true),
            "error_description" => Some(false),
            _ => None,
        };
        let read = json::object(self.answer.body, known, |is_error, value| {
            if !is_error {
                about_request |= value.text().is_some_and(is_about_request);
                return;
            }
            let refusal = match value.text() {
                // The last two are what servers say that do not follow RFC 8693 section 2.2.2.
                Some("invalid_grant" | "invalid_token" | "unsupported_token_type") => {
                    Refusal::Token
                }
                // RFC 8693 section 2.2.2 has it for the subject token as well as for the request.
                Some("invalid_request") => {
                    is_ambiguous = true;
                    Refusal::Token
                }
                Some("invalid_client" | "unauthorized_client") => Refusal::Us,
                _ => Refusal::Request,
            };
            found = Some(if found.is_some() { Refusal::Request } else { refusal });
        });
        match found.filter(|_| read.is_ok()).unwrap_or(Refusal::Request) {
            Refusal::Token if is_ambiguous && about_request => Refusal::Request,
            refusal => refusal,
        }
    }
}

/// Whom the server means by its error.
enum Refusal {
    /// The subject token.
    Token,
    /// The client that asks.
    Us,
    /// What is asked for, or nobody can tell.
    Request,
}

/// Whether the description of an `invalid_request` is about anything but the subject token: about what we ask for, which
/// is the same for each token, so that none of them is to blame. A server that says nothing of the kind means the token,
/// the one thing that comes from the client.
fn is_about_request(description: &str) -> bool {
    let lower = description.to_ascii_lowercase();
    let words: Vec<&str> = lower
        .split(|it: char| !it.is_ascii_alphanumeric() && it != '_')
        .filter(|it| !it.is_empty())
        .collect();
    let names = |names: &[&str]| words.iter().any(|word| names.contains(word));
    let has_pair = |pair: [&str; 2]| words.windows(2).any(|words| words == pair);
    // Another parameter, by its name.
    if names(&[
        "requested_token_type",
        "subject_token_type",
        "actor_token",
        "actor_token_type",
        "token_type",
        "grant_type",
        "client_id",
        "client_secret",
        "client_assertion",
        "client_assertion_type",
    ]) || has_pair(["token", "type"])
    {
        return true;
    }
    let is_about_token = names(&["subject_token"]) || has_pair(["subject", "token"]);
    !is_about_token
        && names(&[
            "actor",
            "audience",
            "client",
            "grant",
            "missing",
            "parameter",
            "parameters",
            "requested",
            "resource",
            "scope",
            "scopes",
            "supported",
            "target",
            "type",
            "unsupported",
        ])
}

/// What may go upstream as an access token.
fn is_access_token(token_type: &str) -> bool {
    matches!(
        token_type,
        "urn:ietf:params:oauth:token-type:jwt" | "urn:ietf:params:oauth:token-type:access_token"
    )
}

/// `expires_in`: a number of seconds, or a string of digits, as some servers write it.
fn seconds(value: &Value<'_, '_>) -> Result<Option<UnixMillis>, ()> {
    let seconds = match value {
        Value::Null => return Ok(None),
        Value::Unsigned(seconds) => i64::try_from(*seconds).unwrap_or(MAX_LIFE),
        Value::Negative(_) => 0,
        // A cast from a double saturates.
        Value::Float(seconds) => seconds.floor() as i64,
        text => {
            let digits = text.text().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let digits = digits.filter(|digits| !digits.is_empty()).ok_or(())?;
            digits.parse().unwrap_or(MAX_LIFE)
        }
    };
    Ok(Some(seconds.clamp(0, MAX_LIFE)))
}
