//! The keys that the server's JWTs are verified by, as the configuration has them.

use phantom_token_core::jose::KeySet;

/// `phantom_token_jwks`: kept on the heap, for as long as the cycle.
pub(crate) enum Keys {
    /// `file=`: read with the configuration, and for as long as that unchanged.
    File(KeySet),
}

impl Keys {
    /// The keys of now.
    pub(crate) fn set(&self) -> &KeySet {
        match self {
            Self::File(set) => set,
        }
    }

    /// What verdicts belong to: none that other keys have verified is used in their place.
    pub(crate) fn identity(&self) -> &[u8; 32] {
        match self {
            Self::File(set) => set.identity(),
        }
    }
}
