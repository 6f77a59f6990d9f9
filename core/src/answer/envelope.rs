//! Signed introspection answers (RFC 9701): the answer is in a JWT of its own kind. All of it is checked
//! here but the signature.

use super::introspection::is_active;
use super::{AnswerError, Asked, Beside, Verdict};
use crate::json::{self, Value};
use crate::jwt::{self, Kind};
use crate::members::{Members, Name};
use crate::raw_json;
use crate::record::Document;

impl<'a> Asked<'_, 'a, '_> {
    pub(super) fn envelope(&self, scratch: &mut [u8]) -> Result<Verdict<'a>, AnswerError> {
        let envelope = self.answer.body.trim_ascii();
        let payload = jwt::payload(envelope, Kind::Envelope, scratch)?;
        check_outside(payload)?;

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
        Ok(self.active(Document::Envelope, envelope, None, Beside::from(&members)))
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
            2 => matches!(value, Value::Array) || value.text().is_some(),
            4 => matches!(value, Value::Unsigned(_) | Value::Float(_)),
            _ => matches!(value, Value::Object),
        };
        sound &= fits && seen & bit == 0;
        seen |= bit;
    })
    .map_err(|_| AnswerError::Outside)?;
    if sound && seen == 15 { Ok(()) } else { Err(AnswerError::Outside) }
}
