//! The authorization server's answer to a question, turned into a verdict.

mod candidates;
mod envelope;
mod error;
mod exchange;
mod introspection;
mod keys;
#[cfg(test)]
mod tests;

use core::fmt;

pub use crate::json::JsonError;
pub use error::{AnswerError, MediaType};
pub use keys::{KeysError, read_keys};

use crate::facts::{self, Collector};
use crate::jose::{self, Expect, KeySet, VerifyError};
use crate::jwt::{Claims, Kind};
use crate::key::FactsKey;
use crate::members::Members;
use crate::record::{CacheDirectives, Document, Record, State, UnixMillis};

/// How many names [`Reading::members`] may have; further ones are not searched for.
pub const MAX_MEMBERS: usize = 32;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Introspection (RFC 7662) that gives a JWT for the upstream.
    Jwt,
    /// Introspection for the verdict and the claims; no JWT goes upstream.
    Claims,
    /// Token exchange (RFC 8693) for a JWT.
    Exchange,
}

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

/// What the JWTs in answers are verified by.
#[derive(Clone, Copy, Debug)]
pub struct Verification<'a> {
    /// The server's keys.
    pub keys: &'a KeySet,
    /// What a JWT must say.
    pub expect: Expect<'a>,
    /// A signed answer was asked for: an active token takes one. Where JSON was asked for that has no JWT in
    /// it, there is nothing to verify.
    pub signed_only: bool,
}

/// How an answer is read.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// What was asked for.
    pub mode: Mode,
    /// Whatever is a JWT must verify; `None`: there are no keys.
    pub verification: Option<Verification<'a>>,
    /// Without keys, signed introspection answers (RFC 9701) count although nobody verifies their signature.
    /// They give claims alone, so [`Mode::Claims`] is where it matters.
    pub unverified_envelopes: bool,
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
        /// What [`Record::document`] says. What goes upstream of it is three parts of base64url, and
        /// nothing else.
        document: &'a [u8],
        /// The JSON object whose members are its claims: what [`crate::claims::object`] reads in it.
        claims: &'a [u8],
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
            Self::Active { record, .. } => {
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

/// What an answer says of a token beside the JWT in it.
#[derive(Clone, Copy, Default)]
struct Beside {
    expires: Option<UnixMillis>,
    bound: bool,
}

impl From<&Members> for Beside {
    fn from(members: &Members) -> Self {
        Self { expires: members.expires, bound: members.bound }
    }
}

/// An answer together with what was asked.
struct Asked<'q, 'a, 'r> {
    answer: &'q Answer<'a>,
    reading: &'q Reading<'r>,
}

impl<'a> Asked<'_, 'a, '_> {
    /// The type of the answer, if there is a body that can be read.
    fn media_type(&self) -> Result<MediaKind, AnswerError> {
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
    fn verify(&self, jwt: &[u8], kind: Kind) -> Result<(), AnswerError> {
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
    fn active(
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

    fn inactive(&self) -> Verdict<'a> {
        Verdict::Inactive(self.record())
    }

    /// What is known of a token that is not active.
    fn record(&self) -> Record {
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

/// The types of answers that are read.
#[derive(Clone, Copy)]
enum MediaKind {
    Jwt,
    Json,
    Envelope,
}

/// The type of a `Content-Type` value, without parameters (RFC 9110 section 8.3.1).
fn media_type(content_type: &[u8]) -> &[u8] {
    content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii()
}
