//! An answer together with what was asked: what is the same for every kind of question.

use super::error::AnswerError;
use super::media::{MediaKind, MediaType, media_type};
use super::reading::{Answer, Reading, Verification};
use super::verdict::Verdict;
use crate::jose::{self, VerifyError};
use crate::jwt::{Active, Claims, Kind};
use crate::members::Members;
use crate::record::{Document, Record, State, UnixMillis};

/// What an answer says of a token beside the JWT in it.
#[derive(Clone, Copy, Default)]
pub(super) struct Beside {
    pub(super) expires: Option<UnixMillis>,
    pub(super) bound: bool,
}

impl From<&Members> for Beside {
    fn from(members: &Members) -> Self {
        Self { expires: members.expires, bound: members.bound }
    }
}

/// An answer together with what was asked.
pub(super) struct Asked<'q, 'a, 'r> {
    pub(super) answer: &'q Answer<'a>,
    pub(super) reading: &'q Reading<'r>,
}

impl<'a> Asked<'_, 'a, '_> {
    /// The type of the answer, if there is a body that can be read.
    pub(super) fn media_type(&self) -> Result<MediaKind, AnswerError> {
        if self.answer.encoded {
            return Err(AnswerError::Encoded);
        }
        if self.answer.body.trim_ascii().is_empty() {
            return Err(AnswerError::Empty);
        }
        let media_type = media_type(self.answer.content_type);
        let is = |known: &[u8]| media_type.eq_ignore_ascii_case(known);
        if is(b"application/jwt") {
            Ok(MediaKind::Jwt)
        } else if is(b"application/json") {
            Ok(MediaKind::Json)
        } else if is(b"application/token-introspection+jwt") {
            Ok(MediaKind::Envelope)
        } else {
            Err(AnswerError::ContentType(MediaType::of(media_type)))
        }
    }

    /// Verifies a JWT, where there are keys.
    pub(super) fn verify(&self, jwt: &[u8], kind: Kind) -> Result<(), AnswerError> {
        let Some(Verification { keys, expect, .. }) = &self.reading.verification else {
            return Ok(());
        };
        match jose::verify(jwt, kind, keys, expect, self.reading.now) {
            // That a token is over is not the server's fault, and is judged with whatever else says so.
            Err(VerifyError::Expired) if kind == Kind::AccessToken => Ok(()),
            verified => verified.map_err(AnswerError::Unverifiable),
        }
    }

    /// The server says active. `said` is what counts of a JWT, `beside` what was said outside of it.
    pub(super) fn active(
        &self,
        kind: Document,
        document: &'a [u8],
        claims: &'a [u8],
        said: Option<&Claims>,
        beside: Beside,
    ) -> Verdict<'a> {
        if said.is_some_and(|said| said.refresh) {
            return self.inactive();
        }
        let inside = said.and_then(|said| said.expires);
        let record = Record {
            state: State::Active,
            document: kind,
            expires: [inside, beside.expires].into_iter().flatten().min(),
            bound: said.is_some_and(|said| said.bound) || beside.bound,
            ..self.record()
        };
        if record.is_expired(self.reading.now) {
            Verdict::Expired(Record { state: State::Expired, document: Document::Jwt, ..record })
        } else {
            Verdict::Active { document, claims, record }
        }
    }

    pub(super) fn inactive(&self) -> Verdict<'a> {
        Verdict::Inactive(self.record())
    }

    /// What is known of a token that is not active.
    pub(super) fn record(&self) -> Record {
        Record {
            state: State::Inactive,
            confirmed: self.reading.asked,
            document: Document::Jwt,
            expires: None,
            directives: self.answer.directives,
            bound: false,
        }
    }
}

/// Whether the members of an introspection answer say that this is an active access token.
pub(super) fn is_active(members: &Members) -> Result<bool, AnswerError> {
    if members.repeated {
        return Err(AnswerError::Repeated);
    }
    match members.active {
        None => Err(AnswerError::NoActive),
        Some(Active::Other) => Ok(false),
        Some(Active::True) if members.refresh => Ok(false),
        Some(Active::True) if members.unreadable_exp => Err(AnswerError::Exp),
        Some(Active::True) => Ok(true),
    }
}
