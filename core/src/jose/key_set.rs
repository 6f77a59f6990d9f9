//! The authorization server's public keys (RFC 7517 section 5), prepared once.

use core::fmt;

use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::{JwtVerifier, aws_lc};

use super::error::{Ignored, KeyFault, KeySetError, Unusable};
use super::jwk::{Jwk, Public};
use super::limits::{MAX_KEYS, MAX_SET};
use crate::json;
use crate::key::identity;
use crate::raw_json;

/// The keys of a set that can be used, and why others cannot.
pub struct KeySet {
    keys: Vec<Key>,
    ignored: Vec<Ignored>,
    identity: [u8; 32],
}

/// What checks signatures of one algorithm by one key.
type Prepared = (Algorithm, Box<dyn JwtVerifier>);

/// One key.
pub(super) struct Key {
    pub(super) kid: Option<String>,
    /// Prepared for each algorithm that it may verify.
    verifiers: Vec<Prepared>,
}

impl Key {
    /// What checks signatures of this algorithm by this key, if it may be used for that.
    pub(super) fn verifier(&self, algorithm: Algorithm) -> Option<&dyn JwtVerifier> {
        let mut fitting = self.verifiers.iter().filter(|(it, _)| *it == algorithm);
        fitting.next().map(|(_, verifier)| &**verifier)
    }
}

impl KeySet {
    /// Reads a JWK set.
    ///
    /// Keys that are not for signatures or that are not understood are passed over (RFC 7517 section 5), and so
    /// are private and symmetric ones. Different keys may have one `kid`, as some servers write it while they rotate
    /// them: a JWT that names it is tried by each of them.
    ///
    /// # Errors
    /// [`KeySetError`] if this is no set, or one without a key that can be used.
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        if text.len() > MAX_SET {
            return Err(KeySetError::TooLarge);
        }
        if text.trim_ascii().is_empty() {
            return Err(KeySetError::Empty);
        }
        // All of it, since what is read in parts below is not looked into.
        json::object(text, |_| None::<()>, |(), _| {}).map_err(KeySetError::Json)?;
        let mut array = None;
        let mut count = 0;
        raw_json::members(
            text,
            |name| name.as_str() == "keys",
            |is_keys, value| {
                if is_keys {
                    array = Some(value);
                    count += 1;
                }
            },
        )
        .map_err(KeySetError::Json)?;
        let array = array
            .filter(|array| count == 1 && array.starts_with('['))
            .ok_or(KeySetError::NoKeys)?;
        let mut found = Vec::new();
        let mut count = 0;
        raw_json::elements(array, |key| {
            count += 1;
            if count <= MAX_KEYS {
                found.push(Jwk::read(key));
            }
        })
        .map_err(KeySetError::Json)?;
        if count > MAX_KEYS {
            return Err(KeySetError::TooManyKeys);
        }
        if found.is_empty() {
            return Err(KeySetError::NoKey);
        }
        Self::of(found)
    }

    fn of(found: Vec<Jwk>) -> Result<Self, KeySetError> {
        let mut set = Self { keys: Vec::new(), ignored: Vec::new(), identity: [0; 32] };
        let mut identities = Vec::new();
        for (n, Jwk { kid, public }) in found.into_iter().enumerate() {
            let prepared =
                public.and_then(|public| Ok((name(kid.as_deref(), &public), prepare(&public)?)));
            match prepared {
                // The same key once more.
                Ok((identity, _)) if identities.contains(&identity) => {}
                Ok((identity, verifiers)) => {
                    identities.push(identity);
                    set.keys.push(Key { kid, verifiers });
                }
                Err(fault) => set.ignored.push(Ignored::new(n + 1, kid, fault)),
            }
        }
        if set.keys.is_empty() {
            return Err(KeySetError::NoUsableKey(Unusable(set.ignored)));
        }
        identities.sort_unstable();
        set.identity = identity(identities.iter().map(|identity| &identity[..]));
        Ok(set)
    }

    /// A name of 256 bits for what the set accepts: the same for the same keys in another order or spelling.
    #[must_use]
    pub fn identity(&self) -> &[u8; 32] {
        &self.identity
    }

    /// The keys that are not used.
    #[must_use]
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    /// The ignored keys that an operator should know of, if any. Many sets also have keys for other purposes.
    #[must_use]
    pub fn unusable(&self) -> Option<Unusable> {
        let unusual = self.ignored.iter().filter(|key| !key.fault.is_usual());
        let unusual: Vec<Ignored> = unusual.cloned().collect();
        if unusual.is_empty() { None } else { Some(Unusable(unusual)) }
    }

    /// Why the key of that `kid` is not used, if there is one that is not.
    pub(super) fn fault_of(&self, kid: &str) -> Option<KeyFault> {
        self.ignored.iter().find(|key| key.is_named(kid)).map(|key| key.fault)
    }

    /// How many keys are used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never: a set has keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that a JWT with that `kid` may be signed by; without one, all.
    pub(super) fn of_kid(&self, kid: Option<&str>) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| kid.is_none() || key.kid.as_deref() == kid)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// All that tells one key from another: what it is called, what it may verify, and itself.
fn name(kid: Option<&str>, public: &Public) -> [u8; 32] {
    let algorithms: Vec<u8> = public.algorithms.iter().map(|&algorithm| algorithm as u8).collect();
    let called: &[u8] = if kid.is_some() { b"kid" } else { b"" };
    identity([called, kid.unwrap_or_default().as_bytes(), &algorithms, &public.identity])
}

fn prepare(public: &Public) -> Result<Vec<Prepared>, KeyFault> {
    let factory = aws_lc::DEFAULT_PROVIDER.verifier_factory;
    public
        .algorithms
        .iter()
        .map(|algorithm| Ok((*algorithm, factory(algorithm, &public.key)?)))
        .collect::<jsonwebtoken::errors::Result<_>>()
        .map_err(|_| KeyFault::Invalid)
}
