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
    /// The earliest `exp` known of the token; the token is expired from this instant on.
    pub expires: Option<UnixMillis>,
    /// What the answer said of its own life.
    pub directives: CacheDirectives,
    /// The token is bound to a sender: `cnf` was in the answer or in the JWT (RFC 8705, RFC 9449).
    pub bound: bool,
}

impl Record {
    /// Whether `exp` has passed at `now` (RFC 7519 section 4.1.4: "on or after").
    #[must_use]
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.state == State::Expired || self.expires.is_some_and(|expires| now >= expires)
    }
}
