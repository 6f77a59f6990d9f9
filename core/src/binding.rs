//! Whether a client has shown what its token is bound to (RFC 8705 section 3, RFC 9449 section 7).

use crate::certificate::CertificateError;
use crate::facts::Facts;

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
    /// The token is bound to a key (`jkt`), which cannot be checked.
    #[error("the token is bound to a DPoP key, which cannot be checked yet")]
    Key,
    /// The token is bound by another method, or in a way that cannot be read.
    #[error("the token is bound in a way that cannot be checked")]
    Other,
}

/// The SHA-256 of the client's certificate, or why there is none.
pub type Certificate = Result<[u8; 32], BindingError>;

/// Whether all is shown that a bound token asks for. `certificate` is asked only where it matters, and gives
/// `None` for a fault of ours, which is passed on.
///
/// # Errors
/// Why the token is refused.
pub fn check(
    facts: &Facts<'_>,
    certificate: impl FnOnce() -> Option<Certificate>,
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
    // The one place for RFC 9449: the thumbprint of the key that the request's proof is signed with.
    Some(if facts.key.is_some() { Err(BindingError::Key) } else { Ok(()) })
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
            assert_eq!(check(&facts, || Some(shown)), Some(expected));
        }
        assert_eq!(check(&facts, || None), None);
    }

    #[test]
    fn every_bit_of_a_thumbprint_counts() {
        let facts = bound(Some(&MINE), None, false);
        for bit in 0..256 {
            let mut shown = MINE;
            shown[bit / 8] ^= 1 << (bit % 8);
            let expected = Some(Err(BindingError::OtherCertificate));
            assert_eq!(check(&facts, || Some(Ok(shown))), expected, "{bit}");
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
            assert_eq!(check(&facts, unasked), Some(Err(BindingError::Other)));
        }
        let by_key = bound(None, mine, false);
        assert_eq!(check(&by_key, unasked), Some(Err(BindingError::Key)));
    }

    #[test]
    fn of_two_bindings_both_are_asked_for() {
        let facts = bound(Some(&MINE), Some(&MINE), false);
        assert_eq!(check(&facts, || Some(Ok(MINE))), Some(Err(BindingError::Key)));
        let expected = Some(Err(BindingError::OtherCertificate));
        assert_eq!(check(&facts, || Some(Ok(OTHER))), expected);
    }
}
