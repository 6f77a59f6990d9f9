//! The authorization server's answer to a question, turned into a verdict.

mod candidates;
mod error;
#[cfg(test)]
mod tests;

use core::fmt;

pub use crate::json::JsonError;
pub use error::{AnswerError, MediaType};

use crate::json;
use crate::jwt::{self, Active, Claims};
use crate::members::{Members, Name};
use crate::record::{CacheDirectives, Record, State, UnixMillis};
use candidates::Candidates;

/// How many names [`Reading::members`] may have; further ones are not searched for.
pub const MAX_MEMBERS: usize = 32;

/// An answer, as far as it counts.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// The value of `Content-Type`; empty if there is none.
    pub content_type: &'a [u8],
    /// There is a `Content-Encoding` other than `identity`.
    pub encoded: bool,
    /// What `Cache-Control` says.
    pub directives: CacheDirectives,
    /// The whole body.
    pub body: &'a [u8],
}

/// How an answer is read.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The members of a JSON answer that are searched for the JWT, in order; at most [`MAX_MEMBERS`].
    /// A name that means something else here, such as `active` or `exp`, never holds it.
    pub members: &'a [&'a [u8]],
    /// When the question was asked: the answer may be as old as that.
    pub asked: UnixMillis,
    /// The time now.
    pub now: UnixMillis,
}

/// What the authorization server says of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The token is active.
    Active {
        /// What goes upstream: three parts of base64url, and nothing else.
        jwt: &'a [u8],
        /// What is known of the token.
        record: Record,
    },
    /// The token is not active, or not an access token.
    Inactive(Record),
    /// The server says active, but `exp` has passed at [`Reading::now`].
    Expired(Record),
}

impl fmt::Debug for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active { jwt: _, record } => {
                f.debug_struct("Active").field("record", record).finish_non_exhaustive()
            }
            Self::Inactive(record) => f.debug_tuple("Inactive").field(record).finish(),
            Self::Expired(record) => f.debug_tuple("Expired").field(record).finish(),
        }
    }
}

/// The length of scratch space that [`judge`] needs for a body of that length.
#[must_use]
pub fn scratch_len(body_len: usize) -> usize {
    body_len.saturating_mul(2)
}

/// Reads an answer. Its status and its `Content-Type` alone decide how; nothing is ever inferred from
/// the bytes of the body. No signature is verified here.
///
/// Active is what RFC 7662 section 2.2 calls so, and has a JWT for the upstream beside it or as its
/// whole body. `scratch` must have [`scratch_len`] bytes.
///
/// # Errors
/// [`AnswerError`] where the server refuses the question or its answer makes no sense. None of these
/// says anything of the token.
pub fn judge<'a>(
    answer: &Answer<'a>,
    reading: &Reading<'_>,
    scratch: &'a mut [u8],
) -> Result<Verdict<'a>, AnswerError> {
    let asked = Asked { answer, reading };
    match answer.status {
        200 => {}
        204 => return Ok(asked.inactive()),
        // The token is of a kind that the server does not know, such as a JWT of another issuer.
        400 if is_unsupported_token_type(answer) => return Ok(asked.inactive()),
        status => return Err(AnswerError::of_status(status)),
    }
    if answer.encoded {
        return Err(AnswerError::Encoded);
    }
    if answer.body.trim_ascii().is_empty() {
        return Err(AnswerError::Empty);
    }
    let (texts, decoded) =
        scratch.split_at_mut_checked(answer.body.len()).ok_or(AnswerError::Scratch)?;
    let media_type = media_type(answer.content_type);
    if media_type.eq_ignore_ascii_case(b"application/jwt") {
        asked.judge_jwt(decoded)
    } else if media_type.eq_ignore_ascii_case(b"application/json") {
        asked.judge_json(texts, decoded)
    } else if media_type.eq_ignore_ascii_case(b"application/token-introspection+jwt") {
        Err(AnswerError::Envelope)
    } else {
        Err(AnswerError::ContentType(MediaType::of(media_type)))
    }
}

struct Asked<'q, 'a, 'r> {
    answer: &'q Answer<'a>,
    reading: &'q Reading<'r>,
}

impl<'a> Asked<'_, 'a, '_> {
    /// The whole body is the JWT.
    fn judge_jwt(&self, scratch: &mut [u8]) -> Result<Verdict<'a>, AnswerError> {
        let jwt = self.answer.body.trim_ascii();
        let claims = jwt::claims(jwt, scratch)?;
        match claims.active {
            _ if claims.envelope => Err(AnswerError::Envelope),
            Some(Active::Other) => Ok(self.inactive()),
            Some(Active::True) => Err(AnswerError::Flat),
            None => Ok(self.active(jwt, &claims, &Members::default())),
        }
    }

    /// The JWT is in a member.
    fn judge_json(
        &self,
        texts: &'a mut [u8],
        scratch: &mut [u8],
    ) -> Result<Verdict<'a>, AnswerError> {
        enum Key {
            Known(Name),
            Candidate(usize),
        }
        let names = self.reading.members;
        let names = names.get(..MAX_MEMBERS).unwrap_or(names);
        let known = |name: &str| {
            let index = || names.iter().position(|it| *it == name.as_bytes());
            Name::of(name).map(Key::Known).or_else(|| index().map(Key::Candidate))
        };
        let mut members = Members::default();
        let mut candidates = Candidates::new(texts);
        json::object(self.answer.body, known, |key, value| match key {
            Key::Known(name) => members.note(name, &value),
            Key::Candidate(index) => candidates.note(index, &value),
        })
        .map_err(AnswerError::Json)?;
        if members.repeated || candidates.repeated {
            return Err(AnswerError::Repeated);
        }
        match members.active {
            None => return Err(AnswerError::NoActive),
            Some(Active::Other) => return Ok(self.inactive()),
            Some(Active::True) if members.refresh => return Ok(self.inactive()),
            Some(Active::True) => {}
        }
        if members.unreadable_exp {
            return Err(AnswerError::Exp);
        }
        let jwt = candidates.first()?.ok_or(AnswerError::NoJwt)?;
        let claims = jwt::claims(jwt, scratch)?;
        match claims.active {
            _ if claims.envelope => Err(AnswerError::Envelope),
            Some(Active::Other) => Err(AnswerError::Inconsistent),
            Some(Active::True) | None => Ok(self.active(jwt, &claims, &members)),
        }
    }

    /// The server says active. `beside` are the members that the JWT came with.
    fn active(&self, jwt: &'a [u8], claims: &Claims, beside: &Members) -> Verdict<'a> {
        if claims.refresh {
            return self.inactive();
        }
        let record = Record {
            state: State::Active,
            expires: [claims.expires, beside.expires].into_iter().flatten().min(),
            bound: claims.bound || beside.bound,
            ..self.record()
        };
        if record.is_expired(self.reading.now) {
            Verdict::Expired(Record { state: State::Expired, ..record })
        } else {
            Verdict::Active { jwt, record }
        }
    }

    fn inactive(&self) -> Verdict<'a> {
        Verdict::Inactive(self.record())
    }

    /// What is known of a token that is not active.
    fn record(&self) -> Record {
        Record {
            state: State::Inactive,
            confirmed: self.reading.asked,
            expires: None,
            directives: self.answer.directives,
            bound: false,
        }
    }
}

fn is_unsupported_token_type(answer: &Answer<'_>) -> bool {
    let mut members = Members::default();
    !answer.encoded
        && media_type(answer.content_type).eq_ignore_ascii_case(b"application/json")
        && json::object(answer.body, Name::of, |name, value| members.note(name, &value)).is_ok()
        && members.unsupported
        && !members.repeated
}

/// The type of a `Content-Type` value, without parameters (RFC 9110 section 8.3.1).
fn media_type(content_type: &[u8]) -> &[u8] {
    content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii()
}
