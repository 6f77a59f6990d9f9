//! The keys that the server's JWTs are verified by, as the configuration has them.

use nginx_sys::ngx_str_t;
use phantom_token_core::jose::KeySet;
use phantom_token_core::key;

/// `phantom_token_jwks`: kept on the heap, for as long as the cycle.
pub(crate) enum Keys {
    /// `file=`: read with the configuration, and for as long as that unchanged.
    File(KeySet),
    /// An internal location that they are fetched from.
    Uri(Source),
}

/// Where keys are fetched from.
pub(crate) struct Source {
    /// The internal location.
    pub(crate) uri: ngx_str_t,
    /// What is behind its question mark.
    pub(crate) args: ngx_str_t,
    identity: [u8; 32],
}

impl Source {
    /// `value` is `uri[?args]`, and the cycle's.
    pub(crate) fn new(value: &[u8], uri: ngx_str_t, args: ngx_str_t) -> Self {
        Self { uri, args, identity: key::identity([&b"uri"[..], value]) }
    }

    /// A name for it.
    pub(crate) fn identity(&self) -> &[u8; 32] {
        &self.identity
    }
}

impl Keys {
    /// What verdicts belong to: none that was verified by other keys is used in their place. Keys that are fetched
    /// change with time, and what the earlier ones have verified lives as long as it would have.
    pub(crate) fn identity(&self) -> &[u8; 32] {
        match self {
            Self::File(set) => set.identity(),
            Self::Uri(source) => source.identity(),
        }
    }
}
