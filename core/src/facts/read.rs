//! Facts as a check reads them.

use super::layout::{
    CERTIFICATE, CLIENT, DIGEST, HEADER, KEY, OTHER_BINDING, SESSION, SUBJECT, THUMBPRINT,
};
use super::name::Digest;

/// The facts of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    scopes: &'a [[u8; DIGEST]],
    audiences: &'a [[u8; DIGEST]],
    /// The digest of `sub`.
    pub subject: Option<Digest>,
    /// The digest of `client_id`, or of `azp`.
    pub client: Option<Digest>,
    /// The digest of `sid`.
    pub session: Option<Digest>,
    /// `x5t#S256` of `cnf`: SHA-256 of the client certificate (RFC 8705 section 3.1).
    pub certificate: Option<&'a [u8; THUMBPRINT]>,
    /// `jkt` of `cnf`: SHA-256 thumbprint of the client's key (RFC 9449 section 6.1).
    pub key: Option<&'a [u8; THUMBPRINT]>,
    /// There is a binding that is neither, or one that cannot be read, or two that contradict each other, or one
    /// to a key that is not named. A token can be bound without it and without a thumbprint, too: see
    /// [`crate::record::Record::bound`].
    pub other_binding: bool,
}

impl<'a> Facts<'a> {
    /// Reads what [`super::Collector::write`] wrote. Anything else says nothing of the token but that it is bound in a
    /// way that nobody can show.
    #[must_use]
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        Self::try_read(bytes).unwrap_or(Self { other_binding: true, ..Self::default() })
    }

    #[inline]
    fn try_read(bytes: &'a [u8]) -> Option<Self> {
        let (&[0, scopes, audiences, others], rest) = bytes.split_first_chunk::<HEADER>()? else {
            return None;
        };
        let (names, thumbprints) = {
            let singles = (others & (SUBJECT | CLIENT | SESSION)).count_ones() as usize;
            let count = usize::from(scopes) + usize::from(audiences) + singles;
            rest.split_at_checked(count * DIGEST)?
        };
        let (scopes, names) = names.as_chunks::<DIGEST>().0.split_at_checked(scopes.into())?;
        let (audiences, singles) = names.split_at_checked(audiences.into())?;
        let mut singles = singles.iter();
        let mut single =
            |bit| if others & bit != 0 { singles.next().copied().map(Digest) } else { None };
        let (thumbprints, rest) = thumbprints.as_chunks::<THUMBPRINT>();
        let expected = (others & (CERTIFICATE | KEY)).count_ones() as usize;
        if thumbprints.len() != expected || !rest.is_empty() {
            return None;
        }
        let mut thumbprints = thumbprints.iter();
        let (subject, client, session) = (single(SUBJECT), single(CLIENT), single(SESSION));
        let mut thumbprint = |bit| if others & bit != 0 { thumbprints.next() } else { None };
        let (certificate, key) = (thumbprint(CERTIFICATE), thumbprint(KEY));
        let other_binding = others & OTHER_BINDING != 0;
        Some(Self { scopes, audiences, subject, client, session, certificate, key, other_binding })
    }

    /// Whether the token has this scope.
    #[must_use]
    #[inline]
    pub fn has_scope(&self, scope: Digest) -> bool {
        self.scopes.contains(&scope.0)
    }

    /// Whether the token is for this audience.
    #[must_use]
    #[inline]
    pub fn has_audience(&self, audience: Digest) -> bool {
        self.audiences.contains(&audience.0)
    }
}
