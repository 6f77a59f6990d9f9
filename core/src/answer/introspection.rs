//! Answers to introspection (RFC 7662): a JWT as the body, JSON with or without a JWT in it.

use super::asked::{Asked, Beside, is_active};
use super::candidates::Candidates;
use super::error::AnswerError;
use super::media::{MediaKind, media_type};
use super::reading::{MAX_MEMBERS, Mode};
use super::verdict::Verdict;
use crate::json;
use crate::jwt::{self, Active, JwtError, Kind};
use crate::members::{Members, Name};
use crate::record::Document;

impl<'a> Asked<'_, 'a, '_> {
    pub(super) fn introspected(&self, scratch: &'a mut [u8]) -> Result<Verdict<'a>, AnswerError> {
        match self.answer.status {
            200 => {}
            204 => return Ok(self.inactive()),
            // The token is of a kind that the server does not know, such as a JWT of another issuer.
            400 if self.is_unsupported_token_type() => return Ok(self.inactive()),
            status => return Err(AnswerError::of_status(status)),
        }
        let kind = self.media_type()?;
        let (texts, decoded) =
            scratch.split_at_mut_checked(self.answer.body.len()).ok_or(AnswerError::Scratch)?;
        match (kind, self.reading.mode) {
            (MediaKind::Jwt, _) => self.jwt(decoded),
            (MediaKind::Json, Mode::Claims) => self.json_claims(),
            (MediaKind::Json, _) => self.json_jwt(texts, decoded),
            (MediaKind::Envelope, Mode::Claims)
                if self.reading.unverified_envelopes || self.reading.verification.is_some() =>
            {
                self.envelope(decoded)
            }
            (MediaKind::Envelope, Mode::Claims) => Err(AnswerError::Unverified),
            (MediaKind::Envelope, _) => Err(AnswerError::Envelope),
        }
    }

    /// The whole body is a JWT.
    fn jwt(&self, scratch: &'a mut [u8]) -> Result<Verdict<'a>, AnswerError> {
        let jwt = self.answer.body.trim_ascii();
        let (kind, enveloped) = match self.reading.mode {
            Mode::Claims => (Document::ClaimsJwt, AnswerError::Mislabelled),
            _ => (Document::Jwt, AnswerError::Envelope),
        };
        let (said, claims) = jwt::claims(jwt, scratch).map_err(|error| match error {
            JwtError::Envelope => enveloped,
            error => error.into(),
        })?;
        if said.envelope {
            return Err(enveloped);
        }
        self.verify(jwt, Kind::AccessToken)?;
        match said.active {
            Some(Active::Other) => Ok(self.inactive()),
            Some(Active::True) if kind == Document::Jwt => Err(AnswerError::Flat),
            _ => Ok(self.active(kind, jwt, claims, Some(&said), Beside::default())),
        }
    }

    /// The JWT is in a member.
    fn json_jwt(
        &self,
        texts: &'a mut [u8],
        scratch: &'a mut [u8],
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
        if candidates.repeated {
            return Err(AnswerError::Repeated);
        }
        if !is_active(&members)? {
            return Ok(self.inactive());
        }
        let jwt = candidates.first()?.ok_or(AnswerError::NoJwt)?;
        let (said, claims) = jwt::claims(jwt, scratch)?;
        if said.envelope {
            return Err(AnswerError::Envelope);
        }
        self.verify(jwt, Kind::AccessToken)?;
        match said.active {
            Some(Active::Other) => Err(AnswerError::Inconsistent),
            Some(Active::True) | None => {
                Ok(self.active(Document::Jwt, jwt, claims, Some(&said), Beside::from(&members)))
            }
        }
    }

    /// The members are the claims.
    fn json_claims(&self) -> Result<Verdict<'a>, AnswerError> {
        let mut members = Members::default();
        json::object(self.answer.body, Name::of, |name, value| members.note(name, &value))
            .map_err(AnswerError::Json)?;
        if !is_active(&members)? {
            return Ok(self.inactive());
        }
        if self.reading.verification.is_some_and(|verification| verification.signed_only) {
            return Err(AnswerError::Unsigned);
        }
        // Only now: a form feed is blank in ASCII, and not in JSON.
        let body = self.answer.body.trim_ascii();
        Ok(self.active(Document::Json, body, body, None, Beside::from(&members)))
    }

    fn is_unsupported_token_type(&self) -> bool {
        let mut members = Members::default();
        !self.answer.encoded
            && media_type(self.answer.content_type).eq_ignore_ascii_case(b"application/json")
            && json::object(self.answer.body, Name::of, |name, value| members.note(name, &value))
                .is_ok()
            && members.unsupported
            && !members.repeated
    }
}
