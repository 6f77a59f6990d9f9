//! Why an answer gives no verdict. The texts are for the log: the usual cause, and what to do.

use super::media::MediaType;
use crate::jose::VerifyError;
use crate::json::JsonError;
use crate::jwt::JwtError;
use crate::reason::Reason;

/// Why an answer gives no verdict. No text has a byte of the body in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// 401, 403.
    #[error(
        "the server answered {0}, it does not accept our client credentials: check \
         phantom_token_client_credential, and that this client may introspect or exchange tokens"
    )]
    Credentials(u16),
    /// 400, 415.
    #[error(
        "the server answered {0}, it does not understand the question: check that the internal \
         location keeps its Content-Type (with \"proxy_pass_request_headers off\" it needs \
         \"proxy_set_header Content-Type application/x-www-form-urlencoded\"), and that no \
         \"proxy_set_header Host\" of an outer level names another server; a server that answers \
         400 to inactive tokens needs \"phantom_token_accept application/json\""
    )]
    Question(u16),
    /// 404, 405, 410.
    #[error(
        "the server answered {0}: check that the proxy_pass of the internal location names its \
         introspection endpoint"
    )]
    Endpoint(u16),
    /// 406.
    #[error(
        "the server answered 406, it has no answer of the type asked for: check phantom_token_accept"
    )]
    Accept,
    /// Another 4xx.
    #[error("the server answered {0}, it refuses the question: see its own log")]
    Refused(u16),
    /// 3xx.
    #[error(
        "the server answered {0}, and redirects are never followed with credentials: check the \
         address in proxy_pass, often its scheme or its trailing slash"
    )]
    Redirect(u16),
    /// 429, 503.
    #[error("the server answered {0}, it is busy")]
    Busy(u16),
    /// Another 5xx.
    #[error("the server answered {0}, it fails by itself: see its own log")]
    Failure(u16),
    /// What no introspection endpoint answers.
    #[error(
        "the server answered {0}, which means nothing here: check that the proxy_pass of the internal \
         location names its introspection endpoint, or its token endpoint for an exchange"
    )]
    Status(u16),
    /// No status line (HTTP/0.9).
    #[error(
        "the server's answer has no status line, it does not speak HTTP: check the scheme and the port of \
         the proxy_pass of the internal location"
    )]
    NoStatus,
    /// A `Content-Encoding`.
    #[error(
        "the server compressed its answer: clear Accept-Encoding in the internal location \
         (proxy_set_header Accept-Encoding \"\")"
    )]
    Encoded,
    /// 200 without a body.
    #[error(
        "the server answered 200 with nothing in it: check that the proxy_pass of the internal \
         location names its introspection endpoint, or its token endpoint for an exchange"
    )]
    Empty,
    /// 200 of a type that is none of introspection's.
    #[error(
        "the server answered 200 with {0} instead of application/jwt or application/json: check that \
         the proxy_pass of the internal location names its introspection endpoint, and \
         phantom_token_accept"
    )]
    ContentType(MediaType),
    /// RFC 9701, where an access token is expected, or labelled as one.
    #[error(
        "the server answered with a signed introspection response (RFC 9701), which is no access token: \
         set \"phantom_token_forward claims\" to use what it says, or phantom_token_accept to the type \
         that makes the server send an access token"
    )]
    Envelope,
    /// RFC 9701, called an access token.
    #[error(
        "the server answered with a signed introspection response (RFC 9701) that it calls \
         application/jwt: set \"phantom_token_accept application/token-introspection+jwt\", so that it \
         names what it sends"
    )]
    Mislabelled,
    /// RFC 9701, and no keys.
    #[error(
        "the server answered with a signed introspection response (RFC 9701), and there are no keys to \
         verify it with: give them with phantom_token_jwks; \"phantom_token_envelope unverified\" takes it \
         as it is, relying on TLS"
    )]
    Unverified,
    /// A JWT, by the server's keys or by what it must say.
    #[error("the JWT in the server's answer does not verify: {0}")]
    Unverifiable(VerifyError),
    /// JSON without a JWT where a signed answer was asked for, and there are keys.
    #[error(
        "the server answered with JSON that is not signed, though phantom_token_accept asks for a JWT and \
         phantom_token_jwks for one that verifies: let the server sign, or set \"phantom_token_accept \
         application/json\" to rely on TLS"
    )]
    Unsigned,
    /// RFC 9701 section 5.
    #[error(
        "the server's signed introspection response (RFC 9701) lacks \"iss\", \"aud\", \"iat\" or the \
         object \"token_introspection\", or has one of them twice or in another form"
    )]
    Outside,
    /// A JWT that is an introspection answer of its own kind.
    #[error(
        "the server answered with an introspection response in a JWT (\"active\" is among its claims), \
         which is no access token: set \"phantom_token_forward claims\" to use what it says, or let the \
         server answer with an access token"
    )]
    Flat,
    /// Of type JSON, but no JSON object.
    #[error("the server's answer is {0}: check what the endpoint in proxy_pass answers")]
    Json(JsonError),
    /// Two members of one name.
    #[error("the server's answer has a member twice that may be there once")]
    Repeated,
    /// RFC 7662 section 2.2 requires `active`.
    #[error(
        "the server's answer has no \"active\": check that the proxy_pass of the internal location \
         names its introspection endpoint, not that of tokens or user information"
    )]
    NoActive,
    /// `exp` is no date.
    #[error("\"exp\" in the server's answer is not a number of seconds")]
    Exp,
    /// Active, but no JWT.
    #[error(
        "the token is active, but the server gives no JWT for it to this client: let it (in Keycloak \
         the client's \"Support JWT claim in Introspection Response\"), and check \
         phantom_token_accept and phantom_token_jwt_member"
    )]
    NoJwt,
    /// The JWT is no access token.
    #[error("the JWT in the server's answer cannot be used: {0}")]
    Jwt(JwtError),
    /// The JWT contradicts the answer.
    #[error("the server says that the token is active, but the JWT in the same answer does not")]
    Inconsistent,
    /// RFC 8693: a 400 that is neither about the token nor about our credentials.
    #[error(
        "the server answered 400, it refuses this token exchange: check the audience, resource and scope \
         of phantom_token_exchange, its token types (phantom_token_introspection_parameter), and that this \
         client may exchange tokens"
    )]
    Exchange,
    /// 404, 405, 410 to an exchange.
    #[error(
        "the server answered {0}: check that the proxy_pass of the internal location names its token \
         endpoint"
    )]
    TokenEndpoint(u16),
    /// 200 to an exchange, of another type than JSON.
    #[error(
        "the server answered 200 with {0} instead of application/json: check that the proxy_pass of the \
         internal location names its token endpoint"
    )]
    TokenContentType(MediaType),
    /// 200 without `access_token`.
    #[error(
        "the server's answer has no \"access_token\": check that the proxy_pass of the internal location \
         names its token endpoint"
    )]
    NoAccessToken,
    /// `issued_token_type` is none of an access token, or the JWT says that it is another kind.
    #[error(
        "the server issued a token that is no access token, by its \"issued_token_type\" or by what the \
         JWT says of itself: ask for another with \"phantom_token_introspection_parameter \
         requested_token_type\""
    )]
    IssuedType,
    /// `expires_in` is no time.
    #[error("\"expires_in\" in the server's answer is not a number of seconds")]
    ExpiresIn,
    /// The JWT that was just issued is past its `exp`.
    #[error(
        "the JWT that the server has just issued is past its \"exp\" or \"expires_in\" already: check the \
         clocks of both machines"
    )]
    Over,
    /// Less than [`scratch_len`](super::scratch_len).
    #[error("no room to read the server's answer: a fault of this module, please report it")]
    Scratch,
}

impl AnswerError {
    /// What the request is refused with.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Credentials(_)
            | Self::Question(_)
            | Self::Endpoint(_)
            | Self::Accept
            | Self::Exchange
            | Self::TokenEndpoint(_)
            | Self::Refused(_) => Reason::ServerRefusedUs,
            Self::Busy(_) => Reason::ServerBusy,
            Self::Failure(_) => Reason::ServerUnreachable,
            Self::Scratch => Reason::Internal,
            Self::Redirect(_)
            | Self::Status(_)
            | Self::NoStatus
            | Self::Encoded
            | Self::Empty
            | Self::ContentType(_)
            | Self::Envelope
            | Self::Unverified
            | Self::Unverifiable(_)
            | Self::Unsigned
            | Self::Outside
            | Self::Mislabelled
            | Self::TokenContentType(_)
            | Self::NoAccessToken
            | Self::IssuedType
            | Self::ExpiresIn
            | Self::Over
            | Self::Flat
            | Self::Json(_)
            | Self::Repeated
            | Self::NoActive
            | Self::Exp
            | Self::NoJwt
            | Self::Jwt(_)
            | Self::Inconsistent => Reason::ServerBadAnswer,
        }
    }

    /// Whether other keys could make it right: see [`VerifyError::is_about_keys`].
    #[must_use]
    pub fn is_about_keys(&self) -> bool {
        matches!(self, Self::Unverifiable(error) if error.is_about_keys())
    }

    /// Of a status that carries no verdict.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            0 => Self::NoStatus,
            304 => Self::Status(status),
            300..=399 => Self::Redirect(status),
            400 | 415 => Self::Question(status),
            401 | 403 => Self::Credentials(status),
            404 | 405 | 410 => Self::Endpoint(status),
            406 => Self::Accept,
            429 | 503 => Self::Busy(status),
            402..=499 => Self::Refused(status),
            500..=599 => Self::Failure(status),
            _ => Self::Status(status),
        }
    }
}

impl From<JwtError> for AnswerError {
    fn from(error: JwtError) -> Self {
        match error {
            JwtError::Envelope => Self::Envelope,
            JwtError::Scratch => Self::Scratch,
            other => Self::Jwt(other),
        }
    }
}
