//! What is known of a token: the facts that the cache keeps beside the JWT.

/// Wall-clock time in milliseconds since the Unix epoch.
pub type UnixMillis = i64;

/// What the authorization server said of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Active: the JWT is there.
    Active = 1,
    /// Inactive, for whatever reason the server has (RFC 7662 section 2.2).
    Inactive = 2,
    /// Was active once; its `exp` has passed since, and time does not run back.
    Expired = 3,
}

/// What is kept for an active token, beside the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Document {
    /// An access token in JWT form, for the upstream.
    Jwt = 0,
    /// The same from a token exchange (RFC 8693). Its `exp` is its own: when it has passed, nothing is
    /// known of the token that it was given for.
    Exchanged = 1,
    /// An introspection answer in JSON: its members are the claims.
    Json = 2,
    /// A JWT whose payload is the claims, and which is not for the upstream.
    ClaimsJwt = 3,
    /// A signed introspection answer (RFC 9701): the claims are in its `token_introspection`.
    Envelope = 4,
    /// No token's at all, but a JWK set (RFC 7517), under a key of its own: see [`crate::key::keys`].
    Keys = 5,
}

impl Document {
    /// Whether it takes the place of the token upstream.
    #[must_use]
    pub fn is_access_token(self) -> bool {
        matches!(self, Self::Jwt | Self::Exchanged)
    }
}

/// `Cache-Control` of an answer, reduced to what counts here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheDirectives {
    /// `max-age` in seconds, or `s-maxage` where given (RFC 9111 section 5.2.2).
    pub max_age: Option<u32>,
    /// `no-store`, `no-cache` or `private` was among the directives.
    pub uncacheable: bool,
}

/// The facts of one verdict. They belong to the answer alone: what a location makes of them is decided
/// anew at every look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the server said.
    pub state: State,
    /// When the question was asked whose answer this is.
    pub confirmed: UnixMillis,
    /// What is kept of an active token; [`Document::Jwt`] for others.
    pub document: Document,
    /// The earliest `exp` known of the token, or of the JWT that an exchange gave for it: from this
    /// instant on the document is of no use.
    pub expires: Option<UnixMillis>,
    /// What the answer said of its own life.
    pub directives: CacheDirectives,
    /// The token is bound to a sender: `cnf` was in the answer or in the JWT (RFC 8705, RFC 9449), or a `token_type`
    /// that says so.
    pub bound: bool,
}

impl Record {
    /// Whether the document is past its `exp` at `now` (RFC 7519 section 4.1.4: "on or after").
    #[must_use]
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.state == State::Expired || self.expires.is_some_and(|expires| now >= expires)
    }

    /// Whether the token is known to have expired at `now`. That a JWT is over which was exchanged for it
    /// says nothing of the token.
    #[must_use]
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.document != Document::Exchanged && self.is_over(now)
    }
}
