//! An answer as it came, and how it is to be read.

use crate::jose::{Expect, KeySet};
use crate::record::{CacheDirectives, UnixMillis};

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
