//! The authorization server's answer to a question, turned into a verdict.

mod asked;
mod candidates;
mod envelope;
mod error;
mod exchange;
mod introspection;
mod keys;
mod media;
mod reading;
mod said;
#[cfg(test)]
mod tests;
mod verdict;

pub use crate::json::JsonError;
pub use error::AnswerError;
pub use keys::{KeysError, read_keys};
pub use media::MediaType;
pub use reading::{Answer, MAX_MEMBERS, Mode, Reading, Verification};
pub use said::Said;
pub use verdict::Verdict;

use crate::facts::{self, Collector};
use crate::key::FactsKey;
use crate::record::Document;
use asked::Asked;
use media::media_type;

/// The length of scratch space that [`judge`] needs for a body of that length.
#[must_use]
pub fn scratch_len(body_len: usize) -> usize {
    body_len.saturating_mul(2)
}

/// Reads an answer. What was asked for, the answer's status and its `Content-Type` alone decide how;
/// nothing is ever inferred from the bytes of the body.
///
/// `scratch` must have [`scratch_len`] bytes.
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
    match reading.mode {
        Mode::Jwt | Mode::Claims => asked.introspected(scratch),
        Mode::Exchange => asked.exchanged(scratch),
    }
}

/// The facts of an active token, for checks on a hit: written to `room`, empty if there are none. `kind` and
/// `claims` are what [`judge`] made of the answer.
///
/// They are the document's; of what it does not speak, those of the JSON that the JWT came in. A token
/// exchange says nothing but the `scope` there (RFC 8693 section 2.2.1).
pub fn facts<'r>(
    answer: &Answer<'_>,
    kind: Document,
    claims: &[u8],
    key: &FactsKey,
    room: &'r mut [u8; facts::MAX_LEN],
) -> &'r [u8] {
    let mut collector = Collector::new(key);
    collector.claims(claims);
    let is_json = || media_type(answer.content_type).eq_ignore_ascii_case(b"application/json");
    match kind {
        Document::Jwt if is_json() => collector.claims(answer.body),
        Document::Exchanged => collector.issued(answer.body),
        _ => {}
    }
    collector.write(room)
}
