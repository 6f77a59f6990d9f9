//! Signed introspection answers (RFC 9701): the answer is in a JWT of its own kind.

use super::asked::{Asked, Beside, is_active};
use super::error::AnswerError;
use super::verdict::Verdict;
use crate::json::{self, Value};
use crate::jwt::{self, Kind};
use crate::members::{Members, Name};
use crate::raw_json;
use crate::record::Document;

impl<'a> Asked<'_, 'a, '_> {
    pub(super) fn envelope(&self, scratch: &'a mut [u8]) -> Result<Verdict<'a>, AnswerError> {
        let envelope = self.answer.body.trim_ascii();
        let payload = jwt::payload(envelope, Kind::Envelope, scratch)?;
        check_outside(payload)?;
        self.verify(envelope, Kind::Envelope)?;

        // Times and all else come from inside: what the envelope says of itself is not about the token.
        let mut inside = None;
        let is_inside = |name: raw_json::Text<'_, '_>| name.as_str() == INSIDE;
        raw_json::members(payload, is_inside, |is_inside, value| {
            if is_inside {
                inside = Some(value);
            }
        })
        .map_err(AnswerError::Json)?;
        let inside = inside.ok_or(AnswerError::Outside)?;
        let mut members = Members::default();
        json::object(inside.as_bytes(), Name::of, |name, value| members.note(name, &value))
            .map_err(|_| AnswerError::Outside)?;
        if !is_active(&members)? {
            return Ok(self.inactive());
        }
        let claims = inside.as_bytes();
        Ok(self.active(Document::Envelope, envelope, claims, None, Beside::from(&members)))
    }
}

const INSIDE: &str = "token_introspection";

/// `iss`, `aud`, `iat` and `token_introspection` must be there, each once (RFC 9701 section 5).
fn check_outside(payload: &[u8]) -> Result<(), AnswerError> {
    let known = |name: &str| match name {
        "iss" => Some(1_u8),
        "aud" => Some(2),
        "iat" => Some(4),
        INSIDE => Some(8),
        _ => None,
    };
    let mut seen = 0;
    let mut sound = true;
    json::object(payload, known, |bit, value| {
        let fits = match bit {
            1 => value.text().is_some_and(|issuer| !issuer.is_empty()),
            // Looked at more closely below.
            2 => matches!(value, Value::Array | Value::Text(_) | Value::Unescaped(_)),
            4 => matches!(value, Value::Unsigned(_) | Value::Float(_)),
            _ => matches!(value, Value::Object),
        };
        sound &= fits && seen & bit == 0;
        seen |= bit;
    })
    .map_err(|_| AnswerError::Outside)?;
    let mut names_somebody = false;
    raw_json::members(
        payload,
        |name: raw_json::Text<'_, '_>| name.as_str() == "aud",
        |is_audience, value| {
            if is_audience {
                names_somebody = is_audience_of_somebody(value);
            }
        },
    )
    .map_err(|_| AnswerError::Outside)?;
    if sound && seen == 15 && names_somebody { Ok(()) } else { Err(AnswerError::Outside) }
}

/// A string that is not empty, or an array of such (RFC 7519 section 4.1.3).
fn is_audience_of_somebody(value: &str) -> bool {
    let is_name = |value: &str| value.starts_with('"') && value != "\"\"";
    if !value.starts_with('[') {
        return is_name(value);
    }
    let mut sound = true;
    let mut count = 0;
    let read = raw_json::elements(value, |element| {
        sound &= is_name(element);
        count += 1;
    });
    read.is_ok() && sound && count > 0
}
