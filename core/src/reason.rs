//! Why a request is refused: the slug that operators see, and the status that the client gets.

/// Why a request was refused. The slugs are stable: dashboards and alerts are built on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No bearer token was presented.
    NoCredentials,
    /// The bearer token is not a `b64token` (RFC 6750 section 2.1).
    Malformed,
    /// The token came in more than one way (RFC 6750 section 2).
    SeveralTokens,
    /// The authorization server says that the token is not active.
    Inactive,
    /// `exp` has passed.
    Expired,
    /// The token is bound to a sender, and the binding is not proven.
    Binding,
    /// The server could not be reached, closed the connection or failed by itself.
    ServerUnreachable,
    /// The server took longer than the timeouts of its location allow.
    ServerTimeout,
    /// The server refused the question: our credentials, our address or our request.
    ServerRefusedUs,
    /// The answer makes no sense.
    ServerBadAnswer,
    /// The server said 429 or 503.
    ServerBusy,
    /// Too many questions at once, or the wait for another request's question took too long.
    Overload,
    /// A fault of this module or of its configuration.
    Internal,
    /// The token lacks a scope that the location requires.
    InsufficientScope,
    /// The token is for none of the audiences that the location requires.
    Audience,
    /// A value that the location requires is empty or "0".
    Requirement,
    /// The same, where another token of the same client would not help (`error=403`).
    RequirementForbids,
    /// A JWT that the client presents does not verify.
    Signature,
}

/// The `error` parameter of the challenge (RFC 6750 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeError {
    /// `invalid_request`
    InvalidRequest,
    /// `invalid_token`
    InvalidToken,
    /// `insufficient_scope`
    InsufficientScope,
    /// `invalid_dpop_proof` (RFC 9449 section 7.1)
    InvalidProof,
    /// The proof has to carry the nonce that comes with the answer (RFC 9449 section 9).
    UseNonce,
}

impl ChallengeError {
    /// The parameter's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidProof => "invalid_dpop_proof",
            Self::UseNonce => "use_dpop_nonce",
        }
    }
}

impl Reason {
    /// Every reason, for tables and tests.
    pub const ALL: [Self; 18] = [
        Self::NoCredentials,
        Self::Malformed,
        Self::SeveralTokens,
        Self::Inactive,
        Self::Expired,
        Self::Binding,
        Self::ServerUnreachable,
        Self::ServerTimeout,
        Self::ServerRefusedUs,
        Self::ServerBadAnswer,
        Self::ServerBusy,
        Self::Overload,
        Self::Internal,
        Self::InsufficientScope,
        Self::Audience,
        Self::Requirement,
        Self::RequirementForbids,
        Self::Signature,
    ];

    /// A number for memory that processes share: its place in [`Reason::ALL`].
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The reason with that number.
    #[must_use]
    pub fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The stable name, as in `$phantom_token_error` and in the log.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::NoCredentials => "no_credentials",
            Self::Malformed => "malformed",
            Self::SeveralTokens => "several_tokens",
            Self::Inactive => "inactive",
            Self::Expired => "expired",
            Self::Binding => "binding",
            Self::ServerUnreachable => "server_unreachable",
            Self::ServerTimeout => "server_timeout",
            Self::ServerRefusedUs => "server_refused_us",
            Self::ServerBadAnswer => "server_bad_answer",
            Self::ServerBusy => "server_busy",
            Self::Overload => "overload",
            Self::Internal => "internal",
            Self::InsufficientScope => "insufficient_scope",
            Self::Audience => "audience",
            Self::Requirement | Self::RequirementForbids => "requirement",
            Self::Signature => "signature",
        }
    }

    /// The status of the response. A 401 always means the client's token, never our own trouble.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::SeveralTokens => 400,
            Self::NoCredentials
            | Self::Malformed
            | Self::Inactive
            | Self::Expired
            | Self::Binding
            | Self::Audience
            | Self::Requirement
            | Self::Signature => 401,
            Self::InsufficientScope | Self::RequirementForbids => 403,
            Self::Internal => 500,
            Self::ServerUnreachable | Self::ServerRefusedUs | Self::ServerBadAnswer => 502,
            Self::ServerBusy | Self::Overload => 503,
            Self::ServerTimeout => 504,
        }
    }

    /// What the challenge says of the token; `None` where no token was presented, where none of RFC 6750's
    /// errors fits (a 403 that is not about scopes), and where the response carries no challenge at all.
    #[must_use]
    pub fn challenge_error(self) -> Option<ChallengeError> {
        match self {
            Self::SeveralTokens => Some(ChallengeError::InvalidRequest),
            Self::Malformed
            | Self::Inactive
            | Self::Expired
            | Self::Binding
            | Self::Audience
            | Self::Requirement
            | Self::Signature => Some(ChallengeError::InvalidToken),
            Self::InsufficientScope => Some(ChallengeError::InsufficientScope),
            _ => None,
        }
    }

    /// Whether the server could not be asked, or not in time. That it refuses us is no outage.
    #[must_use]
    pub fn is_outage(self) -> bool {
        matches!(
            self,
            Self::ServerUnreachable | Self::ServerTimeout | Self::ServerBusy | Self::Overload
        )
    }

    /// Whether the response carries `WWW-Authenticate`: an outage is not a challenge.
    #[must_use]
    pub fn is_clients(self) -> bool {
        matches!(self.status(), 400 | 401 | 403)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_goes_with_the_clients_errors_alone() {
        for reason in Reason::ALL {
            assert_eq!(reason.is_clients(), reason.status() < 500, "{}", reason.slug());
            if reason.challenge_error().is_some() {
                assert!(reason.is_clients(), "{}", reason.slug());
            }
        }
    }

    #[test]
    fn codes_are_places_in_the_table() {
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(usize::from(reason.code()), place);
            assert_eq!(Reason::of_code(reason.code()), Some(*reason));
        }
        assert_eq!(Reason::of_code(u8::MAX), None);
    }

    #[test]
    fn slugs_differ() {
        for (i, a) in Reason::ALL.iter().enumerate() {
            for b in Reason::ALL.iter().skip(i + 1) {
                // One rule, whose status the operator chooses.
                let same = (*a, *b) == (Reason::Requirement, Reason::RequirementForbids);
                assert_eq!(a.slug() == b.slug(), same, "{}", a.slug());
            }
        }
    }
}
