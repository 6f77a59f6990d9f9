//! Whether a client has shown what its token is bound to (RFC 8705 section 3, RFC 9449 section 7).

use crate::certificate::CertificateError;
use crate::dpop::ProofError;
use crate::facts::Facts;
use crate::reason::ChallengeError;

/// Why a token is refused whose binding is asked for. The texts end the line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    /// No `cnf`, where every token must have one.
    #[error("the token is not bound")]
    NotBound,
    /// The token is bound to a certificate, and the client has shown none.
    #[error("there is no client certificate")]
    NoCertificate,
    /// What was handed on as the client certificate is none.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The client has shown another certificate than the one that the token is bound to.
    #[error("the token is bound to another certificate")]
    OtherCertificate,
    /// The token is bound to a key (`jkt`), and was presented without the scheme `DPoP`.
    #[error("the token is bound to a key, and must be presented with the scheme DPoP")]
    Scheme,
    /// The token was presented with the scheme `DPoP`.
    #[error("the token was presented with the scheme DPoP, but is not bound to a key")]
    NoKey,
    /// There is no `DPoP` header.
    #[error("there is no DPoP proof")]
    NoProof,
    /// There are several.
    #[error("there is more than one DPoP proof")]
    SeveralProofs,
    /// The proof does not count.
    #[error("the DPoP proof does not count: {0}")]
    Proof(#[from] ProofError),
    /// It was used before.
    #[error("the DPoP proof was used before")]
    UsedProof,
    /// Whether it was used before could not be told the next time.
    #[error("there is no room to remember the DPoP proof: make \"phantom_token_dpop_zone\" larger")]
    NoRoom,
    /// The token is bound by another method, in a way that cannot be read, or to a key that the server does not name.
    #[error(
        "the token is bound in a way that cannot be checked: let the authorization server say in \"cnf\" to \
         which certificate (x5t#S256) or key (jkt), also where its \"token_type\" is DPoP"
    )]
    Other,
}

impl BindingError {
    /// What the challenge says where the client can do better with another proof (RFC 9449 section 7.1).
    #[must_use]
    pub fn challenge_error(self) -> Option<ChallengeError> {
        match self {
            Self::Proof(error) if error.is_of_nonce() => Some(ChallengeError::UseNonce),
            Self::NoProof | Self::SeveralProofs | Self::Proof(_) | Self::UsedProof => {
                Some(ChallengeError::InvalidProof)
            }
            _ => None,
        }
    }
}

/// The SHA-256 of the client's certificate, or why there is none.
pub type Certificate = Result<[u8; 32], BindingError>;

/// Whether all is shown that a bound token asks for. `certificate` is asked only where it matters, and so is
/// `proof`, of the thumbprint of a key; both give `None` for a fault of ours, which is passed on.
///
/// # Errors
/// Why the token is refused.
pub fn check(
    facts: &Facts<'_>,
    certificate: impl FnOnce() -> Option<Certificate>,
    proof: impl FnOnce(&[u8; 32]) -> Option<Result<(), BindingError>>,
) -> Option<Result<(), BindingError>> {
    if facts.other_binding || (facts.certificate.is_none() && facts.key.is_none()) {
        return Some(Err(BindingError::Other));
    }
    if let Some(expected) = facts.certificate {
        match certificate()? {
            // Thumbprints are no secrets.
            Ok(shown) if shown == *expected => {}
            Ok(_) => return Some(Err(BindingError::OtherCertificate)),
            Err(error) => return Some(Err(error)),
        }
    }
    match facts.key {
        Some(thumbprint) => proof(thumbprint),
        None => Some(Ok(())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: [u8; 32] = [1; 32];
    const OTHER: [u8; 32] = [2; 32];

    /// The facts of a token that is bound to these.
    fn bound<'a>(
        certificate: Option<&'a [u8; 32]>,
        key: Option<&'a [u8; 32]>,
        other_binding: bool,
    ) -> Facts<'a> {
        let mut facts = Facts::default();
        (facts.certificate, facts.key, facts.other_binding) = (certificate, key, other_binding);
        facts
    }

    fn unasked() -> Option<Certificate> {
        panic!("the certificate does not matter")
    }

    fn unproven(_: &[u8; 32]) -> Option<Result<(), BindingError>> {
        panic!("a proof does not matter")
    }

    fn check_certificate(
        facts: &Facts<'_>,
        certificate: impl FnOnce() -> Option<Certificate>,
    ) -> Option<Result<(), BindingError>> {
        check(facts, certificate, unproven)
    }

    #[test]
    fn a_certificate_must_be_the_one() {
        let facts = bound(Some(&MINE), None, false);
        for (shown, expected) in [
            (Ok(MINE), Ok(())),
            (Ok(OTHER), Err(BindingError::OtherCertificate)),
            (Err(BindingError::NoCertificate), Err(BindingError::NoCertificate)),
            (
                Err(CertificateError::Encoding.into()),
                Err(BindingError::Certificate(CertificateError::Encoding)),
            ),
        ] {
            assert_eq!(check_certificate(&facts, || Some(shown)), Some(expected));
        }
        assert_eq!(check_certificate(&facts, || None), None);
    }

    #[test]
    fn every_bit_of_a_thumbprint_counts() {
        let facts = bound(Some(&MINE), None, false);
        for bit in 0..256 {
            let mut shown = MINE;
            shown[bit / 8] ^= 1 << (bit % 8);
            let expected = Some(Err(BindingError::OtherCertificate));
            assert_eq!(check_certificate(&facts, || Some(Ok(shown))), expected, "{bit}");
        }
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        let mine = Some(&MINE);
        for facts in [
            bound(None, None, false),
            bound(None, None, true),
            bound(mine, None, true),
            bound(None, mine, true),
        ] {
            assert_eq!(check_certificate(&facts, unasked), Some(Err(BindingError::Other)));
        }
    }

    #[test]
    fn of_two_bindings_both_are_asked_for() {
        let facts = bound(Some(&MINE), Some(&OTHER), false);
        let proven = |key: &[u8; 32]| {
            assert_eq!(key, &OTHER);
            Some(Ok(()))
        };
        assert_eq!(check(&facts, || Some(Ok(MINE)), proven), Some(Ok(())));
        let unproven = |_: &_| Some(Err(BindingError::NoProof));
        let expected = Some(Err(BindingError::NoProof));
        assert_eq!(check(&facts, || Some(Ok(MINE)), unproven), expected);
        let expected = Some(Err(BindingError::OtherCertificate));
        assert_eq!(check_certificate(&facts, || Some(Ok(OTHER))), expected);
    }

    #[test]
    fn a_key_alone_needs_a_proof_alone() {
        let facts = bound(None, Some(&MINE), false);
        for shown in [None, Some(Ok(())), Some(Err(BindingError::UsedProof))] {
            assert_eq!(check(&facts, unasked, |_| shown), shown);
        }
    }
}
