//! What later checks need of a token, in a few bytes, made once when an answer is judged: no check on a hit
//! parses JSON.
//!
//! Scopes, audiences, subject, client and session are kept as digests of 64 bits under a key that is made of
//! the zone's secret: nobody can choose a name that is taken for another one, and no name can be read off. The
//! digests are those of the name alone, whatever realm or issuer it comes from: whoever is to find the entries
//! of a subject finds all of them, and at worst some of another issuer's, about which the server is asked once
//! more. The thumbprints of a binding are kept whole, since they are not secret and a check needs them.
//!
//! ```text
//! 0 │ scopes │ audiences │ others │ digests: scopes, audiences, subject, client, session │ thumbprints
//! ```
//!
//! The zero ends the document in front of it, as NGINX has it behind the values of its headers.

mod collect;

pub use collect::Collector;

use crate::key::FactsKey;

/// How many scopes of a token are kept, and how many audiences. A requirement that only a further one would
/// meet is not met.
pub const MAX_NAMES: usize = 64;

/// The longest facts, in bytes.
pub const MAX_LEN: usize = HEADER + DIGEST * (2 * MAX_NAMES + 3) + 2 * THUMBPRINT;

const HEADER: usize = 4;
const DIGEST: usize = 8;
const THUMBPRINT: usize = 32;

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A scope-token (RFC 6749 section 3.3).
    Scope = 1,
    /// An audience (RFC 7519 section 4.1.3).
    Audience = 2,
    /// `sub`.
    Subject = 3,
    /// `client_id`, or else `azp`.
    Client = 4,
    /// `sid`.
    Session = 5,
}

/// A name, as far as it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u8; DIGEST]);

impl Digest {
    /// The digest of a name of that kind.
    #[must_use]
    pub fn new(key: &FactsKey, kind: Kind, name: &[u8]) -> Self {
        Self(key.digest(kind as u8, name))
    }
}

const SUBJECT: u8 = 1;
const CLIENT: u8 = 2;
const SESSION: u8 = 4;
const CERTIFICATE: u8 = 8;
const KEY: u8 = 16;
const OTHER_BINDING: u8 = 32;

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
    /// Reads what [`Collector::write`] wrote. Anything else says nothing of the token but that it is bound in a
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
